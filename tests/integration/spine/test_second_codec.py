"""A second codec on a path that exists: the keys of the body say which protocol is spoken."""

import dataclasses
from typing import Any, ClassVar

import msgspec

from predictor.errors import PredictorError
from predictor.protocols.codec import Encoded, Headers, RestCodec
from predictor.protocols.wire import decode_json, encode_json
from predictor.server.application import CAPABILITIES, REST_CODECS, put_together
from predictor.server.http.routes import ROUTES
from predictor.tasks.embed import EmbedRequest, EmbedResult
from tests.integration.spine.conftest import Speak


class TinyBody(msgspec.Struct):
    words: list[str]


class TinyEmbed:
    task: ClassVar[str] = "embed"

    def decode(self, body: bytes, headers: Headers) -> tuple[EmbedRequest, None]:
        del headers
        return EmbedRequest(inputs=list(decode_json(body, TinyBody).words)), None

    def encode(self, options: None, result: EmbedResult, request_id: str) -> Encoded[bytes]:
        del options
        return Encoded(encode_json({"tiny": len(result.vectors), "id": request_id}))


class TinyCodec(RestCodec):
    name = "tiny"

    def encode_error(self, error: PredictorError, request_id: str) -> bytes:
        del request_id
        return encode_json({"tiny_error": str(error)})


def by_keys(keys: frozenset[str]) -> str:
    """`words` is ours; a body with both keys is TEI's, which was here first."""
    return "tiny" if "words" in keys and "inputs" not in keys else "tei"


def application() -> Any:
    embed, *others = CAPABILITIES
    embed = dataclasses.replace(embed, forms={**embed.forms, "tiny": TinyEmbed()})
    routes = [
        dataclasses.replace(route, codecs=("tei", "tiny"), choose=by_keys)
        if (route.method, route.path) == ("POST", "/embed")
        else route
        for route in ROUTES
    ]
    return put_together((embed, *others), (*REST_CODECS, TinyCodec), routes)


async def test_the_keys_of_the_body_pick_the_codec(speak: Speak) -> None:
    spine = await speak(application(), tasks=("embed",))
    tiny = await spine.http.post("/embed", json={"words": ["a", "b"]})
    assert tiny.json() == {"tiny": 2, "id": tiny.headers["x-request-id"]}
    first = await spine.http.post("/embed", json={"inputs": ["a", "b"]})
    assert [len(row) for row in first.json()] == [384, 384]


async def test_an_ambiguous_body_has_the_documented_winner(speak: Speak) -> None:
    spine = await speak(application(), tasks=("embed",))
    both = await spine.http.post("/embed", json={"inputs": ["a"], "words": ["a", "b"]})
    assert [len(row) for row in both.json()] == [384]


async def test_errors_have_the_shape_of_the_codec_that_was_picked(speak: Speak) -> None:
    spine = await speak(application(), tasks=("embed",))
    unknown_words = await spine.http.post("/embed", json={"words": 3})
    assert set(unknown_words.json()) == {"tiny_error"}
    before_decoding = await spine.http.post("/embed", content=b"no JSON")
    assert set(before_decoding.json()) == {"error", "error_type"}
