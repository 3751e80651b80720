"""Each part of a tokenizer.json replaced by something else: refused, or it works; never a panic."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from predictor.bundle.canonical import CANONICAL_TEXTS
from predictor.engine.tokenizer import Tokenizer
from predictor.errors import BadModel, EngineError
from tests.reference.families.folders import MODELS

REPLACEMENTS: tuple[Any, ...] = (None, -1, 1 << 40, "", "a", [], {}, [{}], {"type": "Sequence"})
MAX_DEPTH = 5
# Of a list or an object, so many parts are replaced: the vocabulary is long.
MAX_PARTS = 4
SOURCE = json.loads((MODELS / "bert" / "tokenizer.json").read_text())


def places(content: Any, depth: int = 0) -> Iterator[tuple[Any, ...]]:
    """The ways to the parts of a JSON value."""
    keys: list[Any] = []
    if isinstance(content, dict):
        keys = list(content)
    elif isinstance(content, list):
        keys = list(range(len(content)))
    for key in keys if depth == 0 else keys[:MAX_PARTS]:
        yield (key,)
        if depth < MAX_DEPTH:
            yield from ((key, *rest) for rest in places(content[key], depth + 1))


def replaced(way: tuple[Any, ...], value: Any) -> Any:
    content = json.loads(json.dumps(SOURCE))
    part = content
    for key in way[:-1]:
        part = part[key]
    part[way[-1]] = value
    return content


@pytest.mark.parametrize("section", SOURCE)
def test_a_damaged_part_is_refused_or_works(tmp_path: Path, section: str) -> None:
    path = tmp_path / "tokenizer.json"
    ways = [way for way in places(SOURCE) if way[0] == section]
    assert ways
    for way in ways:
        for value in REPLACEMENTS:
            path.write_text(json.dumps(replaced(way, value)))
            with contextlib.suppress(BadModel, EngineError):
                Tokenizer(path, 128).encode(CANONICAL_TEXTS)
