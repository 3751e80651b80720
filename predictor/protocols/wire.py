"""What the JSON protocols share: strict JSON in, fast JSON out, and how inputs may be given."""

import binascii
import re
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, TypeVar, cast

import msgspec
import numpy.typing as npt
import orjson
from msgspec import inspect

from predictor.errors import EmptyInput, InvalidInput, MalformedBody
from predictor.types import Inputs

Shape = TypeVar("Shape", bound=msgspec.Struct)

# Of a dtype: little-endian, of single bytes, and the machine's own where that is the same.
_LITTLE = "<|=" if sys.byteorder == "little" else "<|"

# One text or token list, or several. Mixed lists are refused by `as_inputs`.
RawInputs = str | list[str | int | list[int]]

# Numbers that are written to JSON in one call, which keeps Python's lock; about 4 ms.
SLICE_NUMBERS = 1 << 16


def decode_json(body: bytes, shape: type[Shape]) -> Shape:
    """A JSON body as `shape`. A field that is null is as if it were absent.

    Raises:
        MalformedBody: not JSON (NaN, lone surrogates and bad UTF-8 included).
        InvalidInput: JSON, but not of this shape; says where and what was expected.
    """
    try:
        return cast(Shape, _decoder(shape).decode(body))
    except msgspec.ValidationError as error:
        raise _explained(error, shape) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedBody(f"request body is not valid JSON: {error}") from error
    except RecursionError as error:
        raise MalformedBody("request body is nested too deeply") from error


@cache
def _decoder(shape: type[msgspec.Struct]) -> msgspec.json.Decoder[Any]:
    """The decoder of a type; clients write null for a field that they leave out.

    Raises:
        TypeError: a field that may be left out does not take null.
    """
    if refusing := list(fields_without_null(inspect.type_info(shape))):
        raise TypeError(f"optional fields that do not take null: {', '.join(refusing)}")
    return msgspec.json.Decoder(shape, dec_hook=from_json)


def from_json(kind: Any, value: object) -> Any:
    """A value of a type of our own, which says in `from_json` what it takes."""
    return kind.from_json(value)


def fields_without_null(kind: inspect.Type) -> Iterator[str]:
    """The optional fields of a type, and of the types in it, that do not take null."""
    if isinstance(kind, inspect.StructType):
        for field in kind.fields:
            if not (field.required or _takes_null(field.type)):
                yield f"{kind.cls.__name__}.{field.name}"
            yield from fields_without_null(field.type)
    elif isinstance(kind, inspect.UnionType):
        for member in kind.types:
            yield from fields_without_null(member)
    elif isinstance(kind, inspect.ListType):
        yield from fields_without_null(kind.item_type)


def _takes_null(kind: inspect.Type) -> bool:
    kinds = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    return any(isinstance(member, (inspect.NoneType, inspect.AnyType)) for member in kinds)


_PLACE = re.compile(r"`\$\.([^`]+)`$")
_INDEX = re.compile(r"\[[^\]]*\]")
_MISSING = re.compile(r"missing required field `(\w+)`$")


def _explained(error: msgspec.ValidationError, shape: type[msgspec.Struct]) -> InvalidInput:
    """Which field is wrong and, where it is a word, which words it may be."""
    message = str(error)
    place = _PLACE.search(message) or _MISSING.search(message)
    param = _INDEX.sub("", place[1]) if place else None
    shown = _shortened(message)
    if param is not None and "Invalid enum value" in message:
        words = _words(_field_type(inspect.type_info(shape), param.split(".")))
        if words:
            shown = shown.replace(" - at `", f" (allowed: {', '.join(words)}) - at `", 1)
    return InvalidInput(f"request body: {shown}", param=param)


def _field_type(kind: inspect.Type, names: Sequence[str]) -> inspect.Type:
    """The type of a field inside a type; names: from the outside in."""
    for name in names:
        kind = next(
            field.type
            for member in _members(kind)
            if isinstance(member, inspect.StructType)
            for field in member.fields
            if field.encode_name == name
        )
    return kind


def _members(kind: inspect.Type) -> list[inspect.Type]:
    """A type without its wrappings: the members of a union, the items of a list."""
    if isinstance(kind, inspect.UnionType):
        return [inner for member in kind.types for inner in _members(member)]
    if isinstance(kind, inspect.ListType):
        return _members(kind.item_type)
    return [kind]


def _words(kind: inspect.Type) -> list[str]:
    """The words that a field, or an item of it, may be."""
    words: list[str] = []
    for member in _members(kind):
        if isinstance(member, inspect.LiteralType):
            words += map(str, member.values)
        elif isinstance(member, inspect.EnumType):
            words += (str(value.value) for value in member.cls)
        elif isinstance(member, inspect.BoolType):
            words += ("true", "false")
    return words


def _shortened(message: str) -> str:
    """The beginning and the end of a message that repeats a long value; the end says where."""
    return message if len(message) <= 300 else f"{message[:150]} … {message[-100:]}"


def encode_json(content: Any) -> bytes:
    """JSON; numpy arrays (C-contiguous) are written as lists of numbers."""
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)


def json_array(array: npt.NDArray[Any]) -> Any:
    """An array (C-contiguous) as `encode_json` takes it; a large one is encoded in slices."""
    if array.size <= SLICE_NUMBERS:
        return array
    step = max(1, SLICE_NUMBERS // max(1, array[0].size))
    return _fragment(array, step)


def json_rows(items: Sequence[Any], numbers: int) -> Any:
    """A list as `encode_json` takes it, with so many numbers in all; see `json_array`."""
    if numbers <= SLICE_NUMBERS:
        return items
    return _fragment(items, max(1, len(items) * SLICE_NUMBERS // numbers))


def _fragment(items: Any, step: int) -> orjson.Fragment:
    """JSON of a list, encoded `step` elements at a time: other threads may run in between."""
    slices = (encode_json(items[start : start + step]) for start in range(0, len(items), step))
    return orjson.Fragment(b"[" + b",".join(part[1:-1] for part in slices) + b"]")


def as_inputs(raw: RawInputs, name: str) -> Inputs:
    """One text, one token list, a list of texts or a list of token lists, as a list of rows.

    Raises:
        EmptyInput: the list is empty.
        InvalidInput: it mixes kinds.
    """
    if isinstance(raw, str):
        return [raw]
    if not raw:
        raise EmptyInput(f"{name} is empty; at least one text is needed", param=name)
    kind = type(raw[0])
    for index, item in enumerate(raw):
        if type(item) is not kind:
            raise InvalidInput(
                f"{name} mixes {_KINDS[kind]} and {_KINDS[type(item)]} (at index {index}); "
                "all must be of one kind",
                param=name,
            )
    if kind is int:
        return [raw]  # type: ignore[return-value]
    for index, item in enumerate(raw):
        if item == []:
            raise EmptyInput(f"{name}[{index}] is an empty list of token ids", param=name)
    return raw  # type: ignore[return-value]


def first_duplicate(names: Sequence[str]) -> str | None:
    """The first name that a list has for the second time; None: each is there once."""
    earlier: set[str] = set()
    for name in names:
        if name in earlier:
            return name
        earlier.add(name)
    return None


_KINDS = {str: "texts", int: "token ids", list: "lists of token ids"}


def base64_rows(rows: npt.NDArray[Any]) -> list[str]:
    """Each row's little-endian bytes in base64."""
    kind = rows.dtype
    little = rows if kind.byteorder in _LITTLE else rows.astype(kind.newbyteorder("<"))
    return [binascii.b2a_base64(row.tobytes(), newline=False).decode() for row in little]
