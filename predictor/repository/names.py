"""Which names a served model may have, so that it answers on every protocol's paths."""

import re

from predictor.errors import BadSetting

# Parts between slashes, as in `BAAI/bge-m3`.
_NAME = re.compile(r"[^/\x00-\x20\x7f]+(?:/[^/\x00-\x20\x7f]+)*")
# Parts that clients leave out of a path, or that end the name in one.
_REFUSED_PARTS = frozenset({".", ".."})
_REFUSED_LATER_PARTS = frozenset(
    {"versions", "infer", "ready", "explain", "load", "unload", "embeddings", "chat", "completions"}
)
MAX_CHARACTERS = 256
RULE = (
    "a model's name has 1 to 256 characters without spaces; it may have parts between single "
    "slashes, and no part but the first may be a word of a path, such as 'ready'"
)


def is_name(name: str) -> bool:
    """Whether a model can be served under a name."""
    parts = name.split("/")
    return (
        len(name) <= MAX_CHARACTERS
        and _NAME.fullmatch(name) is not None
        and _REFUSED_PARTS.isdisjoint(parts)
        and _REFUSED_LATER_PARTS.isdisjoint(parts[1:])
    )


def check_name(setting: str, name: str) -> None:
    """Raise BadSetting unless a model can be served under the name that a setting has."""
    if not is_name(name):
        raise BadSetting(f"{setting} {name[:80]!r} cannot be served: {RULE}")
