"""A model version on disk, checked: what it is, which files it has and that they are whole.

The bundle is the contract between `export/`, which writes it, and the server, which trusts nothing
that it has not checked: digests at load, vectors (`canonical.npz`) at warm-up.
"""

import hashlib
import zipfile
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from predictor.errors import BadModel
from predictor.types import FloatRows, Pooling

SCHEMA = 1
MANIFEST = "bundle.json"
CANONICAL = "canonical.npz"
TOKENIZER = "tokenizer.json"


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What the canonical vectors were compared with, and how close the graph came.

    reference: `torch`, `file` (vectors made elsewhere) or `self` (this graph, one text at a time:
    it proves that nothing changed since, not that the vectors are right).
    tolerance: the smallest cosine that a later run may have to the canonical vectors.
    """

    reference: Literal["torch", "file", "self", "none"]
    tolerance: float
    min_cosine: float = 1.0
    max_abs_difference: float = 0.0


class MappedTensor(msgspec.Struct, frozen=True, kw_only=True):
    """A float32 weight that all sessions may read from one mapping of the file.

    Look-up tables only: matrices that are multiplied get repacked by each session anyway.
    offset in bytes from the start of `file`.
    """

    name: str
    file: str
    offset: int
    shape: tuple[int, ...]


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """`bundle.json`. Lengths in tokens, digests in hex sha256."""

    schema: int = SCHEMA
    family: str
    source_digest: str
    max_length: int
    dimensions: int
    pooling: Pooling
    normalize: bool
    inputs: Literal["packed", "padded"]
    graph: str
    prompts: dict[str, str] = {}
    default_prompt_name: str | None = None
    files: dict[str, str] = {}
    mapped: tuple[MappedTensor, ...] = ()
    position_offset: int = 0
    pad_id: int = 0
    proof: Proof

    @property
    def revision(self) -> str:
        """First 12 hex digits of the bundle's digest: the same model anywhere, or not.

        The canonical vectors do not count: their last bits depend on the CPU that made them.
        """
        files = {name: digest for name, digest in self.files.items() if name != CANONICAL}
        listing = "\n".join(f"{name} {digest}" for name, digest in sorted(files.items()))
        return hashlib.sha256(f"{self.source_digest}\n{listing}".encode()).hexdigest()[:12]


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_bundle(folder: Path) -> bool:
    return (folder / MANIFEST).is_file()


def read_bundle(folder: Path) -> Bundle:
    """Read and verify a bundle.

    Raises:
        BadModel: the manifest does not parse, has another schema, or a file is missing or differs
            from its digest.
    """
    manifest = folder / MANIFEST
    try:
        bundle = msgspec.json.decode(manifest.read_bytes(), type=Bundle)
    except (OSError, msgspec.DecodeError) as error:
        raise BadModel(f"{manifest}: not a readable manifest: {error}") from error
    if bundle.schema != SCHEMA:
        raise BadModel(f"{manifest}: schema {bundle.schema}; this server reads schema {SCHEMA}")
    for name, digest in bundle.files.items():
        path = folder / name
        if "/" in name or name.startswith("."):
            raise BadModel(f"{manifest}: names a file outside of its folder: {name!r}")
        if not path.is_file():
            raise BadModel(f"{path}: missing, though {MANIFEST} lists it")
        if sha256(path) != digest:
            raise BadModel(f"{path}: differs from the digest in {MANIFEST}: damaged or replaced")
    return bundle


def read_canonical(folder: Path) -> tuple[list[str], FloatRows]:
    """The canonical texts and their normalised vectors `[N, dimensions]`.

    Raises:
        BadModel: the file is missing or damaged.
    """
    path = folder / CANONICAL
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
            texts = [str(text) for text in data["texts"]]
            vectors: npt.NDArray[np.float32] = data["vectors"].astype(np.float32)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise BadModel(f"{path}: cannot be read: {error}") from error
    if len(texts) != len(vectors):
        raise BadModel(f"{path}: {len(texts)} texts but {len(vectors)} vectors")
    return texts, vectors
