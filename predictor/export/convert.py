"""A Hugging Face directory to a bundle when a server starts: float32, proven against itself.

`predictor export` (`job.py`) does more: variants, and a proof against the original model.
"""

import hashlib
import logging
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from predictor.engine.bundle import (
    CANONICAL,
    FP32,
    TOKENIZER,
    Bundle,
    Proof,
    Variant,
    is_bundle,
    sha256,
)
from predictor.engine.engine import OnnxEngine
from predictor.engine.proving import alone_and_batched
from predictor.engine.tokenizer import Tokenizer
from predictor.errors import BadModel
from predictor.export.canonical import CANONICAL_TEXTS
from predictor.export.proof import FP32_LIMITS, check_vocabulary, prove
from predictor.export.publish import aside, publish
from predictor.export.source import Source

logger = logging.getLogger(__name__)

GRAPH = "model.onnx"
# A converter that builds another graph from the same weights has another number here.
CONVERTER = 2
# The smallest cosine between a canonical vector and what the server computes later, fp32.
TOLERANCE = FP32_LIMITS["min_cosine"]
# The families of `families/`, which is not imported here: onnx is not needed to serve a bundle.
CONVERTIBLE = (
    *("bert", "roberta", "xlm-roberta", "camembert", "mpnet", "distilbert"),
    *("modernbert", "nomic_bert", "gte", "new"),
)


def can_convert(source: Source) -> bool:
    return bool(source.weights) and source.family in CONVERTIBLE


def digest_of(source: Source, weights: list[Path]) -> str:
    """Hex sha256 over all that decides the vectors: weights, tokenizer, settings, converter."""
    settings = replace(source, folder=Path(), transformer=Path())
    heads = [file for m in source.head for file in sorted((source.folder / m.folder).glob("*"))]
    files = [*weights, source.tokenizer, *(file for file in heads if file.is_file())]
    parts = [str(CONVERTER), *map(_digest, files), repr(settings)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _digest(path: Path) -> str:
    """Raises BadModel: the file is missing (a shard) or may not be read."""
    try:
        return sha256(path)
    except OSError as error:
        raise BadModel(f"{path}: cannot be read: {error.strerror or error}") from error


def draft_of(source: Source, digest: str, dimensions: int, **more: Any) -> Bundle:
    """The manifest of a source's graph as far as the source tells it: no files, no variants."""
    return Bundle(
        family=source.family,
        source_digest=digest,
        max_length=source.max_length,
        dimensions=dimensions,
        matryoshka=source.matryoshka,
        pooling=source.pooling,
        normalize=source.normalize,
        prompts=source.prompts,
        default_prompt_name=source.default_prompt_name,
        lower_case=source.lower_case,
        pad_id=source.pad_id,
        **more,
    )


def unproven(graph: str, **more: Any) -> Variant:
    return Variant(graph=graph, proof=Proof(reference="none", tolerance=TOLERANCE), **more)


def convert_cached(source: Source, cache_dir: Path, threads: int) -> Path:
    """The bundle of this source in the cache, made if it is not there yet.

    Returns:
        The version folder, `<cache_dir>/<digest>/1`.

    Raises:
        BadModel: the model cannot be converted, or its graph is out of tolerance.
    """
    digest = digest_of(source, source.weights)
    version = cache_dir / digest[:16] / "1"
    if is_bundle(version):
        return version
    logger.info("converting %s (%s) into %s", source.folder, source.family, version)
    started = time.monotonic()
    with aside(version.parent, cache_dir, "give --cache-dir") as folder:
        bundle = write_fp32(source, digest, folder)
        bundle, proof = _prove(bundle, folder, threads)
        bundle = publish(bundle, folder, version)
    logger.info(
        "converted in %.1f s: revision %s, %d canonical texts, smallest cosine %.7f (%s)",
        time.monotonic() - started,
        bundle.revision,
        proof.texts,
        proof.min_cosine,
        proof.reference,
    )
    return version


def write_fp32(source: Source, digest: str, folder: Path) -> Bundle:
    """Build the float32 graph and put the tokenizer beside it; the variant is not proven yet.

    Raises:
        BadModel: see `build`; or the tokenizer has ids that the model has no vectors for.
    """
    # onnx and safetensors are needed once in a model's life, not in every process that serves it.
    from predictor.export.build import build

    built = build(source, folder / GRAPH)
    shutil.copyfile(source.tokenizer, folder / TOKENIZER)
    tokenizer = Tokenizer(folder / TOKENIZER, source.max_length)
    check_vocabulary(tokenizer.vocab_size, built.encoder.vocabulary)
    return draft_of(
        source,
        digest,
        built.dimensions,
        inputs="packed",
        position_offset=built.encoder.position_offset,
        variants={FP32: unproven(GRAPH, mapped=built.mapped)},
    )


def _prove(bundle: Bundle, folder: Path, threads: int) -> tuple[Bundle, Proof]:
    """Run the canonical texts one by one and all together; they must give the same vectors.

    Raises:
        BadModel: they do not.
    """
    tokenizer = Tokenizer(folder / TOKENIZER, bundle.max_length, lower_case=bundle.lower_case)
    engine = OnnxEngine(folder, bundle, threads=threads)
    alone, batched = alone_and_batched(engine, tokenizer.encode(CANONICAL_TEXTS).ids)
    proof = prove(
        alone, batched, batched, reference="self", limits=FP32_LIMITS, tolerance=TOLERANCE
    )
    np.savez(folder / CANONICAL, texts=np.array(CANONICAL_TEXTS), vectors=alone)
    return with_proof(bundle, proof), proof


def with_proof(bundle: Bundle, proof: Proof) -> Bundle:
    """The bundle with its float32 variant proven."""
    variant = msgspec.structs.replace(bundle.variant(FP32), proof=proof)
    return msgspec.structs.replace(bundle, variants={**bundle.variants, FP32: variant})
