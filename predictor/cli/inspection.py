"""A bundle in words, and as one JSON object."""

import textwrap
from collections.abc import Mapping
from typing import Any

import msgspec

from predictor.cli.table import size, table
from predictor.engine.bundle import CANONICAL, TOKENIZER, Bundle, Proof, VariantName

Used = Mapping[VariantName, Mapping[str, int]]

# What a proof is worth, by what the vectors were compared with.
AGAINST = {
    "torch": "against the original model in torch: these are its vectors.",
    "file": "against vectors that were made elsewhere: these are those vectors.",
    "fp32": "against the bundle's own fp32 graph: as right as that one is, and this close to it.",
    "self": "against itself. That proves sameness, not rightness: a text has one vector, alone or "
    "among others, today and later; nobody compared it with the original model's.",
    "none": "nothing was proven.",
}


def as_json(bundle: Bundle, version: str, sizes: Mapping[str, int], used: Used) -> dict[str, Any]:
    """The manifest's content, with revision, version and sizes in bytes."""
    content: dict[str, Any] = msgspec.to_builtins(bundle)
    content["revision"], content["version"] = bundle.revision, version
    content["sizes"] = {
        "files": dict(sizes),
        "variants": {name: sum(files.values()) for name, files in used.items()},
        "total": sum(sizes.values()),
    }
    return content


def as_text(bundle: Bundle, version: str, sizes: Mapping[str, int], used: Used) -> str:
    parts = [
        f"{bundle.source or bundle.family}, version {version}, revision {bundle.revision}",
        table(_facts(bundle), left=(0, 1)),
        table(_files(bundle, sizes, used), left=(0, 2, 3)),
        f"{size(sum(sizes.values()))} on disk, each file counted once; all digests are right.",
        table(_variants(bundle, used), left=(0, 1))
        + "\n(tolerance: least cosine to the canonical vectors when a server starts)",
        "\n".join(_words(name, variant.proof) for name, variant in bundle.variants.items()),
    ]
    return "\n\n".join(parts)


def _facts(bundle: Bundle) -> list[tuple[str, str]]:
    source = bundle.source or "not recorded"
    if bundle.source_revision:
        source += f" at {bundle.source_revision}"
    cuts = ", ".join(map(str, bundle.matryoshka)) or "any length; the model was trained for none"
    normal = "normalised" if bundle.normalize else "not normalised"
    return [
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
        who = ", ".join(users) + (" (shared)" if len(users) > 1 else "")
        if name in (CANONICAL, TOKENIZER):
            who = "all"
        rows.append([name, size(sizes[name]), digest[:12], who or "-"])
    return rows


def _variants(bundle: Bundle, used: Used) -> list[list[str]]:
    head = ["variant", "device", "size", "proof", "texts", "min cosine", "p1", "mean"]
    rows = [[*head, "max |a-b|", "batch error", "tolerance"]]
    for name, variant in bundle.variants.items():
        proof = variant.proof
        cosines = (proof.min_cosine, proof.p1_cosine, proof.mean_cosine)
        errors = (proof.max_abs_difference, proof.batch_error)
        figures = [*(f"{c:.7f}" for c in cosines), *(f"{e:.1e}" for e in errors)]
        if proof.reference == "none":
            figures = ["-"] * len(figures)
        first = [name, variant.device, size(sum(used[name].values()))]
        last = f"{proof.tolerance:g}"
        rows.append([*first, proof.reference, str(proof.texts), *figures, last])
    return rows


def _words(name: VariantName, proof: Proof) -> str:
    where = " ".join(proof.instructions)
    parts = [f"{name}: proven {AGAINST[proof.reference]}"]
    if proof.reference == "none":
        parts = [f"{name}: {AGAINST['none']}"]
    if proof.limits:
        limits = ", ".join(f"{figure} {least:g}" for figure, least in proof.limits.items())
        parts.append(f"Had to reach {limits}.")
    if where:
        parts.append(f"Run on {where}.")
    if proof.note:
        parts.append(proof.note)
    return textwrap.fill(" ".join(parts), 100, subsequent_indent="  ")
