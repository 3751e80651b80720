"""The sentence-transformers part of a model directory: what comes around the transformer.

Everything that changes the vectors is either honoured or refused by name: a module that is skipped
silently gives wrong vectors that look right.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from predictor.bundle.folder_keys import POOLING, check_keys, unknown_keys
from predictor.bundle.json_file import read_json, read_json_list
from predictor.errors import BadModel
from predictor.types import Pooling

HeadKind = Literal["Dense", "LayerNorm", "Normalize"]
HEAD_KINDS = ("Dense", "LayerNorm", "Normalize")
IGNORED = ("Dropout",)  # does nothing outside of training
KINDS = ("Transformer", "Pooling", *HEAD_KINDS, *IGNORED)
# Where releases of sentence-transformers have, or had, the classes of modules. A class is matched
# whole: `custom_st.Transformer` is another one than that of the library.
PACKAGES = (
    "sentence_transformers.models",
    "sentence_transformers.base.models",
    "sentence_transformers.base.modules",
    "sentence_transformers.sentence_transformer.models",
    "sentence_transformers.sentence_transformer.modules",
)
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
    """A module between pooling and the final normalisation."""

    kind: HeadKind

    folder: str
    """Relative to the model's."""


@dataclass(frozen=True)
class Modules:
    """What `modules.json` lists, in its order."""

    transformer: str = ""
    """Folder of the transformer, relative to the model's."""

    pooling: Pooling = Pooling.MEAN

    head: tuple[HeadModule, ...] = ()
    """The modules between pooling and the final normalisation."""

    normalize: bool = False
    """Whether the last module scales the vector to length 1."""

    unread: tuple[str, ...] = ()
    """Keys of the pooling's file that nobody here knows, like "1_Pooling/config.json: foo"."""

    listed: bool = True
    """Whether there is a modules.json at all."""


def module_classes(folder: Path) -> tuple[str, ...]:
    """The dotted classes that `modules.json` lists, in its order; empty without the file.

    Raises:
        BadModel: the file is damaged.
    """
    return tuple(dotted for dotted, _ in _listed(folder))


def transformer_folder(folder: Path) -> str:
    """Where the transformer is, relative to the model: the folder of the first module."""
    listed = _listed(folder)
    return listed[0][1] if listed else ""


def read_modules(folder: Path) -> Modules:
    """The modules of a directory.

    Without `modules.json` they are those that sentence-transformers then takes: mean pooling and no
    normalisation, whatever other files there are.

    Raises:
        BadModel: a module or a setting of one is not supported.
    """
    path = folder / "modules.json"
    listed = [(_kind(dotted, path), place) for dotted, place in _listed(folder)]
    listed = [(kind, place) for kind, place in listed if kind not in IGNORED]
    if not listed:
        return Modules(listed=False)
    kinds = [kind for kind, _ in listed]
    if kinds[:2] != ["Transformer", "Pooling"] or not set(kinds[2:]) <= set(HEAD_KINDS):
        raise BadModel(
            f"{path}: modules {', '.join(kinds)}; supported is Transformer, Pooling, then any of "
            f"{', '.join(HEAD_KINDS)}"
        )
    normalize = kinds[-1] == "Normalize"
    head = listed[2:-1] if normalize else listed[2:]
    return Modules(
        transformer=listed[0][1],
        pooling=_pooling(folder / listed[1][1]),
        head=tuple(HeadModule(cast(HeadKind, kind), place) for kind, place in head),
        normalize=normalize,
        unread=_unread(folder, listed[1][1]),
    )


def _unread(folder: Path, place: str) -> tuple[str, ...]:
    keys = unknown_keys(POOLING, read_json(folder / place / "config.json", missing_ok=True))
    return (f"{place}/config.json: {', '.join(keys)}",) if keys else ()


def _kind(dotted: str, path: Path) -> str:
    """The last word of a class of sentence-transformers. Raises BadModel for any other class."""
    for kind in KINDS:
        file = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind).lower()
        ends = (kind, f"{kind}.{kind}", f"{file}.{kind}")
        if dotted in {f"{package}.{end}" for package in PACKAGES for end in ends}:
            return kind
    raise BadModel(
        f"{path}: module {dotted!r} is not supported; known are {', '.join(KINDS)} of "
        "sentence_transformers"
    )


def _listed(folder: Path) -> list[tuple[str, str]]:
    """Dotted class and folder of each module."""
    path = folder / "modules.json"
    entries = read_json_list(path, "modules")
    if any("type" not in entry for entry in entries):
        raise BadModel(f"{path}: not a list of modules: one has no type")
    for entry in entries:
        if entry.get("kwargs"):
            raise BadModel(
                f"{path}: kwargs {entry['kwargs']!r} of module {entry['type']!r} is not supported"
            )
    modules = [(str(entry["type"]), str(entry.get("path", ""))) for entry in entries]
    outside = [place for _, place in modules if place.startswith("/") or ".." in place.split("/")]
    if outside:
        raise BadModel(f"{path}: names a folder outside of the model: {outside[0]!r}")
    return modules


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
    modes = [str(name) for name in mode] if isinstance(mode, list) else [str(mode)]
    modes = modes or ["mean"]
    if len(modes) != 1 or modes[0] not in POOLINGS:
        raise BadModel(
            f"{folder}: pooling {' + '.join(modes)} is not supported; known are "
            f"{', '.join(POOLINGS)}"
        )
    check_keys(POOLING, str(folder), config)
    return POOLINGS[modes[0]]
