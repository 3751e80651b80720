"""A model version on disk, checked: what it is, which files it has and that they are whole.

The bundle is the contract between `export/`, which writes it, and the server, which trusts nothing
that it has not checked: digests at load, vectors (`canonical.npz`) at warm-up.
"""

import hashlib
import zipfile
import zlib
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from predictor.errors import BadModel, IncompleteModel
from predictor.types import FloatRows, Pooling

SCHEMA = 2
MANIFEST = "bundle.json"
CANONICAL = "canonical.npz"
TOKENIZER = "tokenizer.json"
# All that numpy lets through for a file that is no .npz, another kind of one, or a damaged one.
UNREADABLE = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error)

VariantName = Literal["fp32", "int8", "int8-weights", "fp16"]
FP32: VariantName = "fp32"
VARIANTS: tuple[VariantName, ...] = ("fp32", "int8", "int8-weights", "fp16")


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What a variant's vectors were compared with, and how close they came.

    reference: `torch` (the original model), `file` (vectors made elsewhere), `self` (this graph,
    one text at a time: it proves that nothing changed since, not that the vectors are right),
    `fp32` (the bundle's own float32 graph) or `none`.
    tolerance: the smallest cosine that a later run may have to this variant's canonical vectors.
    limits: the least that the cosines had to reach here, by the names of the figures.
    texts: how many texts were compared, each alone and in a batch.
    min_cosine, p1_cosine, mean_cosine: cosine to the reference; p1 is the first percentile.
    max_abs_difference: to the reference, of a component of the vectors of length 1.
    batch_error: largest difference of a component between a text alone and among others.
    instructions: the instruction sets of the CPU that this was run on.
    note: what else one should know.
    """

    reference: Literal["torch", "file", "self", "fp32", "none"]
    tolerance: float
    limits: dict[str, float] = {}
    texts: int = 0
    min_cosine: float = 1.0
    p1_cosine: float = 1.0
    mean_cosine: float = 1.0
    max_abs_difference: float = 0.0
    batch_error: float = 0.0
    instructions: tuple[str, ...] = ()
    note: str = ""


class MappedTensor(msgspec.Struct, frozen=True, kw_only=True):
    """A float32 weight that all sessions may read from one mapping of the file.

    Look-up tables only: matrices that are multiplied get repacked by each session anyway.
    offset in bytes from the start of `file`.
    """

    name: str
    file: str
    offset: int
    shape: tuple[int, ...]


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """One graph of the model: its precision, the device it is for, and its own proof.

    graph: file name; device: the execution provider it needs (`cuda`: does not run on a CPU).
    """

    graph: str
    device: Literal["any", "cuda"] = "any"
    mapped: tuple[MappedTensor, ...] = ()
    proof: Proof


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """`bundle.json`. Lengths in tokens, digests in hex sha256.

    source, source_revision: where the model came from, and its commit if a hub gave one.
    matryoshka: the dimensions that a request may cut to; empty: any.
    inputs: `packed` (tokens of all texts end to end) or `padded` (the usual export).
    files: digest of every file of the bundle but this one.
    """

    schema: int = SCHEMA
    source: str = ""
    source_revision: str | None = None
    source_digest: str
    licence: str | None = None
    family: str
    max_length: int
    dimensions: int
    matryoshka: tuple[int, ...] = ()
    pooling: Pooling
    normalize: bool
    inputs: Literal["packed", "padded"]
    prompts: dict[str, str] = {}
    default_prompt_name: str | None = None
    lower_case: bool = False
    position_offset: int = 0
    pad_id: int = 0
    files: dict[str, str] = {}
    variants: dict[VariantName, Variant]

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


def read_bundle(folder: Path) -> Bundle:
    """Read and verify a bundle.

    Raises:
        BadModel: the manifest does not parse, has another schema, or a file is missing or differs
            from its digest.
    """
    manifest = folder / MANIFEST
    try:
        content = manifest.read_bytes()
        schema = msgspec.json.decode(content, type=_Schema).schema
        if schema != SCHEMA:
            raise BadModel(f"{manifest}: schema {schema}; this server reads schema {SCHEMA}")
        bundle = msgspec.json.decode(content, type=Bundle)
    except (OSError, msgspec.DecodeError, RecursionError) as error:
        raise BadModel(f"{manifest}: not a readable manifest: {error}") from error
    for name, digest in bundle.files.items():
        path = folder / name
        if "/" in name or name.startswith("."):
            raise BadModel(f"{manifest}: names a file outside of its folder: {name!r}")
        if not path.is_file():
            raise IncompleteModel(f"{path}: missing, though {MANIFEST} lists it")
        if sha256(path) != digest:
            raise IncompleteModel(
                f"{path}: differs from the digest in {MANIFEST}: damaged, replaced or not all here"
            )
    return bundle


def vectors_key(variant: VariantName) -> str:
    """The array of `canonical.npz` that holds a variant's vectors."""
    return "vectors" if variant == FP32 else f"vectors.{variant}"


def read_canonical(folder: Path, variant: VariantName = FP32) -> tuple[list[str], FloatRows]:
    """The canonical texts and a variant's normalised vectors `[N, dimensions]`.

    Raises:
        BadModel: the file is missing or damaged.
    """
    path = folder / CANONICAL
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
            texts = [str(text) for text in data["texts"]]
            vectors: npt.NDArray[np.float32] = data[vectors_key(variant)].astype(np.float32)
    except UNREADABLE as error:
        raise BadModel(f"{path}: cannot be read: {error}") from error
    if len(texts) != len(vectors):
        raise BadModel(f"{path}: {len(texts)} texts but {len(vectors)} vectors")
    return texts, vectors
