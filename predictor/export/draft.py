"""A bundle's manifest before it is published: what the source says, then what was proven."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import msgspec

from predictor.bundle.manifest import (
    EMBED_TASK,
    FP32,
    Bundle,
    MappedTensor,
    Variant,
    VariantName,
    sha256,
)
from predictor.bundle.proof import Proof
from predictor.bundle.source import ModelSource
from predictor.errors import BadModel
from predictor.export.proof import FP32_TOLERANCE

GRAPH = "model.onnx"
# A converter that builds another graph from the same weights has another number here.
CONVERTER = 2
# The settings of a source that decide its vectors, in the order of their text.
DIGESTED = (
    "folder",
    "transformer",
    "config",
    "family",
    "max_length",
    "pooling",
    "normalize",
    "head",
    "prompts",
    "default_prompt_name",
    "matryoshka",
    "lower_case",
    "pad_id",
    "pooling_overridden",
)


def digest_of(source: ModelSource, weights: list[Path]) -> str:
    """Hex sha256 over all that decides the vectors: weights, tokenizer, settings, converter.

    Raises:
        BadModel: a file is missing (a shard) or may not be read.
    """
    heads = [file for m in source.head for file in sorted((source.folder / m.folder).glob("*"))]
    files = [*weights, *source.tokenizer_files, *(file for file in heads if file.is_file())]
    parts = [str(CONVERTER), *map(_digest, files), _settings_text(source)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _digest(path: Path) -> str:
    try:
        return sha256(path)
    except OSError as error:
        raise BadModel(f"{path}: cannot be read: {error.strerror or error}") from error


def _settings_text(source: ModelSource) -> str:
    """All that the model's directory says, wherever it lies.

    The text stays as it is, whatever the class is called: other texts are other digests.
    """
    written = source.config_as_written or source.config
    settings = replace(source, folder=Path(), transformer=Path(), config=written)
    listed = ", ".join(f"{name}={getattr(settings, name)!r}" for name in DIGESTED)
    made = f", tokenizer={source.made_tokenizer.text}" if source.made_tokenizer else ""
    return f"Source({listed}{made})"


def draft_of(
    source: ModelSource,
    digest: str,
    dimensions: int,
    *,
    inputs: Literal["packed", "padded"],
    variants: Mapping[VariantName, Variant],
    position_offset: int = 0,
) -> Bundle:
    """The manifest of a source's graph without its files.

    Args:
        digest: of the source, see `digest_of`.
    """
    return Bundle(
        tasks=(EMBED_TASK,),
        family=source.family,
        source_digest=digest,
        max_length=source.max_length,
        dimensions=dimensions,
        matryoshka=source.matryoshka,
        pooling=source.pooling,
        normalize=source.normalize,
        inputs=inputs,
        prompts=source.prompts,
        default_prompt_name=source.default_prompt_name,
        lower_case=source.lower_case,
        position_offset=position_offset,
        pad_id=source.pad_id,
        variants=dict(variants),
    )


def unproven(
    graph: str, mapped: tuple[MappedTensor, ...] = (), tolerance: float = FP32_TOLERANCE
) -> Variant:
    """A variant whose vectors were compared with nothing yet.

    Args:
        tolerance: the smallest cosine of a text in a batch to the text alone.
    """
    proof = Proof(reference="none", tolerance=tolerance)
    return Variant(graph=graph, mapped=mapped, proof=proof)


def with_proof(bundle: Bundle, proof: Proof) -> Bundle:
    """The bundle with its float32 variant proven."""
    variant = msgspec.structs.replace(bundle.variant(FP32), proof=proof)
    return msgspec.structs.replace(bundle, variants={**bundle.variants, FP32: variant})
