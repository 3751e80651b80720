"""`predictor export`: a source to a published version, with what it came from and what was proven.

float32 first, against the original model (torch), vectors made elsewhere (a file), or itself; then
the variants against float32. Nothing is published unless all of it is within tolerance.
"""

import os
import re
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import msgspec

from predictor.bundle import corpus
from predictor.bundle.canonical import CANONICAL_TEXTS
from predictor.bundle.canonical_vectors import write_canonical
from predictor.bundle.folder_keys import not_exported
from predictor.bundle.manifest import FP32, Bundle, VariantName
from predictor.bundle.publish import next_version, publish, staging_folder
from predictor.bundle.signature import Sign
from predictor.bundle.source import ModelSource, read_source
from predictor.bundle.tensor_names import check_types, tensor_heads
from predictor.engine.canonical_check import check_bundle
from predictor.engine.engine import OnnxEngine
from predictor.engine.reference_runs import run_unbatched
from predictor.errors import BadModel, BadSetting, EngineError, EngineOutOfMemory, NoMemory
from predictor.export import with_torch
from predictor.export.acquire import Acquired
from predictor.export.convertible import CONVERTIBLE, can_convert, why_not_converted
from predictor.export.draft import digest_of
from predictor.export.float32 import prove_float32, run_float32, write_float32
from predictor.export.proof import ProofReference
from predictor.export.reference_file import read_reference
from predictor.export.variants import VariantContext, add_variant, check_variants
from predictor.progress import Progress
from predictor.types import FloatRows, Pooling

# Texts times weights that proving may take: a large model is proven on fewer texts.
PROVING_WEIGHTS = 4.5e9
FEWEST_TEXTS = 80
LICENCE = re.compile(r"^license:\s*(.+?)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class ExportOptions:
    """What the user asked for."""

    variants: tuple[VariantName, ...] = (FP32,)

    version: int | None = None
    """The next free one if None."""

    reference: Path | None = None
    """An .npz with `texts` and `vectors` to compare float32 with."""

    with_torch: bool = True
    """Whether to compare with the original model if torch is installed."""

    pooling: Pooling | None = None
    """Instead of what the model says."""

    matryoshka: tuple[int, ...] = ()
    """Dimensions that requests may cut to, instead of those that config.json names."""

    threads: int = 1

    sign: Sign | None = None
    """Gives the signature of the manifest; None: the bundle is not signed."""


@dataclass(frozen=True)
class Exported:
    """A bundle that was published."""

    version: Path
    """Its folder."""

    bundle: Bundle


def export(acquired: Acquired, model: Path, options: ExportOptions, progress: Progress) -> Exported:
    """Export into `<model>/<version>`; what is published is what a server takes.

    Raises:
        BadModel: the source cannot be built or is out of tolerance, or the disk cannot be written.
        BadSetting: the version exists, or an option does not fit the model.
    """
    try:
        return _export(acquired, model, options, progress)
    except EngineOutOfMemory as error:
        raise NoMemory(f"{acquired.name}: not enough memory to run it") from error
    except EngineError as error:
        why = " ".join(str(error.__cause__ or error).split())[:300]
        raise BadModel(f"{acquired.name}: its graph cannot be run: {why}") from error


def _export(
    acquired: Acquired, model: Path, options: ExportOptions, progress: Progress
) -> Exported:
    number = options.version or next_version(model)
    version = model / str(number)
    if os.path.exists(version):
        raise BadSetting(f"--version {number}: {version} exists; versions are never replaced")
    source = read_source(acquired.folder, options.pooling)
    check_variants(source, options.variants)
    if options.matryoshka:
        source = replace(source, matryoshka=tuple(sorted(set(options.matryoshka))))
    with staging_folder(model, model, "give another -o") as folder:
        with progress.step("building the float32 graph"):
            bundle = _write_float32(source, folder)
        _check_matryoshka(options, bundle)
        bundle = _with_origin(bundle, acquired, source)
        bundle, context = _prove_float32(bundle, source, folder, options, progress)
        for name in options.variants:
            if name != FP32:
                bundle = add_variant(bundle, name, context)
        _write_canonical(bundle, context)
        with progress.step("loading it as a server does"):
            check = partial(check_bundle, threads=options.threads)
            bundle = publish(bundle, folder, version, options.sign, check)
        return Exported(version, bundle)


def _write_float32(source: ModelSource, folder: Path) -> Bundle:
    weights = source.weights
    if not weights:
        raise BadModel(f"{source.transformer}: has no weights (model.safetensors)")
    check_types(tensor_heads(weights), source.transformer)
    digest = digest_of(source, weights)
    if can_convert(source):
        return write_float32(source, digest, folder)
    why_not = not_exported(source.family, source.config)
    if why_not is not None:
        raise BadModel(f"{source.folder}: it cannot be exported: {why_not}")
    if with_torch.missing() and source.family in CONVERTIBLE:
        raise BadModel(f"{source.folder}: it cannot be exported: {why_not_converted(source)}")
    return with_torch.write_padded(source, digest, folder)


def _check_matryoshka(options: ExportOptions, bundle: Bundle) -> None:
    longest = max(options.matryoshka, default=0)
    if longest > bundle.dimensions:
        raise BadSetting(f"--matryoshka {longest}: the model has {bundle.dimensions} dimensions")


def _with_origin(bundle: Bundle, acquired: Acquired, source: ModelSource) -> Bundle:
    """The bundle with where it came from, and its licence."""
    return msgspec.structs.replace(
        bundle,
        source=acquired.name,
        source_revision=acquired.revision,
        licence=_licence(source.folder),
    )


def _licence(folder: Path) -> str | None:
    """`license:` in the front matter of README.md, as hubs have it."""
    try:
        text = (folder / "README.md").read_text(encoding="utf-8")[:10_000]
    except (OSError, UnicodeError):
        return None
    match = LICENCE.search(text) if text.startswith("---") else None
    return match.group(1) if match else None


def _prove_float32(
    bundle: Bundle, source: ModelSource, folder: Path, options: ExportOptions, progress: Progress
) -> tuple[Bundle, VariantContext]:
    kind: ProofReference = "file"
    expected: FloatRows | None
    if options.reference is not None:
        reference = read_reference(options.reference)
        texts, expected = reference.texts, reference.vectors
    else:
        texts = corpus.verification()[: _text_count(source)]
    with progress.step(f"fp32: running {len(texts)} texts alone and in batches"):
        run = run_float32(bundle, folder, texts, options.threads)
    if options.reference is None:
        kind, expected = _original_vectors(source, texts, options, progress)
    bundle = prove_float32(bundle, run, kind, expected)
    context = VariantContext(
        source=source,
        folder=folder,
        tokenizer=run.tokenizer,
        rows=run.rows,
        expected=run.unbatched,
        threads=options.threads,
        progress=progress,
    )
    return bundle, context


def _text_count(source: ModelSource) -> int:
    """How many of the verification texts a model of this size is proven on, at most."""
    weights = sum(path.stat().st_size for path in source.weights) / 4
    return max(FEWEST_TEXTS, int(PROVING_WEIGHTS / weights))


def _original_vectors(
    source: ModelSource, texts: list[str], options: ExportOptions, progress: Progress
) -> tuple[ProofReference, FloatRows | None]:
    """The original model's vectors, if torch is installed and they are wanted."""
    if not options.with_torch or with_torch.missing():
        return "self", None
    with progress.step("loading the original model"):
        model = with_torch.load_original(source)
    with progress.step(f"torch: running {len(texts)} texts", len(texts)) as advance:
        return "torch", with_torch.original_vectors(model, texts, advance)


def _write_canonical(bundle: Bundle, context: VariantContext) -> None:
    """Write each variant's canonical vectors.

    A variant that needs a GPU has to come near what float32 gives.
    """
    rows = context.tokenizer.encode(CANONICAL_TEXTS).ids
    vectors: dict[VariantName, FloatRows] = {}
    with context.progress.step("canonical vectors", len(bundle.variants)) as advance:
        for name, variant in bundle.variants.items():
            if variant.device == "cuda":
                vectors[name] = vectors[FP32]
            else:
                engine = OnnxEngine(context.folder, bundle, threads=context.threads, variant=name)
                vectors[name] = run_unbatched(engine, rows)
            advance()
    write_canonical(context.folder, vectors)
