"""From a directory to a model version that may take traffic.

A version is served only when it is whole (digests), loads, is warm and gives its own canonical
vectors; anything else is a sentence and no server.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import numpy as np

from predictor.engine import cpu
from predictor.engine.bundle import (
    FP32,
    TOKENIZER,
    Bundle,
    VariantName,
    is_bundle,
    read_bundle,
    read_canonical,
)
from predictor.engine.engine import Engine, NullEngine, OnnxEngine
from predictor.engine.proving import alone_and_batched
from predictor.engine.session import resolve_device
from predictor.engine.tokenizer import Tokenizer
from predictor.errors import BadModel, BadSetting, EngineError, WrongVectors
from predictor.export import convert
from predictor.export.canonical import CANONICAL_TEXTS
from predictor.export.source import Source, read_source
from predictor.fidelity import cosines
from predictor.repository.layout import find_version
from predictor.settings import ModelSettings, model_path
from predictor.types import Pooling

Device = Literal["cpu", "cuda"]
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedModel:
    """One version, ready to run. `version` is the number under the model directory, else "1".

    folder: where its files are; of a directory that was converted, the bundle in the cache.
    """

    name: str
    version: str
    bundle: Bundle
    tokenizer: Tokenizer
    engine: Engine
    variant: VariantName
    folder: Path = Path()
    device: Device = "cpu"


def open_model(model: ModelSettings) -> LoadedModel:
    """The configured model, if it is one: what the commands that measure and compare work on.

    Raises:
        BadModel: it cannot be served; the message says why.
        BadSetting: a setting does not fit this model or machine.
    """
    folder, version = find_version(model_path(model))
    return open_version(folder, model.model_name, version, model)


def open_version(folder: Path, name: str, version: str, model: ModelSettings) -> LoadedModel:
    """Load, warm and check one version; it takes seconds. Raises what `open_model` does."""
    threads = model.threads or cpu.available_cpus()
    device = resolve_device(model.device)  # type: ignore[arg-type]
    folder, bundle = _open(folder, model, threads)
    tokenizer = Tokenizer(folder / TOKENIZER, bundle.max_length, lower_case=bundle.lower_case)
    candidates = candidate_variants(bundle, model.variant, device)
    if model.null_engine:
        variant: VariantName = candidates[0]
        engine: Engine = NullEngine(bundle.dimensions, threads)
    else:
        variant, engine = _first_right(folder, bundle, tokenizer, candidates, (device, threads))
    return LoadedModel(name, version, bundle, tokenizer, engine, variant, folder, device)


def candidate_variants(bundle: Bundle, asked: str, device: Device) -> list[VariantName]:
    """The variants to try, the best first.

    `auto` takes the fastest that the bundle has for the device; int8-weights saves memory and not
    time, so it has to be asked for.

    Raises:
        BadModel: the bundle has not the one that was asked for, or it needs another device.
    """
    if asked != "auto":
        name = cast(VariantName, asked)
        if bundle.variant(name).device == "cuda" and device != "cuda":
            raise BadModel(
                f"--variant {name}: this graph runs on CUDA only, the device is {device}"
            )
        return [name]
    fast: VariantName = "fp16" if device == "cuda" else "int8"
    return [fast, FP32] if fast in bundle.variants else [FP32]


def _first_right(
    folder: Path,
    bundle: Bundle,
    tokenizer: Tokenizer,
    candidates: list[VariantName],
    where: tuple[Device, int],
) -> tuple[VariantName, Engine]:
    """Load the first variant that reproduces its canonical vectors here.

    Raises:
        BadModel: none does; the last one's reason.
    """
    device, threads = where
    for index, name in enumerate(candidates):
        try:
            engine = OnnxEngine(folder, bundle, threads=threads, device=device, variant=name)
            _check(folder, bundle, tokenizer, engine, name)
        except BadModel as error:
            if index + 1 == len(candidates):
                raise
            logger.warning("not serving %s, trying %s: %s", name, candidates[index + 1], error)
        else:
            return name, engine
    raise AssertionError("no candidates")


def _open(folder: Path, settings: ModelSettings, threads: int) -> tuple[Path, Bundle]:
    if is_bundle(folder):
        if settings.pooling != "auto":
            raise BadSetting("--pooling: a bundle's pooling is part of its graph; export it again")
        return folder, read_bundle(folder)
    pooling = None if settings.pooling == "auto" else Pooling(settings.pooling)
    source = read_source(folder, pooling)
    if convert.can_convert(source) and not settings.no_convert:
        converted = convert.convert_cached(source, Path(settings.cache_dir), threads)
        return converted, read_bundle(converted)
    if source.graph is None:
        raise BadModel(
            f"{folder}: model type {source.family!r} cannot be converted and there is no "
            "onnx/model.onnx; `predictor export` may know how (it uses torch where that is "
            "installed)"
        )
    why = "--no-convert"
    if not settings.no_convert:
        known = source.family in convert.CONVERTIBLE
        why = "no weights beside it" if known else f"family {source.family!r} has no builder"
    logger.warning("serving %s with padded inputs (%s): slower", source.graph, why)
    return folder, _foreign(source, source.graph)


def _foreign(source: Source, graph: str) -> Bundle:
    """A bundle for a directory that has none: an ONNX file made elsewhere, nothing proven."""
    dimensions = source.config.get("hidden_size", source.config.get("dim"))
    if not isinstance(dimensions, int):
        raise BadModel(f"{source.folder}: config.json gives no hidden_size (it is {dimensions!r})")
    if source.head:
        kinds = ", ".join(module.kind for module in source.head)
        raise BadModel(
            f"{source.folder}: {graph} cannot be served: the modules after pooling ({kinds}) are "
            "not known to be in it; use `predictor export`"
        )
    digest = convert.digest_of(source, [source.folder / graph])
    variants = {FP32: convert.unproven(graph)}
    return convert.draft_of(source, digest, dimensions, inputs="padded", variants=variants)


def _check(
    folder: Path, bundle: Bundle, tokenizer: Tokenizer, engine: OnnxEngine, name: VariantName
) -> None:
    """Run the canonical texts both ways, which also warms the engine, and compare.

    Raises:
        BadModel: a vector is not the one it should be.
    """
    variant = bundle.variant(name)
    texts, expected = CANONICAL_TEXTS, None
    if variant.proof.reference != "none":
        texts, expected = read_canonical(folder, name)
    rows = tokenizer.encode(texts).ids
    try:
        alone, batched = alone_and_batched(engine, rows)
    except EngineError as error:
        why = " ".join(str(error.__cause__ or error).split())[:300]
        raise BadModel(
            f"{folder / variant.graph}: cannot run the canonical texts: {why}"
        ) from error
    reference = alone if expected is None else expected
    wanted = (len(texts), bundle.dimensions)
    if alone.shape != wanted or reference.shape != wanted or not np.isfinite(alone).all():
        raise BadModel(
            f"{folder}: the graph gives vectors {list(alone.shape)} where {list(wanted)} finite "
            "numbers are expected"
        )
    smallest = min(float(cosines(v, reference).min()) for v in (alone, batched))
    if not smallest >= variant.proof.tolerance:
        raise WrongVectors(
            f"{folder}: canonical vectors of {name} are not reproduced: smallest cosine "
            f"{smallest:.6f}, tolerance {variant.proof.tolerance} (proven on "
            f"{' '.join(variant.proof.instructions) or 'an unknown CPU'})"
        )
