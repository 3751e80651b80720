"""The engine of one model version: rows of token ids in, un-normalised vectors out.

`run` is called from the batcher's threads, several at once. `wide` says that this batch is alone in
the engine and may use all threads.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from predictor.bundle.manifest import FP32, Bundle, VariantName
from predictor.engine import packing, pooling
from predictor.engine.session import Session, SharedWeights
from predictor.errors import BadModel
from predictor.types import EngineOutput, FloatRows

Rows = Sequence[Sequence[int]]
POOLED_NAMES = ("embedding", "sentence_embedding", "pooled_output")
HIDDEN_NAMES = ("last_hidden_state", "token_embeddings", "hidden")
KNOWN_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class Engine(Protocol):
    """What the batcher's caller needs of an engine."""

    threads: int
    # What `run` can give for each row.
    outputs: frozenset[EngineOutput]

    def run(self, rows: Rows, *, wide: bool = False) -> FloatRows:
        """Vectors float32 `[len(rows), dimensions]`, not normalised."""


class OnnxEngine:
    """Two sessions on one model file: narrow (one thread a call) and wide (all threads)."""

    def __init__(
        self,
        folder: Path,
        bundle: Bundle,
        *,
        threads: int,
        device: Literal["cpu", "cuda"] = "cpu",
        variant: VariantName = FP32,
    ) -> None:
        """Load the sessions.

        Raises:
            BadModel: the graph cannot be loaded or does not have the inputs and outputs it should.
        """
        self.threads = 1 if device == "cuda" else threads
        self.outputs = frozenset({EngineOutput.EMBEDDING})
        self._bundle = bundle
        chosen = bundle.variant(variant)
        graph = folder / chosen.graph
        shared = SharedWeights(folder, chosen.mapped)
        self._narrow = Session(graph, threads=1, spin=False, device=device, shared=shared)
        self._wide = self._narrow
        if self.threads > 1:
            self._wide = Session(graph, threads=threads, spin=True, device=device, shared=shared)
        self._output, self._pooled = find_output(self._narrow.outputs, graph)
        known = KNOWN_INPUTS if bundle.inputs == "padded" else tuple(packing.PACKED_INPUTS)
        self._inputs = find_inputs(self._narrow.inputs, graph, known)

    def run(self, rows: Rows, *, wide: bool = False) -> FloatRows:
        session = self._wide if wide else self._narrow
        bundle = self._bundle
        if bundle.inputs == "packed":
            feed = packing.pack(
                rows,
                self._inputs,
                position_offset=bundle.position_offset,
                pad_id=bundle.pad_id,
            )
            return session.run(self._output, feed)
        feed = packing.pad(rows, self._inputs, bundle.pad_id)
        output = session.run(self._output, feed)
        if self._pooled:
            return output
        lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
        mask = (np.arange(output.shape[1]) < lengths[:, None]).astype(np.int64)
        return pooling.pool(output, mask, bundle.pooling)


class NullEngine:
    """Answers with constant vectors: what is left to measure is the server around it."""

    def __init__(self, dimensions: int, threads: int, delay_s: float = 0.0) -> None:
        """delay_s: what a batch takes, as on a device, while other threads may run."""
        self.threads = threads
        self._delay_s = delay_s
        self.outputs = frozenset({EngineOutput.EMBEDDING})
        self._rows = np.random.default_rng(0).standard_normal((4096, dimensions), dtype=np.float32)

    def run(self, rows: Rows, *, wide: bool = False) -> FloatRows:
        del wide
        if self._delay_s:
            time.sleep(self._delay_s)
        if len(rows) <= len(self._rows):
            return self._rows[: len(rows)]
        return np.resize(self._rows, (len(rows), self._rows.shape[1]))


def find_output(outputs: dict[str, list[object]], graph: Path) -> tuple[str, bool]:
    """The output to ask for, and whether it is pooled already (`[B, H]`, not `[B, S, H]`).

    Raises:
        BadModel: none of the outputs is a vector a text or a token.
    """
    for name in POOLED_NAMES:
        if len(outputs.get(name, ())) == 2:
            return name, True
    for name in HIDDEN_NAMES:
        if len(outputs.get(name, ())) == 3:
            return name, False
    raise BadModel(
        f"{graph}: has outputs {', '.join(sorted(outputs))}; known are "
        f"{', '.join(POOLED_NAMES)} ([batch, dim]) and {', '.join(HIDDEN_NAMES)} "
        "([batch, tokens, dim])"
    )


def find_inputs(inputs: dict[str, str], graph: Path, known: Sequence[str]) -> list[str]:
    """The inputs to feed.

    Raises:
        BadModel: the graph wants something that is not made from token ids, or, of a graph
            exported the usual way, other than int64.
    """
    for name, kind in inputs.items():
        if name not in known:
            raise BadModel(f"{graph}: wants input {name!r}; known are {', '.join(known)}")
        if known is KNOWN_INPUTS and kind != "tensor(int64)":
            raise BadModel(f"{graph}: input {name!r} is {kind}; tensor(int64) is served")
    return list(inputs)
