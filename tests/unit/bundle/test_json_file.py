"""A key that is null is as good as absent, in every configuration file of a model."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from predictor.bundle.folder_keys import BUILT_ONLY, KEYS
from predictor.bundle.json_file import NULL_IS_A_VALUE, read_json, read_json_list
from predictor.bundle.source import ModelSource, read_source
from predictor.errors import BadModel
from tests.reference.families.folders import assemble

POOLING = "1_Pooling/config.json"
POOLING_KEYS = (
    "word_embedding_dimension",
    "embedding_dimension",
    "pooling_mode",
    "pooling_mode_cls_token",
    "pooling_mode_mean_tokens",
    "include_prompt",
)


def keys_of_files() -> Iterator[tuple[str, str]]:
    """Every key of every configuration file that is known."""
    for name, keys in KEYS.items():
        known = {*keys.read, *keys.only, *keys.options, *keys.without_effect}
        if name == "config.json":
            known |= {"auto_map"}.union(*BUILT_ONLY.values())
        for key in sorted(known - NULL_IS_A_VALUE):
            yield name, key
    for key in POOLING_KEYS:
        yield POOLING, key


def change(path: Path, key: str, *, null: bool) -> None:
    content = json.loads(path.read_bytes()) if path.exists() else {}
    content.pop(key, None)
    if null:
        content[key] = None
    path.write_text(json.dumps(content))


def outcome(folder: Path) -> dict[str, Any] | str:
    """What is read of a folder, without what only says how it was written; or its error."""
    try:
        source = read_source(folder)
    except BadModel as error:
        return str(error)
    fields = dict(vars(source))
    del fields["config_as_written"]
    return fields


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return assemble("bert", tmp_path_factory.mktemp("nulls") / "bert")


@pytest.mark.parametrize(("name", "key"), list(keys_of_files()))
def test_null_is_absent(folder: Path, name: str, key: str) -> None:
    path = folder / name
    before = path.read_bytes()
    try:
        change(path, key, null=False)
        absent = outcome(folder)
        change(path, key, null=True)
        assert outcome(folder) == absent
    finally:
        path.write_bytes(before)


def test_null_is_dropped_at_any_depth(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"a": {"b": null, "c": [{"d": null, "e": 1}, null]}, "f": null}')
    assert read_json(path) == {"a": {"c": [{"e": 1}, None]}}
    path.write_text('[{"type": "a", "path": null}]')
    assert read_json_list(path, "modules") == [{"type": "a"}]


def test_what_a_digest_is_made_of_keeps_its_nulls(tmp_path: Path) -> None:
    """Dropping them would rename every model whose files have some."""
    folder = assemble("bert", tmp_path / "bert")
    source: ModelSource = read_source(folder)
    assert source.config_as_written == json.loads((folder / "config.json").read_bytes())
    assert "bos_token_id" in source.config_as_written
    assert "bos_token_id" not in source.config
