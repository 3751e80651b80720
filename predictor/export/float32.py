"""The float32 graph, which every bundle has: built from the weights, run, and proven.

A server that converts a model when it starts (`convert.py`) and `predictor export` (`job.py`) both
make it here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from predictor.bundle.manifest import FP32, TOKENIZER, Bundle
from predictor.bundle.source import ModelSource
from predictor.engine.engine import OnnxEngine
from predictor.engine.made_tokenizer import tokenizer_bytes
from predictor.engine.reference_runs import run_unbatched_and_batched
from predictor.engine.tokenizer import Tokenizer
from predictor.export.draft import GRAPH, draft_of, unproven, with_proof
from predictor.export.proof import (
    FP32_LIMITS,
    FP32_TOLERANCE,
    ProofReference,
    check_vocabulary,
    prove,
)
from predictor.types import FloatRows


@dataclass(frozen=True)
class Float32Run:
    """What the float32 graph gives for the texts that it is proven on."""

    tokenizer: Tokenizer

    rows: list[list[int]]
    """Token ids of the texts."""

    unbatched: FloatRows
    """Vectors of length 1, `[N, dimensions]`, each text run by itself."""

    batched: FloatRows
    """The same texts run in batches."""


def write_float32(source: ModelSource, digest: str, folder: Path) -> Bundle:
    """Build the float32 graph and put the tokenizer beside it; the variant is not proven yet.

    Args:
        digest: of the source.

    Raises:
        BadModel: see `build`; or the tokenizer has ids that the model has no vectors for.
    """
    # Imported here for the reason that `convertible.py` gives.
    from predictor.export.build import build

    built = build(source, folder / GRAPH)
    content = tokenizer_bytes(source.tokenizer, source.made_tokenizer)
    (folder / TOKENIZER).write_bytes(content)
    tokenizer = Tokenizer(folder / TOKENIZER, source.max_length)
    check_vocabulary(tokenizer.vocab_size, built.encoder.vocabulary)
    return draft_of(
        source,
        digest,
        built.dimensions,
        inputs="packed",
        position_offset=built.encoder.position_offset,
        variants={FP32: unproven(GRAPH, built.mapped)},
    )


def run_float32(bundle: Bundle, folder: Path, texts: Sequence[str], threads: int) -> Float32Run:
    """Run the texts one by one on all threads, and in batches on one."""
    tokenizer = Tokenizer(folder / TOKENIZER, bundle.max_length, lower_case=bundle.lower_case)
    rows = tokenizer.encode(texts).ids
    unbatched, batched = run_unbatched_and_batched(
        OnnxEngine(folder, bundle, threads=threads), rows
    )
    return Float32Run(tokenizer, rows, unbatched, batched)


def prove_float32(
    bundle: Bundle,
    run: Float32Run,
    reference: ProofReference = "self",
    expected: FloatRows | None = None,
) -> Bundle:
    """The bundle with its float32 variant proven.

    Args:
        expected: the vectors that `run` should have given; by default those of its own batches,
            which proves that a text's vector does not depend on its neighbours and no more.

    Raises:
        BadModel: the vectors are out of tolerance.
    """
    proof = prove(
        run.unbatched,
        run.batched,
        run.batched if expected is None else expected,
        reference=reference,
        limits=FP32_LIMITS,
        tolerance=FP32_TOLERANCE,
    )
    return with_proof(bundle, proof)
