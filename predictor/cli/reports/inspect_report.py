"""A bundle as text and as one JSON object."""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from predictor.bundle.manifest import CANONICAL, TOKENIZER, Bundle, VariantName
from predictor.bundle.proof import Proof
from predictor.cli.reports.table import size, table

Used = Mapping[VariantName, Mapping[str, int]]

# What a proof shows, by the source of the vectors that were compared with.
AGAINST = {
    "torch": "verified against the original model in torch.",
    "file": "verified against vectors that were made elsewhere.",
    "fp32": "verified against the fp32 graph of the bundle: as correct as that graph, within the "
    "figures above.",
    "self": "verified against itself only. This shows consistency (a text has the same vector "
    "alone, in a batch and later) and not correctness: the original model was not compared.",
    "none": "not verified.",
}


@dataclass(frozen=True)
class BundleSizes:
    """How large the files of a bundle are, and what its variants read of them; bytes."""

    files: Mapping[str, int]

    used: Used
    """Of each variant, the files that it uses, with their sizes."""

    variants: Mapping[VariantName, int]
    """What each variant reads: its graph, and its weights in files that others use too."""

    @property
    def total(self) -> int:
        return sum(self.files.values())


def as_json(bundle: Bundle, version: str, sizes: BundleSizes) -> dict[str, Any]:
    """The manifest's content, with revision, version and sizes in bytes."""
    content: dict[str, Any] = msgspec.to_builtins(bundle)
    content["revision"] = bundle.revision
    content["version"] = version
    content["sizes"] = {
        "files": dict(sizes.files),
        "variants": dict(sizes.variants),
        "total": sizes.total,
    }
    return content


def as_text(bundle: Bundle, version: str, sizes: BundleSizes) -> str:
    parts = [
        f"{bundle.source or bundle.family}, version {version}, revision {bundle.revision}",
        table(_facts(bundle), left=(0, 1)),
        table(_files(bundle, sizes.files, sizes.used), left=(0, 2, 3)),
        f"{size(sizes.total)} on disk, each file counted once; all digests match.",
        table(_variants(bundle, sizes), left=(0, 1))
        + "\n(tolerance: smallest cosine to the canonical vectors that a server accepts at start)",
        "\n".join(_words(name, variant.proof) for name, variant in bundle.variants.items()),
    ]
    return "\n\n".join(parts)


def _facts(bundle: Bundle) -> list[tuple[str, str]]:
    source = bundle.source or "not recorded"
    if bundle.source_revision:
        source += f" at {bundle.source_revision}"
    cuts = ", ".join(map(str, bundle.matryoshka)) or "any length; the model was not trained for any"
    normal = "normalised" if bundle.normalize else "not normalised"
    return [
        ("tasks", ", ".join(bundle.tasks) or "none"),
        ("family", bundle.family),
        ("source", f"{source} (digest {bundle.source_digest[:12]})"),
        ("licence", bundle.licence or "not recorded"),
        ("dimensions", str(bundle.dimensions)),
        ("Matryoshka", cuts),
        ("max length", f"{bundle.max_length} tokens"),
        ("pooling", f"{bundle.pooling}, {normal}"),
        ("inputs", bundle.inputs + (", lower-cased" if bundle.lower_case else "")),
        *_prompts(bundle),
    ]


def _prompts(bundle: Bundle) -> list[tuple[str, str]]:
    if not bundle.prompts:
        return [("prompts", "none")]
    return [
        (
            "prompt" if index else "prompts",
            f"{name}: {text!r}" + (" (default)" if name == bundle.default_prompt_name else ""),
        )
        for index, (name, text) in enumerate(bundle.prompts.items())
    ]


def _files(bundle: Bundle, sizes: Mapping[str, int], used: Used) -> list[list[str]]:
    rows = [["file", "size", "digest", "used by"]]
    for name, digest in sorted(bundle.files.items()):
        users = [variant for variant, files in used.items() if name in files]
        used_by = ", ".join(users) + (" (shared)" if len(users) > 1 else "")
        if name in (CANONICAL, TOKENIZER):
            used_by = "all"
        rows.append([name, size(sizes[name]), digest[:12], used_by or "-"])
    return rows


def _variants(bundle: Bundle, sizes: BundleSizes) -> list[list[str]]:
    head = ["variant", "device", "size", "proof", "texts", "min cosine", "p1", "mean"]
    rows = [[*head, "max |a-b|", "batch error", "tolerance"]]
    for name, variant in bundle.variants.items():
        proof = variant.proof
        cosines = (proof.min_cosine, proof.p1_cosine, proof.mean_cosine)
        errors = (proof.max_abs_difference, proof.batch_error)
        figures = [f"{cosine:.7f}" for cosine in cosines] + [f"{error:.1e}" for error in errors]
        if proof.reference == "none":
            figures = ["-"] * len(figures)
        first = [name, variant.device, size(sizes.variants[name])]
        last = f"{proof.tolerance:g}"
        rows.append([*first, proof.reference, str(proof.texts), *figures, last])
    return rows


def _words(name: VariantName, proof: Proof) -> str:
    instructions = " ".join(proof.instructions)
    parts = [f"{name}: {AGAINST[proof.reference]}"]
    if proof.limits:
        limits = ", ".join(f"{figure} {least:g}" for figure, least in proof.limits.items())
        parts.append(f"Required: {limits}.")
    if instructions:
        parts.append(f"Measured with {instructions}.")
    if proof.note:
        parts.append(proof.note)
    return textwrap.fill(" ".join(parts), 100, subsequent_indent="  ")
