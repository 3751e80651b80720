"""`predictor export`: a source to a published version, with what was found and what was proven.

float32 first, against the original model (torch), vectors made elsewhere (a file), or itself; then
the variants against float32. Nothing is published unless all of it is within tolerance.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from predictor.engine.bundle import (
    CANONICAL,
    FP32,
    TOKENIZER,
    UNREADABLE,
    Bundle,
    VariantName,
    vectors_key,
)
from predictor.engine.engine import OnnxEngine
from predictor.engine.pooling import finish
from predictor.engine.proving import alone, alone_and_batched
from predictor.engine.tokenizer import Tokenizer
from predictor.errors import BadModel, BadSetting
from predictor.export import convert, corpus, with_torch
from predictor.export.acquire import Acquired
from predictor.export.canonical import CANONICAL_TEXTS
from predictor.export.proof import FP32_LIMITS, Reference, prove
from predictor.export.publish import aside, next_version, publish
from predictor.export.source import Source, read_source
from predictor.export.variants import Bench, add_variant, check_variants
from predictor.progress import Progress
from predictor.types import FloatRows, Pooling

# Texts times weights that proving may take: a large model is proven on fewer texts.
PROVING_WEIGHTS = 4.5e9
FEWEST_TEXTS = 80
LICENCE = re.compile(r"^license:\s*(.+?)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Wishes:
    """What the user asked for.

    reference: an .npz with `texts` and `vectors`; with_torch: compare with the original model if
    torch is installed; matryoshka: dimensions to allow, if config.json names none.
    """

    variants: tuple[VariantName, ...] = (FP32,)
    version: int | None = None
    reference: Path | None = None
    with_torch: bool = True
    pooling: Pooling | None = None
    matryoshka: tuple[int, ...] = ()
    threads: int = 1


@dataclass(frozen=True)
class Exported:
    version: Path
    bundle: Bundle


def export(acquired: Acquired, model: Path, wishes: Wishes, progress: Progress) -> Exported:
    """Export into `<model>/<version>`.

    Raises:
        BadModel: the source cannot be built or is out of tolerance, or the disk cannot be written.
        BadSetting: the version exists, or a wish does not fit the model.
    """
    number = wishes.version or next_version(model)
    version = model / str(number)
    if os.path.exists(version):
        raise BadSetting(f"--version {number}: {version} exists; versions are never replaced")
    source = read_source(acquired.folder, wishes.pooling)
    check_variants(source, wishes.variants)
    if wishes.matryoshka:
        source = replace(source, matryoshka=tuple(sorted(set(wishes.matryoshka))))
    with aside(model, model, "give another -o") as folder:
        with progress.step("building the float32 graph"):
            bundle = _float32(source, folder)
        longest = max(wishes.matryoshka, default=0)
        if longest > bundle.dimensions:
            raise BadSetting(
                f"--matryoshka {longest}: the model has {bundle.dimensions} dimensions"
            )
        bundle = msgspec.structs.replace(
            bundle,
            source=acquired.name,
            source_revision=acquired.revision,
            licence=_licence(source.folder),
        )
        bundle, bench = _prove_float32(bundle, source, folder, wishes, progress)
        for name in wishes.variants:
            if name != FP32:
                bundle = add_variant(bundle, name, bench)
        with progress.step("canonical vectors", len(bundle.variants)) as advance:
            _write_canonical(bundle, bench, advance)
        return Exported(version, publish(bundle, folder, version))


def _float32(source: Source, folder: Path) -> Bundle:
    weights = source.weights
    if not weights:
        raise BadModel(f"{source.transformer}: has no weights (model.safetensors)")
    digest = convert.digest_of(source, weights)
    if convert.can_convert(source):
        return convert.write_fp32(source, digest, folder)
    return with_torch.write_padded(source, digest, folder)


def _licence(folder: Path) -> str | None:
    """`license:` in the front matter of README.md, as hubs have it."""
    try:
        text = (folder / "README.md").read_text(encoding="utf-8")[:10_000]
    except (OSError, UnicodeError):
        return None
    found = LICENCE.search(text) if text.startswith("---") else None
    return found.group(1) if found else None


def _prove_float32(
    bundle: Bundle, source: Source, folder: Path, wishes: Wishes, progress: Progress
) -> tuple[Bundle, Bench]:
    tokenizer = Tokenizer(folder / TOKENIZER, bundle.max_length, lower_case=bundle.lower_case)
    texts, given = _reference_file(wishes.reference)
    if given is None:
        texts = corpus.verification()[: _how_many(source)]
    rows = tokenizer.encode(texts).ids
    engine = OnnxEngine(folder, bundle, threads=wishes.threads)
    with progress.step(f"fp32: running {len(texts)} texts alone and in batches"):
        by_itself, batched = alone_and_batched(engine, rows)
    kind: Reference = "file"
    expected = given
    if given is None:
        kind, expected = _original(source, texts, wishes, progress)
    proof = prove(
        by_itself,
        batched,
        batched if expected is None else expected,
        reference=kind,
        limits=FP32_LIMITS,
        tolerance=convert.TOLERANCE,
    )
    bench = Bench(source, folder, tokenizer, rows, by_itself, wishes.threads, progress)
    return convert.with_proof(bundle, proof), bench


def _how_many(source: Source) -> int:
    weights = sum(path.stat().st_size for path in source.weights) / 4
    return max(FEWEST_TEXTS, int(PROVING_WEIGHTS / weights))


def _original(
    source: Source, texts: list[str], wishes: Wishes, progress: Progress
) -> tuple[Reference, FloatRows | None]:
    """The original model's vectors, where torch is there and they are wanted."""
    if not wishes.with_torch or with_torch.missing():
        return "self", None
    with progress.step("loading the original model"):
        model = with_torch.load_original(source)
    with progress.step(f"torch: running {len(texts)} texts", len(texts)) as advance:
        return "torch", with_torch.original_vectors(model, texts, advance)


def _reference_file(path: Path | None) -> tuple[list[str], FloatRows | None]:
    """Texts and vectors, scaled to length 1, of `--reference`."""
    if path is None:
        return [], None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
            texts = [str(text) for text in data["texts"]]
            vectors = data["vectors"].astype(np.float32)
    except UNREADABLE as error:
        raise BadModel(
            f"--reference {path}: cannot be read as .npz with `texts` and `vectors`: {error}"
        ) from error
    if vectors.ndim != 2 or len(texts) != len(vectors) or not texts:
        raise BadModel(
            f"--reference {path}: {len(texts)} texts, vectors of shape {list(vectors.shape)}"
        )
    return texts, finish(vectors, None, True)


def _write_canonical(bundle: Bundle, bench: Bench, advance: Callable[[], object]) -> None:
    """The canonical texts, and each variant's vectors of them.

    A variant that needs a GPU has to come near what float32 gives.
    """
    rows = bench.tokenizer.encode(CANONICAL_TEXTS).ids
    arrays: dict[str, Any] = {"texts": np.array(CANONICAL_TEXTS)}
    for name, variant in bundle.variants.items():
        if variant.device == "cuda":
            arrays[vectors_key(name)] = arrays[vectors_key(FP32)]
        else:
            engine = OnnxEngine(bench.folder, bundle, threads=bench.threads, variant=name)
            arrays[vectors_key(name)] = alone(engine, rows)
        advance()
    np.savez(bench.folder / CANONICAL, **arrays)
