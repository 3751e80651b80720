"""A model version on disk, checked: what it is, which files it has and that they are whole.

The bundle is the contract between `export/`, which writes it, and the server, which trusts nothing
that it has not checked: digests at load, vectors (`canonical.npz`) at warm-up.
"""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from predictor.bundle.external_data import external_files
from predictor.bundle.proof import TOLERANCES, Proof
from predictor.errors import BadModel, IncompleteModel
from predictor.types import Pooling

SCHEMA = 3
# Schema 2 had no tasks: every model embedded.
READABLE_SCHEMAS = (2, 3)
MANIFEST = "bundle.json"
CANONICAL = "canonical.npz"
TOKENIZER = "tokenizer.json"
# The task of every model before there were others.
EMBED_TASK = "embed"

VariantName = Literal["fp32", "int8", "int8-weights", "fp16"]
FP32: VariantName = "fp32"
VARIANTS: tuple[VariantName, ...] = ("fp32", "int8", "int8-weights", "fp16")


class MappedTensor(msgspec.Struct, frozen=True, kw_only=True):
    """A float32 weight that all sessions may read from one mapping of the file.

    Look-up tables only: matrices that are multiplied get repacked by each session anyway.
    """

    name: Annotated[str, Meta(description="Name of the initializer in the graph.")]
    file: Annotated[str, Meta(description="Name of the data file.")]
    offset: Annotated[int, Meta(description="Bytes from the start of the file.")]
    shape: tuple[int, ...]


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """One graph of the model: its precision, the device it is for, and its own proof."""

    graph: Annotated[str, Meta(description="Name of the graph's file.")]
    device: Annotated[
        Literal["any", "cuda"],
        Meta(description="Execution provider it needs; `cuda` does not run on a CPU."),
    ] = "any"
    mapped: Annotated[
        tuple[MappedTensor, ...], Meta(description="Weights that sessions may share.")
    ] = ()
    proof: Proof


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """`bundle.json`: what a model version is and which files it has."""

    schema: Annotated[
        int, Meta(description="Version of this format. Schema 2 is read too; it has no tasks.")
    ] = SCHEMA
    tasks: Annotated[
        tuple[str, ...],
        Meta(description="What the model can do. A server serves those that it knows."),
    ] = (EMBED_TASK,)
    source: Annotated[str, Meta(description="Where the model came from.")] = ""
    source_revision: Annotated[
        str | None, Meta(description="Its commit there, if a hub gave one.")
    ] = None
    source_digest: Annotated[
        str, Meta(description="Hex sha256 of the source's files and settings.")
    ]
    licence: str | None = None
    family: Annotated[str, Meta(description="`model_type` of the source's config.json.")]
    max_length: Annotated[int, Meta(description="Most tokens of a text, special tokens included.")]
    dimensions: Annotated[int, Meta(description="Of a vector that is not cut.")]
    matryoshka: Annotated[
        tuple[int, ...],
        Meta(description="Dimensions that a request may cut to; if there are none, any."),
    ] = ()
    pooling: Pooling
    normalize: Annotated[
        bool, Meta(description="Whether vectors are scaled to length 1 unless a request says no.")
    ]
    inputs: Annotated[
        Literal["packed", "padded"],
        Meta(description="Tokens of all texts end to end, or padded as in the usual export."),
    ]
    prompts: Annotated[
        dict[str, str], Meta(description="Text to put before an input, by the prompt's name.")
    ] = {}
    default_prompt_name: Annotated[
        str | None, Meta(description="The prompt of requests that name none.")
    ] = None
    lower_case: Annotated[bool, Meta(description="Whether texts are lower-cased first.")] = False
    position_offset: Annotated[
        int, Meta(description="Row of the position table that a text's first token has.")
    ] = 0
    pad_id: Annotated[int, Meta(description="Id of the padding token.")] = 0
    files: Annotated[
        dict[str, str],
        Meta(description="Hex sha256 of every file of the bundle but this one, by name."),
    ] = {}
    variants: Annotated[dict[VariantName, Variant], Meta(description="The graphs, by precision.")]

    @property
    def revision(self) -> str:
        """First 12 hex digits of the bundle's digest."""
        return self.digest[:12]

    @property
    def digest(self) -> str:
        """Hex sha256 of all that makes the vectors: the same model anywhere, or not.

        The canonical vectors do not count: their last bits depend on the CPU that made them.
        """
        files = {name: digest for name, digest in self.files.items() if name != CANONICAL}
        listing = "\n".join(f"{name} {digest}" for name, digest in sorted(files.items()))
        return hashlib.sha256(f"{self.source_digest}\n{listing}".encode()).hexdigest()

    def variant(self, name: VariantName) -> Variant:
        """Raises BadModel if the bundle has no such variant."""
        if name not in self.variants:
            raise BadModel(f"the bundle has no variant {name!r}; it has {', '.join(self.variants)}")
        return self.variants[name]


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_bundle(folder: Path) -> bool:
    return (folder / MANIFEST).is_file()


class _Schema(msgspec.Struct):
    schema: int


def read_bundle(
    folder: Path, check_signature: Callable[[Path, bytes], None] | None = None
) -> Bundle:
    """Read and verify a bundle.

    All that it leads to (graphs, their weights, mapped tables, tokenizer, canonical vectors) has to
    be a file in its folder, no link, that `files` lists with its digest.

    Args:
        check_signature: called with the folder and the manifest before that is read; what it
            raises is passed on.

    Raises:
        BadModel: the manifest does not parse, has another schema, or leads to another file.
        IncompleteModel: a file is missing or differs from its digest.
    """
    manifest = folder / MANIFEST
    try:
        content = manifest.read_bytes()
        if check_signature is not None:
            check_signature(folder, content)
        schema = msgspec.json.decode(content, type=_Schema).schema
        if schema not in READABLE_SCHEMAS:
            readable = " and ".join(map(str, READABLE_SCHEMAS))
            raise BadModel(f"{manifest}: schema {schema}; this server reads schemas {readable}")
        bundle = msgspec.json.decode(content, type=Bundle)
    except (OSError, msgspec.DecodeError, RecursionError) as error:
        raise BadModel(f"{manifest}: not a readable manifest: {error}") from error
    _check_listed(manifest, bundle, _names_in_manifest(bundle))
    for name, digest in bundle.files.items():
        _check_file(folder / name, digest)
    for variant in bundle.variants.values():
        graph = folder / variant.graph
        _check_listed(graph, bundle, external_files(graph))
    return bundle


def _names_in_manifest(bundle: Bundle) -> set[str]:
    """The files that a bundle leads to, those of its graphs' weights not counted."""
    names = {*bundle.files, TOKENIZER}
    for variant in bundle.variants.values():
        names |= {variant.graph, *(tensor.file for tensor in variant.mapped)}
        if variant.proof.reference != "none":
            names.add(CANONICAL)
    return names


def _check_listed(origin: Path, bundle: Bundle, names: Iterable[str]) -> None:
    """Raise BadModel unless each of these names is that of a listed file in the folder."""
    for name in sorted(names):
        if not is_plain(name):
            raise BadModel(f"{origin}: names a file outside of its folder: {name[:200]!r}")
        if name not in bundle.files:
            raise BadModel(f"{origin}: needs {name!r}, which `files` of {MANIFEST} does not list")


def _check_file(path: Path, digest: str) -> None:
    if path.is_symlink():
        raise BadModel(f"{path}: a link; the files of a bundle are copies")
    if not path.is_file():
        raise IncompleteModel(f"{path}: missing, though {MANIFEST} lists it")
    if sha256(path) != digest:
        raise IncompleteModel(
            f"{path}: differs from the digest in {MANIFEST}: damaged, replaced or not all here"
        )


def check_proven(folder: Path, bundle: Bundle) -> None:
    """Check that each variant has canonical vectors and may not differ from them by too much.

    Raises:
        BadModel: a variant is not proven, or has a tolerance of its own that is too low.
    """
    for name, variant in bundle.variants.items():
        proof = variant.proof
        least = TOLERANCES[name]
        if proof.reference == "none":
            raise BadModel(f"{folder / MANIFEST}: variant {name} is not proven; export it again")
        if not proof.tolerance >= least:
            raise BadModel(
                f"{folder / MANIFEST}: variant {name} has tolerance {proof.tolerance}; a server "
                f"takes {least} or more"
            )


def is_plain(name: str) -> bool:
    """Whether a name is that of a file in the same folder, on any system, and is not hidden."""
    return bool(name) and not name.startswith(".") and not any(mark in name for mark in "/\\\0")
