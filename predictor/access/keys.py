"""The file of API keys: what a key may be, and a parser that takes all of it or nothing.

The file holds SHA-256 digests, so that who reads it cannot ask. Plain SHA-256 is right here, and a
slow, salted hash of passwords would be wrong: a key is a random secret of 128 bits or more, which
nobody finds by trying however fast the hash is, and the digest is computed with every request.

No error here repeats what the file says: a key that somebody put into the wrong place must not get
into a log. Places are named as msgspec does, `$.keys[3].sha256`.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated

import msgspec

from predictor.access.credentials import digest_of
from predictor.errors import BadSetting

NEVER = datetime.max.replace(tzinfo=UTC)
# What a shell hashes when the variable with the key is not set.
EMPTY = digest_of("")

# Names get into answers and logs: one word, short, no control characters.
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@/-]{0,63}\Z")]
PerMinute = Annotated[int, msgspec.Meta(ge=1, le=10**12)]
Instant = Annotated[datetime, msgspec.Meta(tz=True)]
ModelName = Annotated[str, msgspec.Meta(min_length=1)]


class ApiKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One key. What is left out is unlimited; `null` and empty lists are refused, not read as that.

    sha256: of the key itself without a newline, hex.
    models: names of the models that it may use; none in the file: all.
    requests_per_minute, tokens_per_minute: 0 is not limited, and cannot be written in the file.
    expires: from then on the key is refused.
    """

    name: Name
    sha256: str
    models: Annotated[tuple[ModelName, ...], msgspec.Meta(min_length=1)] = ()
    requests_per_minute: PerMinute = 0
    tokens_per_minute: PerMinute = 0
    expires: Instant = NEVER


class _File(msgspec.Struct, forbid_unknown_fields=True):
    keys: list[ApiKey]


def parse_keys(content: bytes) -> Mapping[bytes, ApiKey]:
    """Keys by digest (32 bytes). An empty list is a decision to let nobody in, and is taken.

    Raises:
        BadSetting: what is wrong and where, without the file's path and without any of its secrets.
    """
    try:
        entries = msgspec.json.decode(content, type=_File).keys
    except msgspec.ValidationError as error:
        raise BadSetting(_without_content(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BadSetting("not valid JSON, or not all of it") from None
    keys: dict[bytes, ApiKey] = {}
    names: set[str] = set()
    for index, key in enumerate(entries):
        digest = _digest(key.sha256)
        if digest is None:
            raise BadSetting(f"not 64 hex digits - at `$.keys[{index}].sha256`")
        if digest == EMPTY:
            raise BadSetting(f"the digest of an empty text - at `$.keys[{index}].sha256`")
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
    # fromhex skips spaces, so both lengths are looked at.
    return digest if len(digest) == 32 and len(text) == 64 else None


def _without_content(error: msgspec.ValidationError) -> str:
    """The message of msgspec, which repeats nothing of the file but names of unknown fields."""
    problem, at, place = str(error).partition(" - at ")
    if "unknown field" in problem:
        problem = f"unknown field; a key has {', '.join(ApiKey.__struct_fields__)}"
    return f"{problem}{at}{place}"
