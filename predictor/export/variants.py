"""The graphs beside float32: each is written, run over the verification texts, and proven."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from predictor.bundle import corpus
from predictor.bundle.manifest import FP32, Bundle, Variant, VariantName
from predictor.bundle.proof import Proof
from predictor.bundle.source import ModelSource
from predictor.engine.engine import OnnxEngine
from predictor.engine.reference_runs import BUDGET, in_batches, run_unbatched_and_batched
from predictor.engine.tokenizer import Tokenizer
from predictor.errors import BadModel, BadSetting
from predictor.export import proof
from predictor.export.build import build
from predictor.export.calibrate import calibrate
from predictor.export.convertible import can_convert
from predictor.export.draft import unproven
from predictor.export.int8 import write_int8
from predictor.export.onnx_file import OnnxFile
from predictor.export.weight_only import write_weight_only
from predictor.progress import Progress
from predictor.types import FloatRows

NOT_ON_GPU = "not run on a GPU: proven on the CPU with padded attention in place of CUDA's kernel"
CPU_TWIN = "twin.onnx"


@dataclass(frozen=True)
class VariantContext:
    """What a variant is made from and measured with."""

    source: ModelSource

    folder: Path
    """Where the bundle is written."""

    tokenizer: Tokenizer

    rows: list[list[int]]
    """Token ids of the verification texts."""

    expected: FloatRows
    """Their float32 vectors, of length 1."""

    threads: int
    progress: Progress


def graph_of(name: VariantName) -> str:
    return f"model.{name}.onnx"


def check_variants(source: ModelSource, names: Sequence[VariantName]) -> None:
    """Raise BadSetting if variants are wanted of a graph that is not built from weights."""
    others = [name for name in names if name != FP32]
    if others and not can_convert(source):
        raise BadSetting(
            f"--variants {others[0]}: family {source.family!r} has no builder, and only graphs "
            "built from weights have variants"
        )


def add_variant(bundle: Bundle, name: VariantName, context: VariantContext) -> Bundle:
    """The bundle with this variant written and proven.

    Raises:
        BadModel: it is out of tolerance, or cannot be made of this model.
    """
    makers: dict[VariantName, Callable[[Bundle, VariantContext], Variant]] = {
        "int8": _int8,
        "int8-weights": _weight_only,
        "fp16": _fp16,
    }
    try:
        variant = makers[name](bundle, context)
    except BadModel as error:
        raise BadModel(f"{name}: {error}") from error
    return msgspec.structs.replace(bundle, variants={**bundle.variants, name: variant})


def _int8(bundle: Bundle, context: VariantContext) -> Variant:
    file = OnnxFile(context.folder / bundle.variant(FP32).graph)
    batches = in_batches(context.tokenizer.encode(corpus.calibration()).ids, BUDGET)
    with context.progress.step("int8: calibrating", len(batches)) as advance:
        activations = calibrate(file, bundle, batches, context.threads, advance)
    path = context.folder / graph_of("int8")
    with context.progress.step("int8: quantising", len(activations)) as advance:
        write_int8(file, activations, path, advance)
    draft = unproven(path.name, bundle.variant(FP32).mapped)
    return _proven(
        bundle, draft, "int8", context, limits=proof.INT8_LIMITS, tolerance=proof.INT8_TOLERANCE
    )


def _weight_only(bundle: Bundle, context: VariantContext) -> Variant:
    file = OnnxFile(context.folder / bundle.variant(FP32).graph)
    path = context.folder / graph_of("int8-weights")
    with context.progress.step("int8-weights: rounding", len(list(file.linears()))) as advance:
        write_weight_only(file, path, advance)
    return _proven(
        bundle,
        unproven(path.name),
        "int8-weights",
        context,
        limits=proof.WEIGHT_ONLY_LIMITS,
        tolerance=proof.WEIGHT_ONLY_TOLERANCE,
    )


def _fp16(bundle: Bundle, context: VariantContext) -> Variant:
    """CUDA's graph; without a GPU its proof comes from a twin with the other attention."""
    path = context.folder / graph_of("fp16")
    twin = context.folder / CPU_TWIN
    with context.progress.step("fp16: building", 2) as advance:
        build(context.source, path, dtype=np.float16, packed_attention=True)
        advance()
        build(context.source, twin, dtype=np.float16)
    proven = _proven(
        bundle,
        unproven(twin.name),
        "fp16",
        context,
        limits=proof.FP16_LIMITS,
        tolerance=proof.FP16_TOLERANCE,
        batch_limit=proof.FP16_BATCH_ERROR,
        note=NOT_ON_GPU,
    )
    for part in (twin, twin.with_name(twin.name + ".data")):
        part.unlink()
    return msgspec.structs.replace(proven, graph=path.name, device="cuda")


def _proven(  # noqa: PLR0913  the limits of a variant, by name
    bundle: Bundle,
    draft: Variant,
    name: VariantName,
    context: VariantContext,
    *,
    limits: dict[str, float],
    tolerance: float,
    batch_limit: float = proof.BATCH_ERROR,
    note: str = "",
) -> Variant:
    trial = msgspec.structs.replace(bundle, variants={**bundle.variants, name: draft})
    engine = OnnxEngine(context.folder, trial, threads=context.threads, variant=name)
    with context.progress.step(f"{name}: proving on {len(context.rows)} texts"):
        unbatched, batched = run_unbatched_and_batched(engine, context.rows)
    result: Proof = proof.prove(
        unbatched,
        batched,
        context.expected,
        reference="fp32",
        limits=limits,
        tolerance=tolerance,
        batch_limit=batch_limit,
        note=note,
    )
    return msgspec.structs.replace(draft, proof=result)
