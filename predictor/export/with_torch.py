"""All that needs torch: the original model's vectors, pickled weights, other families' export.

torch, transformers and sentence-transformers are imported here and nowhere else, inside functions:
nothing that serves ever loads them, and an export works without them.
"""

import importlib
import importlib.util
import logging
import pickle
import shutil
import warnings
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from predictor.engine.bundle import FP32, TOKENIZER, Bundle
from predictor.engine.engine import KNOWN_INPUTS as PADDED_INPUTS
from predictor.errors import BadModel
from predictor.export import convert
from predictor.export.modules import POOLINGS
from predictor.export.source import Source
from predictor.types import FloatRows

logger = logging.getLogger(__name__)

NEEDED = ("torch", "transformers", "sentence_transformers")
NO_CHECKPOINT = (RuntimeError, ValueError, AttributeError, EOFError, pickle.UnpicklingError)
INSTALL = "pip install 'predictor[torch]'"


def missing() -> list[str]:
    """The libraries that are not installed; none are imported."""
    return [name for name in NEEDED if importlib.util.find_spec(name) is None]


def load_pickle(path: Path) -> dict[str, Any]:
    """The tensors of a `.bin` checkpoint, with `weights_only`: no code of the file is run.

    Raises:
        BadModel: torch is not installed, or the file is not a plain checkpoint.
    """
    if importlib.util.find_spec("torch") is None:
        raise BadModel(
            f"{path}: a pickle, which is read through torch only; {INSTALL}, or save the model as "
            "safetensors"
        )
    torch = importlib.import_module("torch")
    try:
        # Checkpoints from before torch 1.6 are no zip, and cannot be mapped.
        mapped = zipfile.is_zipfile(path)
        tensors = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
        return {str(name): tensor.float().numpy() for name, tensor in tensors.items()}
    except (OSError, *NO_CHECKPOINT) as error:
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BadModel(f"{path}: not a plain checkpoint: {why}") from error


def load_original(source: Source, **model_options: str) -> Any:
    """The original model in float32 on the CPU, as sentence-transformers loads it.

    Raises:
        BadModel: it cannot be loaded (models with code of their own are refused).
    """
    library = importlib.import_module("sentence_transformers")
    # Torch's threads wait for each other by spinning: beside any other busy process an export took
    # two minutes on two of them and six seconds on one.
    importlib.import_module("torch").set_num_threads(1)
    try:
        model = library.SentenceTransformer(
            str(source.folder),
            device="cpu",
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"dtype": "float32", **model_options},
        )
    except Exception as error:  # whatever the libraries raise for a model they do not know
        why = " ".join(str(error).split())[:300]
        raise BadModel(f"{source.folder}: sentence-transformers cannot load it: {why}") from error
    model.max_seq_length = source.max_length
    if source.pooling_overridden:
        model[1].pooling_mode = SENTENCE_TRANSFORMERS[source.pooling]
    return model.eval()


SENTENCE_TRANSFORMERS = {pooling: name for name, pooling in POOLINGS.items()}


def original_vectors(model: Any, texts: Sequence[str], advance: Callable[[], object]) -> FloatRows:
    """The original model's vectors `[N, H]`, of length 1, one text at a time: no padding.

    No prompt is put before the texts, whatever the model's default: the graph gets none either.
    """
    vectors = []
    for text in texts:
        vectors.append(
            model.encode(
                text, prompt="", normalize_embeddings=True, show_progress_bar=False
            ).astype(np.float32)
        )
        advance()
    return np.stack(vectors)


def write_padded(source: Source, digest: str, folder: Path) -> Bundle:
    """A family without a builder: torch's own export, padded inputs, pooling in the graph.

    Raises:
        BadModel: torch is not installed, or the model cannot be loaded or exported.
    """
    if missing():
        raise BadModel(
            f"{source.folder}: family {source.family!r} has no builder, and exporting it needs "
            f"{', '.join(missing())}: {INSTALL}"
        )
    logger.warning(
        "family %r has no builder: exported through torch with padded inputs, served slower",
        source.family,
    )
    model = load_original(source, attn_implementation="eager")
    old = "get_sentence_embedding_dimension"  # before sentence-transformers 6
    dimensions = int(getattr(model, "get_embedding_dimension", getattr(model, old))())
    if source.normalize and type(model[-1]).__name__ == "Normalize":
        del model[-1]
    names = [name for name in PADDED_INPUTS if name in model.tokenizer.model_input_names]
    try:
        _export(model, names, folder)
    except Exception as error:  # whatever torch raises for a graph that it cannot trace
        why = " ".join(str(error).split())[:300]
        raise BadModel(f"{source.folder}: torch cannot export it: {why}") from error
    shutil.copyfile(source.tokenizer, folder / TOKENIZER)
    variants = {FP32: convert.unproven(convert.GRAPH)}
    return convert.draft_of(source, digest, dimensions, inputs="padded", variants=variants)


def _export(model: Any, names: list[str], folder: Path) -> None:
    torch = importlib.import_module("torch")

    class Pooled(torch.nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.model = model  # its weights are this module's: not constants of the trace

        def forward(self, *tensors: Any) -> Any:
            features = dict(zip(names, tensors, strict=True))
            for module in self.model:
                features = module(features)
            return features["sentence_embedding"]

    example = torch.ones((2, 8), dtype=torch.int64)
    axes = {name: {0: "B", 1: "S"} for name in names}
    raw = folder / "torch.onnx"
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Pooled(),
            tuple(example for _ in names),
            str(raw),
            input_names=names,
            output_names=["sentence_embedding"],
            dynamic_axes=axes | {"sentence_embedding": {0: "B"}},
            opset_version=17,
            dynamo=False,
        )
    onnx = importlib.import_module("onnx")
    graph = onnx.load(str(raw))
    for leftover in set(folder.iterdir()):
        leftover.unlink()
    # Beside the graph: a protobuf ends at 2 GB.
    onnx.save(
        graph,
        str(folder / convert.GRAPH),
        save_as_external_data=True,
        all_tensors_to_one_file=True,
        location=f"{convert.GRAPH}.data",
    )
