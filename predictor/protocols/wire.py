"""What all wire formats share: strict JSON in, fast JSON out, and the shape of both results."""

import binascii
import sys
from typing import Any, Generic, TypeVar

import msgspec
import numpy.typing as npt
import orjson

from predictor.errors import EmptyInput, InvalidInput, MalformedBody
from predictor.types import EmbedRequest, Inputs

Options = TypeVar("Options")
Shape = TypeVar("Shape", bound=msgspec.Struct)

# Of a dtype: little-endian, of single bytes, and the machine's own where that is the same.
_LITTLE = "<|=" if sys.byteorder == "little" else "<|"

JSON = "application/json"
BINARY = "application/octet-stream"

# One text or token list, or several. Mixed lists are refused by `as_inputs`.
RawInputs = str | list[str | int | list[int]]


class Decoded(msgspec.Struct, Generic[Options]):
    """A request, and what its answer needs to know of how it was asked."""

    request: EmbedRequest
    options: Options


class Encoded(msgspec.Struct):
    """An answer's body. headers: extra header names (lower case) and values."""

    body: bytes
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


def decode_json(body: bytes, shape: type[Shape]) -> Shape:
    """A JSON body as `shape`.

    Raises:
        MalformedBody: not JSON (NaN, lone surrogates and bad UTF-8 included).
        InvalidInput: JSON, but not of this shape; says where and what was expected.
    """
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"request body: {_shortened(str(error))}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedBody(f"request body is not valid JSON: {error}") from error
    except RecursionError as error:
        raise MalformedBody("request body is nested too deeply") from error


def _shortened(message: str) -> str:
    """The beginning and the end of a message that repeats a long value; the end says where."""
    return message if len(message) <= 300 else f"{message[:150]} … {message[-100:]}"


def encode_json(content: Any) -> bytes:
    """JSON; numpy arrays (C-contiguous) are written as lists of numbers."""
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)


def as_inputs(raw: RawInputs, name: str) -> Inputs:
    """One text, one token list, a list of texts or a list of token lists, as a list of rows.

    Raises:
        EmptyInput: the list is empty.
        InvalidInput: it mixes kinds.
    """
    if isinstance(raw, str):
        return [raw]
    if not raw:
        raise EmptyInput(f"{name} is empty; at least one text is needed")
    kind = type(raw[0])
    for index, item in enumerate(raw):
        if type(item) is not kind:
            raise InvalidInput(
                f"{name} mixes {_KINDS[kind]} and {_KINDS[type(item)]} (at index {index}); "
                "all must be of one kind"
            )
    if kind is int:
        return [raw]  # type: ignore[return-value]
    for index, item in enumerate(raw):
        if item == []:
            raise EmptyInput(f"{name}[{index}] is an empty list of token ids")
    return raw  # type: ignore[return-value]


_KINDS = {str: "texts", int: "token ids", list: "lists of token ids"}


def base64_rows(rows: npt.NDArray[Any]) -> list[str]:
    """Each row's little-endian bytes in base64."""
    kind = rows.dtype
    little = rows if kind.byteorder in _LITTLE else rows.astype(kind.newbyteorder("<"))
    return [binascii.b2a_base64(row.tobytes(), newline=False).decode() for row in little]
