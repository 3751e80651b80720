"""The sentence-transformers part of a model directory: what comes around the transformer.

Everything that changes the vectors is either honoured or refused by name: a module that is skipped
silently gives wrong vectors that look right.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from predictor.errors import BadModel
from predictor.types import Pooling

HeadKind = Literal["Dense", "LayerNorm", "Normalize"]
HEAD_KINDS = ("Dense", "LayerNorm", "Normalize")
IGNORED = ("Dropout",)  # does nothing outside of training
POOLINGS = {
    "cls": Pooling.CLS,
    "mean": Pooling.MEAN,
    "max": Pooling.MAX,
    "lasttoken": Pooling.LAST_TOKEN,
    "weightedmean": Pooling.WEIGHTED_MEAN,
    "mean_sqrt_len_tokens": Pooling.MEAN_SQRT_LEN,
}
"""By the names of sentence-transformers' `pooling_mode`."""
OLD_KEYS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "lasttoken",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
}


@dataclass(frozen=True)
class HeadModule:
    """A module between pooling and the final normalisation; `folder` is relative to the model's."""

    kind: HeadKind
    folder: str


@dataclass(frozen=True)
class Modules:
    """What `modules.json` lists, in its order.

    normalize: whether the last module scales the vector to length 1.
    """

    transformer: str = ""
    pooling: Pooling = Pooling.MEAN
    head: tuple[HeadModule, ...] = ()
    normalize: bool = True


def read_json(path: Path, *, missing_ok: bool = False) -> dict[str, Any]:
    """A JSON object.

    Raises:
        BadModel: the file is missing, damaged, or holds something else.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        if missing_ok:
            return {}
        raise BadModel(f"{path}: missing") from error
    except (OSError, ValueError, RecursionError) as error:
        raise BadModel(f"{path}: not readable JSON: {error}") from error
    if not isinstance(content, dict):
        raise BadModel(f"{path}: holds a {type(content).__name__}, not an object")
    return content


def read_modules(folder: Path) -> Modules:
    """The modules of a directory; without `modules.json`: `1_Pooling` (or mean), normalised.

    Raises:
        BadModel: a module or a setting of one is not supported.
    """
    listed = _listed(folder)
    if not listed:
        return Modules(pooling=_pooling(folder / "1_Pooling"))
    kinds = [kind for kind, _ in listed]
    if kinds[:2] != ["Transformer", "Pooling"]:
        raise BadModel(
            f"{folder / 'modules.json'}: modules {', '.join(kinds)}; supported is Transformer, "
            f"Pooling, then any of {', '.join(HEAD_KINDS)}"
        )
    unknown = [kind for kind in kinds[2:] if kind not in HEAD_KINDS]
    if unknown:
        raise BadModel(
            f"{folder / 'modules.json'}: module {unknown[0]!r} is not supported; known are "
            f"Transformer, Pooling, {', '.join(HEAD_KINDS)}"
        )
    normalize = kinds[-1] == "Normalize"
    head = listed[2:-1] if normalize else listed[2:]
    return Modules(
        transformer=listed[0][1],
        pooling=_pooling(folder / listed[1][1]),
        head=tuple(HeadModule(cast(HeadKind, kind), path) for kind, path in head),
        normalize=normalize,
    )


def _listed(folder: Path) -> list[tuple[str, str]]:
    path = folder / "modules.json"
    if not path.is_file():
        return []
    try:
        entries = json.loads(path.read_bytes())
        modules = [(str(m["type"]).rsplit(".", 1)[-1], str(m.get("path", ""))) for m in entries]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadModel(f"{path}: not a list of modules: {error}") from error
    outside = [place for _, place in modules if place.startswith("/") or ".." in place.split("/")]
    if outside:
        raise BadModel(f"{path}: names a folder outside of the model: {outside[0]!r}")
    return [(kind, place) for kind, place in modules if kind not in IGNORED]


def _pooling(folder: Path) -> Pooling:
    config = read_json(folder / "config.json", missing_ok=True)
    mode = config.get("pooling_mode")
    if mode is None:
        unknown = [
            key.removeprefix("pooling_mode_")
            for key, on in config.items()
            if key.startswith("pooling_mode_") and key not in OLD_KEYS and on is True
        ]
        mode = [name for key, name in OLD_KEYS.items() if config.get(key) is True] + unknown
    modes = [str(one) for one in mode] if isinstance(mode, list) else [str(mode)]
    modes = modes or ["mean"]
    if len(modes) != 1 or modes[0] not in POOLINGS:
        raise BadModel(
            f"{folder}: pooling {' + '.join(modes)} is not supported; known are "
            f"{', '.join(POOLINGS)}"
        )
    if config.get("include_prompt") is False:
        raise BadModel(
            f"{folder}: include_prompt false (pooling without the prompt) is not supported"
        )
    return POOLINGS[modes[0]]
