"""How a directory is served: converted from its weights, by its own ONNX file, or not at all.

Answered without importing onnx and safetensors: a server asks this of every directory that it
loads. The builders themselves (`families/`) need both, which take 0.4 s and 8 MB to import on two
busy cores and are needed once in a model's life.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from predictor.bundle.folder_keys import not_built
from predictor.bundle.onnx_files import choose_onnx, onnx_files
from predictor.bundle.source import ModelSource
from predictor.bundle.tensor_names import READABLE_TYPES, tensor_heads
from predictor.bundle.weight_files import PICKLE
from predictor.errors import BadModel
from predictor.extras import install

# The keys of `families.FAMILIES`, in its order; a test compares the two.
CONVERTIBLE = (
    "bert",
    "roberta",
    "xlm-roberta",
    "camembert",
    "mpnet",
    "distilbert",
    "modernbert",
    "nomic_bert",
    "gte",
    "new",
)
"""`model_type` of config.json."""


@dataclass(frozen=True)
class ServedFile:
    """The file that a directory is served by."""

    onnx: str | None
    """An ONNX file, relative to the directory; None: a graph that is built from the weights."""

    why: str = ""
    """Why the weights are not converted; empty if they are."""

    def described(self, source: ModelSource) -> str:
        """The file or files, for a log."""
        if self.onnx is not None:
            return self.onnx
        return ", ".join(path.name for path in source.weights)


def can_convert(source: ModelSource) -> bool:
    """Whether the float32 graph of this model can be built from its weights."""
    return why_not_converted(source) is None


def why_not_converted(source: ModelSource) -> str | None:
    """Why no graph can be built from the weights; None: it can."""
    if source.family not in CONVERTIBLE:
        return f"family {source.family!r} has no builder"
    weights = source.weights
    if not weights:
        return "no weights beside it"
    if weights[0].name == PICKLE and importlib.util.find_spec("torch") is None:
        return (
            f"{PICKLE} is a pickle, which is read through torch only; {install('torch')}, or save "
            "the model as safetensors"
        )
    return not_built(source.family, source.config) or _unreadable_type(source)


def _unreadable_type(source: ModelSource) -> str | None:
    try:
        heads = tensor_heads(source.weights)
    except BadModel:  # to convert it says what is wrong with the file
        return None
    kinds = sorted({head.kind for head in heads.values()} - set(READABLE_TYPES))
    if not kinds:
        return None
    name = next(name for name, head in heads.items() if head.kind == kinds[0])
    return f"tensor {name!r} is of type {kinds[0]}, which is not read"


def served_file(
    source: ModelSource, onnx_file: str = "", *, no_convert: bool = False
) -> ServedFile:
    """How this directory is served.

    Args:
        onnx_file: the ONNX file that the operator names; it is then served as it is.
        no_convert: serve an ONNX file even if the weights can be converted.

    Raises:
        BadModel: there is nothing that can be served; it says what there is.
        BadSetting: the file that is named is not there.
    """
    chosen = choose_onnx(source.folder, onnx_file)
    if onnx_file:
        return ServedFile(chosen, "--onnx-file")
    why_not = why_not_converted(source)
    if why_not is None and not no_convert:
        return ServedFile(None)
    if chosen is not None:
        return ServedFile(chosen, why_not if why_not is not None else "--no-convert")
    raise BadModel(_nothing_served(source.folder, why_not or "--no-convert"))


def _nothing_served(folder: Path, why_not: str) -> str:
    start = f"{folder}: it cannot be converted ({why_not}) and there is no onnx/model.onnx"
    listed = onnx_files(folder)
    if listed:
        return f"{start}; it has {', '.join(listed)}: name the one to serve with --onnx-file"
    return f"{start}; `predictor export` may know how (it uses torch where that is installed)"
