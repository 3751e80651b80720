"""A Hugging Face directory to a bundle, proven before it is published.

Publication is atomic: the bundle is written aside, proven, and renamed into its place, so that a
reader sees all of it or nothing, and an interrupted conversion leaves nothing that looks whole.
"""

import hashlib
import logging
import os
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from predictor.engine.bundle import (
    CANONICAL,
    MANIFEST,
    TOKENIZER,
    Bundle,
    MappedTensor,
    Proof,
    is_bundle,
    sha256,
)
from predictor.engine.engine import OnnxEngine
from predictor.engine.pooling import cosines
from predictor.engine.proving import alone_and_batched
from predictor.engine.tokenizer import Tokenizer
from predictor.errors import BadModel
from predictor.export.canonical import CANONICAL_TEXTS
from predictor.export.source import Source
from predictor.types import FloatRows

logger = logging.getLogger(__name__)

GRAPH = "model.onnx"
# A converter that builds another graph from the same weights has another number here.
CONVERTER = 1
# The smallest cosine between a canonical vector and what the server computes later, fp32.
TOLERANCE = 0.99999
PREFIX = {"bert": "bert."}


def can_convert(source: Source) -> bool:
    return source.weights is not None and source.family in PREFIX


def digest_of(source: Source, weights: Path) -> str:
    """Hex sha256 over all that decides the vectors: weights, tokenizer, settings, converter."""
    settings = replace(source, folder=Path())
    parts = [str(CONVERTER), sha256(weights), sha256(source.tokenizer), repr(settings)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def unproven(
    source: Source,
    digest: str,
    *,
    inputs: Literal["packed", "padded"],
    graph: str,
    dimensions: int,
    mapped: tuple[MappedTensor, ...] = (),
) -> Bundle:
    """The manifest of a source's graph as far as the source tells it: no files, no proof."""
    return Bundle(
        family=source.family,
        source_digest=digest,
        max_length=source.max_length,
        dimensions=dimensions,
        pooling=source.pooling,
        normalize=source.normalize,
        inputs=inputs,
        graph=graph,
        prompts=source.prompts,
        default_prompt_name=source.default_prompt_name,
        mapped=mapped,
        pad_id=source.pad_id,
        proof=Proof(reference="none", tolerance=TOLERANCE),
    )


def convert_cached(source: Source, cache_dir: Path, threads: int) -> Path:
    """The bundle of this source in the cache, made if it is not there yet.

    Returns:
        The version folder, `<cache_dir>/<digest>/1`.

    Raises:
        BadModel: the model cannot be converted, or its graph is out of tolerance.
    """
    assert source.weights is not None
    digest = digest_of(source, source.weights)
    version = cache_dir / digest[:16] / "1"
    if is_bundle(version):
        return version
    logger.info("converting %s (%s) into %s", source.folder, source.family, version)
    started = time.monotonic()
    try:
        version.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=".writing-", dir=version.parent))
    except OSError as error:
        raise BadModel(
            f"{cache_dir}: cannot be written ({error.strerror}); give --cache-dir"
        ) from (error)
    try:
        bundle = _write(source, digest, aside, threads)
        _publish(aside, version)
    except OSError as error:
        raise BadModel(f"{cache_dir}: writing the bundle failed: {error.strerror}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    logger.info(
        "converted in %.1f s: revision %s, %d canonical texts, smallest cosine %.7f (%s)",
        time.monotonic() - started,
        bundle.revision,
        len(CANONICAL_TEXTS),
        bundle.proof.min_cosine,
        bundle.proof.reference,
    )
    return version


def _publish(aside: Path, version: Path) -> None:
    os.chmod(aside, 0o755)
    try:
        aside.rename(version)
    except OSError:
        if not is_bundle(version):  # else another process was faster, with the same content
            raise


def _write(source: Source, digest: str, folder: Path, threads: int) -> Bundle:
    # onnx and safetensors are needed once in a model's life, not in every process that serves it.
    from predictor.export.bert import build_bert
    from predictor.export.weights import Weights

    assert source.weights is not None
    weights = Weights(source.weights, PREFIX[source.family])
    mapped = build_bert(source.config, weights, source.pooling, folder / GRAPH)
    shutil.copyfile(source.tokenizer, folder / TOKENIZER)
    draft = unproven(
        source,
        digest,
        inputs="packed",
        graph=GRAPH,
        dimensions=int(source.config["hidden_size"]),
        mapped=mapped,
    )
    proof, vectors = _prove(draft, folder, threads, int(source.config["vocab_size"]))
    np.savez(folder / CANONICAL, texts=np.array(CANONICAL_TEXTS), vectors=vectors)
    files = {path.name: sha256(path) for path in sorted(folder.iterdir())}
    bundle = msgspec.structs.replace(draft, proof=proof, files=files)
    (folder / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(bundle), indent=2))
    return bundle


def _prove(bundle: Bundle, folder: Path, threads: int, vocabulary: int) -> tuple[Proof, FloatRows]:
    """Run the canonical texts one by one and all together; they must give the same vectors.

    Raises:
        BadModel: they do not, or the tokenizer has ids that the model has no vectors for.
    """
    tokenizer = Tokenizer(folder / TOKENIZER, bundle.max_length)
    if tokenizer.vocab_size > vocabulary:
        raise BadModel(
            f"tokenizer.json has {tokenizer.vocab_size} ids, the model's table has {vocabulary}"
        )
    engine = OnnxEngine(folder, bundle, threads=threads)
    rows = tokenizer.encode(CANONICAL_TEXTS).ids
    alone, batched = alone_and_batched(engine, rows)
    smallest = float(cosines(alone, batched).min())
    if not np.isfinite(alone).all() or not smallest >= TOLERANCE:
        raise BadModel(
            f"the converted graph gives other vectors in a batch than alone: smallest cosine "
            f"{smallest:.6f}, tolerance {TOLERANCE}"
        )
    difference = float(np.abs(alone - batched).max())
    proof = Proof(
        reference="self",
        tolerance=TOLERANCE,
        min_cosine=smallest,
        max_abs_difference=difference,
    )
    return proof, alone
