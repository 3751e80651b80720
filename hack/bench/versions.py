"""Two versions of one model whose vectors nobody can mistake for each other's.

Version 2 gives the negated vectors of version 1: its cosine to what is right for version 1 is -1,
and an answer that holds rows of both shows it.
"""

import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from onnx import helper

from predictor.bundle.canonical_vectors import read_canonical, vectors_key
from predictor.bundle.graph_info import files_used
from predictor.bundle.manifest import (
    CANONICAL,
    FP32,
    MANIFEST,
    Bundle,
    read_bundle,
    sha256,
)

from .servers import MODEL

# What the vectors of a version are, as a multiple of the model's.
SIGN = {"1": 1, "2": -1}


def write_repository(bundle: Path, root: Path) -> Path:
    """A repository with both versions of the model, float32 only; `root` is made anew."""
    shutil.rmtree(root, ignore_errors=True)
    known = _float32_of(bundle, read_bundle(bundle))
    for version, sign in SIGN.items():
        folder = root / MODEL / version
        folder.mkdir(parents=True)
        for name in known.files:
            shutil.copyfile(bundle / name, folder / name)
        if sign < 0:
            negate(folder / known.variants[FP32].graph)
        _write_canonical(bundle, folder, sign)
        files = {name: sha256(folder / name) for name in known.files}
        whole = msgspec.structs.replace(known, files=files)
        (folder / MANIFEST).write_bytes(msgspec.json.encode(whole))
    return root


def _float32_of(folder: Path, bundle: Bundle) -> Bundle:
    """Without the other variants and the files that only they use."""
    used = files_used(folder, bundle)
    theirs = {name for files in used.values() for name in files} - used[FP32].keys()
    files = {name: digest for name, digest in bundle.files.items() if name not in theirs}
    return msgspec.structs.replace(bundle, variants={FP32: bundle.variants[FP32]}, files=files)


def negate(graph: Path) -> None:
    """Put a Neg before the graph's only output; data files beside it stay as they are."""
    model = onnx.load(str(graph), load_external_data=False)
    output = model.graph.output[0].name
    inner = f"{output}_before"
    for node in model.graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == output:
                    names[place] = inner
    model.graph.node.append(helper.make_node("Neg", [inner], [output], name="negated"))
    onnx.save(model, str(graph))


def _write_canonical(bundle: Path, folder: Path, sign: int) -> None:
    texts, vectors = read_canonical(bundle)
    arrays: dict[str, Any] = {"texts": np.array(texts), vectors_key(FP32): sign * vectors}
    np.savez(folder / CANONICAL, **arrays)
