"""The file of API keys: the fields of a key, and a parser that accepts the whole file or nothing.

The file holds SHA-256 digests, so reading it gives no access. Plain SHA-256 is sufficient, and a
slow, salted password hash would be wrong: a key is a random secret of 128 bits or more, which
cannot be guessed however fast the hash is, and the digest is computed for every request.

No error message repeats the content of the file, because a key in the wrong place must not get into
a log. Messages name places as msgspec does, such as `$.keys[3].sha256`.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated

import msgspec

from predictor.access.credentials import digest_of
from predictor.errors import BadSetting

NEVER = datetime.max.replace(tzinfo=UTC)
# The digest that a shell computes if the variable with the key is not set.
EMPTY = digest_of("")

# Names appear in answers and logs: one word, short, no control characters.
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@/-]{0,63}\Z")]
PerMinute = Annotated[int, msgspec.Meta(ge=1, le=10**12)]
Instant = Annotated[datetime, msgspec.Meta(tz=True)]
ModelName = Annotated[str, msgspec.Meta(min_length=1)]


class ApiKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One key. A field that is left out sets no limit; `null` and empty lists are refused."""

    name: Name
    # Digest of the key without a newline, in hexadecimal.
    sha256: str
    # Names of the models that the key may use; left out in the file: all models.
    models: Annotated[tuple[ModelName, ...], msgspec.Meta(min_length=1)] = ()
    # Left out in the file: no limit, here 0.
    requests_per_minute: PerMinute = 0
    tokens_per_minute: PerMinute = 0
    # Most tokens of one request; left out in the file: as many as in the largest request body.
    tokens_per_request: PerMinute = 0
    # The key is refused from this time on.
    expires: Instant = NEVER


class _File(msgspec.Struct, forbid_unknown_fields=True):
    keys: list[ApiKey]


def parse_keys(content: bytes) -> Mapping[bytes, ApiKey]:
    """Return the keys by digest (32 bytes). An empty list is valid and refuses all requests.

    Raises:
        BadSetting: what is wrong and where, without the file's path and without any of its secrets.
    """
    try:
        entries = msgspec.json.decode(content, type=_File).keys
    except msgspec.ValidationError as error:
        raise BadSetting(_without_content(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BadSetting("the file is not valid JSON, or is incomplete") from None
    keys: dict[bytes, ApiKey] = {}
    names: set[str] = set()
    for index, key in enumerate(entries):
        digest = _digest(key.sha256)
        if digest is None:
            raise BadSetting(f"the digest must be 64 hex digits - at `$.keys[{index}].sha256`")
        if digest == EMPTY:
            raise BadSetting(f"this is the digest of an empty text - at `$.keys[{index}].sha256`")
        if digest in keys:
            raise BadSetting(f"another key has this digest - at `$.keys[{index}].sha256`")
        if key.name in names:
            raise BadSetting(f"another key has this name - at `$.keys[{index}].name`")
        keys[digest] = key
        names.add(key.name)
    return keys


def _digest(text: str) -> bytes | None:
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        return None
    # fromhex skips spaces, so both lengths are checked.
    return digest if len(digest) == 32 and len(text) == 64 else None


def _without_content(error: msgspec.ValidationError) -> str:
    """Msgspec's message without the name of an unknown field, the only content that it repeats."""
    problem, at, place = str(error).partition(" - at ")
    if "unknown field" in problem:
        problem = f"unknown field; the fields of a key are {', '.join(ApiKey.__struct_fields__)}"
    return f"{problem}{at}{place}"
