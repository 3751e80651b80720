"""What a checkpoint holds, from the heads of its safetensors files: names, types and shapes.

Read without a library: a server asks this of every directory that it loads, and a folder is
described before anything is converted.
"""

import json
from dataclasses import dataclass
from math import prod
from pathlib import Path

from predictor.bundle.weight_files import SAFETENSORS
from predictor.errors import BadModel

# Bytes of the number that says how long the head is.
PREFIX_BYTES = 8
# The format's own limit.
MAX_HEAD_BYTES = 100_000_000
# Types that become float32 without a scale beside them.
READABLE_TYPES = ("F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL")


@dataclass(frozen=True)
class TensorHead:
    """One tensor of a checkpoint."""

    kind: str
    """Type as safetensors names it, like F32."""

    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        """Numbers in it."""
        return prod(self.shape)


def tensor_heads(files: list[Path]) -> dict[str, TensorHead]:
    """The tensors of these files by name; a file that is no safetensors is passed over.

    Raises:
        BadModel: a file is missing, cut off, or no safetensors file.
    """
    heads: dict[str, TensorHead] = {}
    for path in files:
        if path.suffix == SAFETENSORS:
            heads |= _heads(path)
    return heads


def check_types(heads: dict[str, TensorHead], path: Path) -> None:
    """Raise BadModel for a tensor of a type that is not read (8-bit floats, packed integers)."""
    for name, head in heads.items():
        if head.kind not in READABLE_TYPES:
            raise BadModel(
                f"{path}: tensor {name!r} is of type {head.kind}, which is not read; read are "
                f"{', '.join(READABLE_TYPES)}. Save the model as float32, float16 or bfloat16"
            )


def _heads(path: Path) -> dict[str, TensorHead]:
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(PREFIX_BYTES), "little")
            if not 0 < size <= min(MAX_HEAD_BYTES, path.stat().st_size - PREFIX_BYTES):
                raise ValueError("its head is longer than the file")
            content = json.loads(file.read(size))
        return {
            str(name): TensorHead(str(entry["dtype"]), tuple(int(n) for n in entry["shape"]))
            for name, entry in content.items()
            if name != "__metadata__"
        }
    except OSError as error:
        raise BadModel(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadModel(f"{path}: not a readable safetensors file: {error}") from error
