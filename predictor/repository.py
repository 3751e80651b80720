"""From a directory to a model version that may take traffic.

A version is served only when it is whole (digests), loads, is warm and gives its own canonical
vectors; anything else is a sentence and no server.
"""

import logging
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from predictor.engine import cpu
from predictor.engine.bundle import Bundle, is_bundle, read_bundle, read_canonical
from predictor.engine.engine import Engine, NullEngine, OnnxEngine
from predictor.engine.pooling import cosines
from predictor.engine.proving import alone_and_batched
from predictor.engine.session import resolve_device
from predictor.engine.tokenizer import Tokenizer
from predictor.errors import BadModel, BadSetting, EngineError
from predictor.export import convert
from predictor.export.canonical import CANONICAL_TEXTS
from predictor.export.source import Source, is_source, read_source
from predictor.settings import ModelSettings, Settings, model_path
from predictor.types import Pooling

logger = logging.getLogger(__name__)

VERSION = re.compile(r"[1-9][0-9]{0,8}")


@dataclass(frozen=True)
class LoadedModel:
    """One version, ready to run. `version` is the number under the model directory, else "1"."""

    name: str
    version: str
    bundle: Bundle
    tokenizer: Tokenizer
    engine: Engine


def find_version(path: Path) -> tuple[Path, str]:
    """The folder to serve and its version: a version itself, or the highest numbered child.

    Raises:
        BadModel: it is neither.
    """
    if is_bundle(path) or is_source(path):
        return path, path.name if VERSION.fullmatch(path.name) else "1"
    versions = [
        child
        for child in path.iterdir()
        if VERSION.fullmatch(child.name) and (is_bundle(child) or is_source(child))
    ]
    if not versions:
        raise BadModel(
            f"{path}: no model here: neither bundle.json nor config.json, and no numbered folder "
            "with one of them"
        )
    newest = max(versions, key=lambda child: int(child.name))
    return newest, newest.name


def load(settings: Settings) -> LoadedModel:
    """Load, warm and check the configured model.

    Raises:
        BadModel: it cannot be served; the message says why.
        BadSetting: a setting does not fit this model or machine.
    """
    model = settings.model
    threads = model.threads or cpu.available_cpus()
    device = resolve_device(model.device)  # type: ignore[arg-type]
    folder, version = find_version(model_path(model))
    folder, bundle = _open(folder, model, threads)
    tokenizer = Tokenizer(folder / "tokenizer.json", bundle.max_length)
    if model.null_engine:
        engine: Engine = NullEngine(bundle.dimensions, threads)
    else:
        engine = OnnxEngine(folder, bundle, threads=threads, device=device)
        _check(folder, bundle, tokenizer, engine)
    logger.info(
        "serving %s version %s: %s, %d dimensions, %d tokens, %s, %d threads, revision %s",
        *(model.model_name, version, bundle.family, bundle.dimensions, bundle.max_length),
        *(f"{bundle.inputs} on {device}", threads, bundle.revision),
    )
    return LoadedModel(model.model_name, version, bundle, tokenizer, engine)


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
            "onnx/model.onnx"
        )
    why = "--no-convert" if settings.no_convert else f"family {source.family!r} has no builder"
    logger.warning("serving %s with padded inputs (%s): slower", source.graph, why)
    return folder, _foreign(source, source.graph)


def _foreign(source: Source, graph: str) -> Bundle:
    """A bundle for a directory that has none: an ONNX file made elsewhere, nothing proven."""
    dimensions = source.config.get("hidden_size")
    if not isinstance(dimensions, int):
        raise BadModel(f"{source.folder}: config.json gives no hidden_size (it is {dimensions!r})")
    digest = convert.digest_of(source, source.folder / graph)
    return convert.unproven(source, digest, inputs="padded", graph=graph, dimensions=dimensions)


def _check(folder: Path, bundle: Bundle, tokenizer: Tokenizer, engine: OnnxEngine) -> None:
    """Run the canonical texts both ways, which also warms the engine, and compare.

    Raises:
        BadModel: a vector is not the one it should be.
    """
    if bundle.proof.reference == "none":
        texts, expected = CANONICAL_TEXTS, None
    else:
        texts, expected = read_canonical(folder)
    rows = tokenizer.encode(texts).ids
    try:
        alone, batched = alone_and_batched(engine, rows)
    except EngineError as error:
        why = " ".join(str(error.__cause__ or error).split())[:300]
        raise BadModel(f"{folder / bundle.graph}: cannot run the canonical texts: {why}") from error
    reference = alone if expected is None else expected
    wanted = (len(texts), bundle.dimensions)
    if alone.shape != wanted or reference.shape != wanted or not np.isfinite(alone).all():
        raise BadModel(
            f"{folder}: the graph gives vectors {list(alone.shape)} where {list(wanted)} finite "
            "numbers are expected"
        )
    smallest = min(float(cosines(v, reference).min()) for v in (alone, batched))
    if not smallest >= bundle.proof.tolerance:
        raise BadModel(
            f"{folder}: canonical vectors are not reproduced: smallest cosine {smallest:.6f}, "
            f"tolerance {bundle.proof.tolerance}"
        )
