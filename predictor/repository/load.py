"""From a directory to a model version that may take traffic.

A version is served only when it is whole (digests), loads, is warm and gives its own canonical
vectors; anything else is an error that says why.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from predictor.bundle.external_data import external_files
from predictor.bundle.manifest import (
    FP32,
    TOKENIZER,
    Bundle,
    VariantName,
    check_proven,
    is_bundle,
    is_plain,
    read_bundle,
)
from predictor.bundle.proof import TOLERANCES
from predictor.bundle.signature import check_signature, read_public_keys
from predictor.bundle.source import ModelSource, read_source
from predictor.engine import cpu
from predictor.engine.canonical_check import check_canonical
from predictor.engine.engine import Engine, NullEngine, OnnxEngine
from predictor.engine.made_tokenizer import tokenizer_bytes
from predictor.engine.session import resolve_device
from predictor.engine.tokenizer import Tokenizer
from predictor.errors import (
    BadModel,
    BadSetting,
    EngineError,
    EngineOutOfMemory,
    NoMemory,
)
from predictor.export.convert import convert_cached
from predictor.export.convertible import served_file
from predictor.export.draft import digest_of, draft_of, unproven
from predictor.repository.layout import find_version
from predictor.repository.source_log import log_bundle, log_source
from predictor.settings import ModelSettings, VariantChoice, model_path
from predictor.types import Pooling

Device = Literal["cpu", "cuda"]
logger = logging.getLogger(__name__)

# The smallest cosine of a text in a batch to the text alone in an ONNX file that the operator
# names: quantised graphs of optimum scale their activations by the whole batch.
NAMED_FILE_TOLERANCE = 0.98


@dataclass(frozen=True)
class LoadedModel:
    """One version, ready to run."""

    # Of the model.
    name: str
    # The number of its folder, else "1".
    version: str
    bundle: Bundle
    tokenizer: Tokenizer
    engine: Engine
    variant: VariantName
    # Its files; of a directory that was converted, the bundle in the cache.
    folder: Path = Path()
    device: Device = "cpu"


def load_model(model: ModelSettings) -> LoadedModel:
    """Load the configured model, for the commands that measure and compare.

    Raises:
        BadModel: it cannot be served.
        BadSetting: a setting does not fit this model or machine.
    """
    folder, version = find_version(model_path(model))
    return load_version(folder, model.model_name, version, model)


def load_version(folder: Path, name: str, version: str, model: ModelSettings) -> LoadedModel:
    """Load, warm and check one version; takes seconds. Raises what `load_model` does."""
    try:
        return _load_version(folder, name, version, model)
    except EngineOutOfMemory as error:  # while it was converted
        raise NoMemory(f"{folder}: not enough memory for the canonical texts") from error
    except EngineError as error:
        raise BadModel(f"{folder}: cannot run the canonical texts: {error}") from error


def _load_version(folder: Path, name: str, version: str, model: ModelSettings) -> LoadedModel:
    threads = model.threads or cpu.available_cpus()
    device = resolve_device(model.device)
    configured = folder
    folder, bundle, content = _read_or_convert(folder, model, threads)
    tokenizer = Tokenizer(
        folder / TOKENIZER, bundle.max_length, lower_case=bundle.lower_case, content=content
    )
    candidates = candidate_variants(bundle, model.variant, device)
    if model.null_engine:
        variant: VariantName = candidates[0]
        engine: Engine = NullEngine(bundle.dimensions, threads, model.null_engine_ms / 1000)
    else:
        variant, engine = _load_first_proven(
            folder, bundle, tokenizer, candidates, device=device, threads=threads
        )
    if is_bundle(configured):
        log_bundle(folder, bundle, variant)
    return LoadedModel(name, version, bundle, tokenizer, engine, variant, folder, device)


def candidate_variants(bundle: Bundle, setting: VariantChoice, device: Device) -> list[VariantName]:
    """The variants to try, the best first.

    `auto` takes the fastest that the bundle has for the device; int8-weights saves memory and not
    time, so it has to be set.

    Raises:
        BadModel: the bundle does not have the variant, or it needs another device.
    """
    if setting != "auto":
        if bundle.variant(setting).device == "cuda" and device != "cuda":
            raise BadModel(
                f"--variant {setting}: this graph runs on CUDA only, the device is {device}"
            )
        return [setting]
    fast: VariantName = "fp16" if device == "cuda" else "int8"
    return [fast, FP32] if fast in bundle.variants else [FP32]


def _load_first_proven(
    folder: Path,
    bundle: Bundle,
    tokenizer: Tokenizer,
    candidates: list[VariantName],
    *,
    device: Device,
    threads: int,
) -> tuple[VariantName, Engine]:
    """Load the first variant that reproduces its canonical vectors here.

    Raises:
        BadModel: none does; the last one's reason.
    """
    for index, name in enumerate(candidates):
        try:
            engine = OnnxEngine(folder, bundle, threads=threads, device=device, variant=name)
            check_canonical(folder, bundle, tokenizer, engine, name)
        except BadModel as error:
            if index + 1 == len(candidates):
                raise
            logger.warning("not serving %s, trying %s: %s", name, candidates[index + 1], error)
        else:
            return name, engine
    raise AssertionError("no candidates")


def _read_or_convert(
    folder: Path, settings: ModelSettings, threads: int
) -> tuple[Path, Bundle, bytes | None]:
    """The folder to load, its bundle, and its tokenizer if the folder has no file of it."""
    if is_bundle(folder):
        if settings.pooling != "auto":
            raise BadSetting("--pooling: a bundle's pooling is part of its graph; export it again")
        bundle = read_bundle(folder, _signature_check(settings))
        check_proven(folder, bundle)
        return folder, bundle, None
    if settings.require_signature:
        raise BadModel(
            f"{folder}: not a bundle; --require-signature takes signed bundles only (`predictor "
            "export --sign`)"
        )
    pooling = None if settings.pooling == "auto" else Pooling(settings.pooling)
    source = read_source(folder, pooling)
    served = served_file(source, settings.onnx_file, no_convert=settings.no_convert)
    log_source(source, served)
    if served.onnx is None:
        converted = convert_cached(source, Path(settings.cache_dir), threads)
        return converted, read_bundle(converted), None
    logger.warning("serving %s with padded inputs (%s): slower", served.onnx, served.why)
    content = tokenizer_bytes(source.tokenizer, source.made_tokenizer)
    tolerance = NAMED_FILE_TOLERANCE if settings.onnx_file else TOLERANCES[FP32]
    return folder, _bundle_of_onnx(source, served.onnx, tolerance), content


def _signature_check(settings: ModelSettings) -> Callable[[Path, bytes], None] | None:
    """What checks the signature of a bundle, if that is required. Raises BadSetting."""
    if not settings.require_signature:
        return None
    keys = read_public_keys("--require-signature", Path(settings.require_signature))
    return lambda folder, manifest: check_signature(folder, manifest, keys)


def _bundle_of_onnx(source: ModelSource, graph: str, tolerance: float) -> Bundle:
    """A bundle for a directory with an ONNX file of unknown origin; nothing in it is proven."""
    dimensions = source.config.get("hidden_size", source.config.get("dim"))
    if not isinstance(dimensions, int):
        raise BadModel(f"{source.folder}: config.json gives no hidden_size (it is {dimensions!r})")
    if source.head:
        kinds = ", ".join(module.kind for module in source.head)
        raise BadModel(
            f"{source.folder}: {graph} cannot be served: the modules after pooling ({kinds}) are "
            "not known to be in it; use `predictor export`"
        )
    path = source.folder / graph
    outside = sorted(external_files(path))
    for name in outside:
        if not is_plain(name):
            raise BadModel(f"{path}: names a file outside of its folder: {name!r}")
    digest = digest_of(source, [path, *(path.with_name(name) for name in outside)])
    variants = {FP32: unproven(graph, tolerance=tolerance)}
    return draft_of(source, digest, dimensions, inputs="padded", variants=variants)
