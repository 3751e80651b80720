"""The folders of the small models, put together from what is stored.

A folder of ``models`` named like ``bert`` is a whole model.  One named like ``bert--cls`` holds
only what differs from ``bert``: its files are laid over that model's.  ``FORMS`` are other ways
to write the same weights, so that nothing needs to be stored for them.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file

MODELS = Path(__file__).with_name("models")
REFERENCE = "reference.npz"
WEIGHTS = "model.safetensors"

Tensors = dict[str, npt.NDArray[Any]]


def names() -> list[str]:
    return sorted(path.name for path in MODELS.iterdir() if path.is_dir())


def assemble(name: str, into: Path) -> Path:
    """A copy of the model in the new folder `into`, without its reference."""
    without = shutil.ignore_patterns(REFERENCE)
    shutil.copytree(MODELS / name.split("--", maxsplit=1)[0], into, ignore=without)
    shutil.copytree(MODELS / name, into, ignore=without, dirs_exist_ok=True)
    return into


def prefixed(folder: Path, prefix: str) -> None:
    """As a model with a head on top is saved: the encoder's tensors have its name before them."""
    tensors = load_file(folder / WEIGHTS)
    _write({f"{prefix}{name}": tensor for name, tensor in tensors.items()}, folder / WEIGHTS)


def sharded(folder: Path) -> None:
    """Two files and the index that says which tensor is in which."""
    tensors = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    halves: tuple[Tensors, Tensors] = ({}, {})
    for place, (name, tensor) in enumerate(sorted(tensors.items())):
        halves[place % 2][name] = tensor
    weight_map: dict[str, str] = {}
    for number, half in enumerate(halves, start=1):
        file = f"model-{number:05}-of-00002.safetensors"
        _write(half, folder / file)
        weight_map |= dict.fromkeys(half, file)
    total = sum(tensor.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(index, indent=2))


# What transformers calls the tensors of NomicBERT and GTE in memory (conversion_mapping.py); the
# files it writes have the names of the published checkpoints.
_IN_MEMORY = {
    "encoder.layers.": "layers.",
    "encoder.layer.": "layers.",
    "emb_ln.": "embeddings.LayerNorm.",
    "attn.out_proj.": "self_attn.o_proj.",
    "attention.o_proj.": "self_attn.o_proj.",
    "mlp.fc11.": "mlp.up_proj.",
    "mlp.fc12.": "mlp.gate_proj.",
    "mlp.fc2.": "mlp.down_proj.",
    ".norm1.": ".post_attention_layernorm.",
    ".attn_ln.": ".post_attention_layernorm.",
    ".norm2.": ".post_mlp_layernorm.",
    ".mlp_ln.": ".post_mlp_layernorm.",
}
_PARTS = {
    "attn.Wqkv.": ("self_attn.q_proj.", "self_attn.k_proj.", "self_attn.v_proj."),
    "attention.qkv_proj.": ("self_attn.q_proj.", "self_attn.k_proj.", "self_attn.v_proj."),
    "mlp.up_gate_proj.": ("mlp.up_proj.", "mlp.gate_proj."),
}


def unfused(folder: Path) -> None:
    """As `save_pretrained(save_original_format=False)` writes them: Q, K and V apart."""
    tensors: Tensors = {}
    for published, tensor in load_file(folder / WEIGHTS).items():
        name = published
        for old, new in _IN_MEMORY.items():
            name = name.replace(old, new)
        joint = next((joint for joint in _PARTS if joint in name), "")
        parts = _PARTS.get(joint, ("",))
        for part, piece in zip(parts, np.split(tensor, len(parts)), strict=True):
            tensors[name.replace(joint, part) if joint else name] = piece
    _write(tensors, folder / WEIGHTS)


def rope_scaling_beyond(folder: Path) -> None:
    """NomicBERT's scaling for texts longer than those it was trained on, of which there are none.

    Its own code scales with the length of the batch above `max_trained_positions` and not below:
    https://huggingface.co/nomic-ai/nomic-bert-2048, NomicBertDynamicNTKRotaryEmbedding.
    """
    config = json.loads((folder / "config.json").read_bytes())
    config |= {"rotary_scaling_factor": 2, "max_trained_positions": 2048}
    (folder / "config.json").write_text(json.dumps(config, indent=2))


def _write(tensors: Tensors, path: Path) -> None:
    save_file({name: np.ascontiguousarray(t) for name, t in tensors.items()}, path)


# A model, what is done to its folder, and a name for that; the vectors stay what they are.
FORMS: list[tuple[str, str, Callable[[Path], None]]] = [
    ("bert", "sharded", sharded),
    ("bert", "prefixed", lambda folder: prefixed(folder, "bert.")),
    ("roberta", "prefixed", lambda folder: prefixed(folder, "roberta.")),
    ("mpnet", "prefixed", lambda folder: prefixed(folder, "mpnet.")),
    ("distilbert", "prefixed", lambda folder: prefixed(folder, "distilbert.")),
    ("modernbert", "prefixed", lambda folder: prefixed(folder, "model.")),
    ("gte-published", "prefixed", lambda folder: prefixed(folder, "new.")),
    ("gte", "unfused", unfused),
    ("nomic", "unfused", unfused),
    ("nomic--published", "scaling-beyond", rope_scaling_beyond),
]
