"""Reads the JSON files of a model directory; a key that is null is as good as absent.

All configuration files of models are read here, so that no reader has to tell null from absent.
"""

import json
from pathlib import Path
from typing import Any

from predictor.errors import BadModel

# Keys whose null is a value of its own: ModernBERT's local layers then rotate as the global ones
# do, and with 10000 if the key is absent.
NULL_IS_A_VALUE = frozenset({"local_rope_theta"})


def read_json(path: Path, *, missing_ok: bool = False, nulls: bool = False) -> dict[str, Any]:
    """A JSON object without its null keys, at any depth.

    Args:
        nulls: keep them; for digests of what the file says, and for nothing else.

    Raises:
        BadModel: the file is missing, damaged, or holds something else.
    """
    content = _parse(path, missing_ok=missing_ok)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise BadModel(f"{path}: holds a {type(content).__name__}, not an object")
    return content if nulls else dict(without_nulls(content))


def read_json_list(path: Path, what: str) -> list[dict[str, Any]]:
    """A JSON list of objects without their null keys; empty if the file is missing.

    Args:
        what: the objects are, for errors.

    Raises:
        BadModel: the file is damaged, or holds something else.
    """
    content = _parse(path, missing_ok=True)
    if content is None:
        return []
    if not isinstance(content, list) or not all(isinstance(entry, dict) for entry in content):
        raise BadModel(f"{path}: not a list of {what}")
    return [dict(without_nulls(entry)) for entry in content]


def without_nulls(value: Any) -> Any:
    """A parsed value without the keys that are null, those of objects in objects included."""
    if isinstance(value, dict):
        return {
            key: without_nulls(inner)
            for key, inner in value.items()
            if inner is not None or key in NULL_IS_A_VALUE
        }
    if isinstance(value, list):
        return [without_nulls(inner) for inner in value]
    return value


def _parse(path: Path, *, missing_ok: bool) -> Any:
    """The parsed content; None for a file that is missing and may be."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        if missing_ok:
            return None
        raise BadModel(f"{path}: missing") from error
    except (OSError, ValueError, RecursionError) as error:
        raise BadModel(f"{path}: not readable JSON: {error}") from error
    return {} if content is None and missing_ok else content
