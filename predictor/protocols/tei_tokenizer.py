"""TEI's `/tokenize` and `/decode`.

Source: github.com/huggingface/text-embeddings-inference, router/src/http/types.rs (v1.9).
"""

from typing import ClassVar

import msgspec

from predictor.errors import EmptyInput
from predictor.protocols.codec import Encoded, Headers
from predictor.protocols.tei import model_of
from predictor.protocols.wire import as_inputs, decode_json, encode_json
from predictor.tasks.tokenizer import (
    DecodeRequest,
    DecodeResult,
    TokenizeRequest,
    TokenizeResult,
)


class TokenizeBody(msgspec.Struct):
    """The body of `POST /tokenize`."""

    inputs: str | list[str]
    add_special_tokens: bool | None = None
    prompt_name: str | None = None


class DecodeBody(msgspec.Struct):
    """The body of `POST /decode`: one list of ids, or several."""

    ids: list[int | list[int]]
    skip_special_tokens: bool | None = None


class TeiTokenize:
    """`/tokenize`."""

    task: ClassVar[str] = "tokenize"

    def decode(self, body: bytes, headers: Headers) -> tuple[TokenizeRequest, None]:
        """See `Form.decode`."""
        wire = decode_json(body, TokenizeBody)
        texts = [wire.inputs] if isinstance(wire.inputs, str) else wire.inputs
        if not texts or "" in texts:
            raise EmptyInput("`inputs` cannot be empty")
        request = TokenizeRequest(
            texts=texts,
            model=model_of(headers),
            add_special_tokens=wire.add_special_tokens is not False,
            prompt_name=wire.prompt_name,
        )
        return request, None

    def encode(self, options: None, result: TokenizeResult, request_id: str) -> Encoded[bytes]:
        """Each token as TEI writes it; special tokens have no place in the text."""
        del options, request_id
        body = [
            [
                {
                    "id": token,
                    "text": piece,
                    "special": special,
                    "start": span[0] if span else None,
                    "stop": span[1] if span else None,
                }
                for token, piece, special, span in pieces
            ]
            for pieces in result.texts
        ]
        return Encoded(encode_json(body))


class TeiDecode:
    """`/decode`."""

    task: ClassVar[str] = "decode"

    def decode(self, body: bytes, headers: Headers) -> tuple[DecodeRequest, None]:
        """See `Form.decode`."""
        wire = decode_json(body, DecodeBody)
        ids: list[list[int]] = as_inputs(wire.ids, "ids")  # type: ignore[arg-type,assignment]
        request = DecodeRequest(
            ids=ids,
            model=model_of(headers),
            skip_special_tokens=wire.skip_special_tokens is not False,
        )
        return request, None

    def encode(self, options: None, result: DecodeResult, request_id: str) -> Encoded[bytes]:
        """The text of each list of ids."""
        del options, request_id
        return Encoded(encode_json(result.texts))
