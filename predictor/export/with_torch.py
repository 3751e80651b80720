"""The original model through torch: its vectors, and the export of families without a builder.

torch, transformers and sentence-transformers are imported here and in `pickle_file.py`, inside
functions: nothing that serves ever loads them, and an export works without them.
"""

import importlib
import importlib.util
import logging
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from predictor.bundle.manifest import FP32, TOKENIZER, Bundle
from predictor.bundle.modules import POOLINGS
from predictor.bundle.source import ModelSource
from predictor.engine.engine import KNOWN_INPUTS as PADDED_INPUTS
from predictor.engine.made_tokenizer import tokenizer_bytes
from predictor.errors import BadModel
from predictor.export.draft import GRAPH, draft_of, unproven
from predictor.extras import install
from predictor.types import FloatRows

logger = logging.getLogger(__name__)

NEEDED = ("torch", "transformers", "sentence_transformers")


def missing() -> list[str]:
    """The libraries that are not installed; none are imported."""
    return [name for name in NEEDED if importlib.util.find_spec(name) is None]


def load_original(source: ModelSource, **model_options: str) -> Any:
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


def write_padded(source: ModelSource, digest: str, folder: Path) -> Bundle:
    """A family without a builder: torch's own export, padded inputs, pooling in the graph.

    Raises:
        BadModel: torch is not installed, or the model cannot be loaded or exported.
    """
    if missing():
        raise BadModel(
            f"{source.folder}: family {source.family!r} has no builder, and exporting it needs "
            f"{', '.join(missing())}: {install('torch')}"
        )
    logger.warning(
        "family %r has no builder: exported through torch with padded inputs, served slower",
        source.family,
    )
    model = load_original(source, attn_implementation="eager")
    if source.normalize and type(model[-1]).__name__ == "Normalize":
        del model[-1]
    try:
        name = "get_embedding_dimension"
        if not hasattr(model, name):
            name = "get_sentence_embedding_dimension"  # before sentence-transformers 6
        dimensions = int(getattr(model, name)())
        names = [name for name in PADDED_INPUTS if name in model.tokenizer.model_input_names]
        _export(model, names, folder)
    except Exception as error:  # whatever torch raises for a graph that it cannot trace
        why = " ".join(str(error).split())[:300]
        raise BadModel(f"{source.folder}: torch cannot export it: {why}") from error
    content = tokenizer_bytes(source.tokenizer, source.made_tokenizer)
    (folder / TOKENIZER).write_bytes(content)
    variants = {FP32: unproven(GRAPH)}
    return draft_of(source, digest, dimensions, inputs="padded", variants=variants)


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
    _save_with_data_file(raw, folder)


def _save_with_data_file(raw: Path, folder: Path) -> None:
    """Save torch's graph as `GRAPH` with its weights beside it, and nothing else in the folder."""
    onnx = importlib.import_module("onnx")
    graph = onnx.load(str(raw))
    for leftover in set(folder.iterdir()):
        leftover.unlink()
    # Beside the graph: a protobuf ends at 2 GB.
    onnx.save(
        graph,
        str(folder / GRAPH),
        save_as_external_data=True,
        all_tensors_to_one_file=True,
        location=f"{GRAPH}.data",
    )
