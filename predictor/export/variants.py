"""The graphs beside float32: each is written, run over the verification texts, and proven."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from predictor.engine.bundle import FP32, Bundle, Proof, Variant, VariantName
from predictor.engine.engine import OnnxEngine
from predictor.engine.proving import BUDGET, alone_and_batched, in_batches
from predictor.engine.tokenizer import Tokenizer
from predictor.errors import BadModel, BadSetting
from predictor.export import corpus, proof
from predictor.export.build import build
from predictor.export.convert import can_convert, unproven
from predictor.export.int8 import write_int8
from predictor.export.observe import observe
from predictor.export.onnx_file import OnnxFile
from predictor.export.source import Source
from predictor.export.weight_only import write_weight_only
from predictor.progress import Progress
from predictor.types import FloatRows

Rows = list[list[int]]
NOT_ON_GPU = "not run on a GPU: proven on the CPU with padded attention in place of CUDA's kernel"
CPU_TWIN = "twin.onnx"


@dataclass(frozen=True)
class Bench:
    """What a variant is made from and measured with.

    rows: token ids of the verification texts; expected: their float32 vectors, of length 1.
    """

    source: Source
    folder: Path
    tokenizer: Tokenizer
    rows: Rows
    expected: FloatRows
    threads: int
    progress: Progress


def graph_of(name: VariantName) -> str:
    return f"model.{name}.onnx"


def check_variants(source: Source, names: Sequence[VariantName]) -> None:
    """Raise BadSetting if variants are wanted of a graph that is not built from weights."""
    others = [name for name in names if name != FP32]
    if others and not can_convert(source):
        raise BadSetting(
            f"--variants {others[0]}: family {source.family!r} has no builder, and only graphs "
            "built from weights have variants"
        )


def add_variant(bundle: Bundle, name: VariantName, bench: Bench) -> Bundle:
    """The bundle with this variant written and proven.

    Raises:
        BadModel: it is out of tolerance, or cannot be made of this model.
    """
    makers: dict[VariantName, Callable[[Bundle, Bench], Variant]] = {
        "int8": _int8,
        "int8-weights": _weight_only,
        "fp16": _fp16,
    }
    try:
        variant = makers[name](bundle, bench)
    except BadModel as error:
        raise BadModel(f"{name}: {error}") from error
    return msgspec.structs.replace(bundle, variants={**bundle.variants, name: variant})


def _int8(bundle: Bundle, bench: Bench) -> Variant:
    file = OnnxFile(bench.folder / bundle.variant(FP32).graph)
    batches = in_batches(bench.tokenizer.encode(corpus.calibration()).ids, BUDGET)
    with bench.progress.step("int8: calibrating", len(batches)) as advance:
        seen = observe(file, bundle, batches, bench.threads, advance)
    path = bench.folder / graph_of("int8")
    with bench.progress.step("int8: quantising", len(seen)) as advance:
        write_int8(file, seen, path, advance)
    draft = unproven(path.name, mapped=bundle.variant(FP32).mapped)
    return _proven(
        bundle, draft, "int8", bench, limits=proof.INT8_LIMITS, tolerance=proof.INT8_TOLERANCE
    )


def _weight_only(bundle: Bundle, bench: Bench) -> Variant:
    file = OnnxFile(bench.folder / bundle.variant(FP32).graph)
    path = bench.folder / graph_of("int8-weights")
    with bench.progress.step("int8-weights: rounding", len(list(file.linears()))) as advance:
        write_weight_only(file, path, advance)
    return _proven(
        bundle,
        unproven(path.name),
        "int8-weights",
        bench,
        limits=proof.WEIGHT_ONLY_LIMITS,
        tolerance=proof.WEIGHT_ONLY_TOLERANCE,
    )


def _fp16(bundle: Bundle, bench: Bench) -> Variant:
    """CUDA's graph; without a GPU its proof comes from a twin with the other attention."""
    path = bench.folder / graph_of("fp16")
    twin = bench.folder / CPU_TWIN
    with bench.progress.step("fp16: building", 2) as advance:
        build(bench.source, path, dtype=np.float16, packed_attention=True)
        advance()
        build(bench.source, twin, dtype=np.float16)
    proven = _proven(
        bundle,
        unproven(twin.name),
        "fp16",
        bench,
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
    bench: Bench,
    *,
    limits: dict[str, float],
    tolerance: float,
    batch_limit: float = proof.BATCH_ERROR,
    note: str = "",
) -> Variant:
    trial = msgspec.structs.replace(bundle, variants={**bundle.variants, name: draft})
    engine = OnnxEngine(bench.folder, trial, threads=bench.threads, variant=name)
    with bench.progress.step(f"{name}: proving on {len(bench.rows)} texts"):
        alone, batched = alone_and_batched(engine, bench.rows)
    result: Proof = proof.prove(
        alone,
        batched,
        bench.expected,
        reference="fp32",
        limits=limits,
        tolerance=tolerance,
        batch_limit=batch_limit,
        note=note,
    )
    return msgspec.structs.replace(draft, proof=result)
