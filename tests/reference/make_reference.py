"""Computes the reference vectors that the server's own vectors are compared with.

The tests must be able to say what the right vector of a text is without the code under test
having a part in it, and without a large deep-learning library being installed wherever they run.
So the vectors are computed once, with the library that the model was published for
(sentence-transformers on torch, CPU, fp32, one text at a time so that no padding is involved),
and stored beside this file in ``minilm.npz``.

How to remake it
----------------
In an environment with ``torch`` (the CPU build is enough), ``sentence-transformers`` and
``numpy``, and with a folder that holds all-MiniLM-L6-v2 in its published form (``modules.json``,
``config.json``, ``sentence_bert_config.json``, ``1_Pooling/``, ``tokenizer.json``,
``tokenizer_config.json``, ``vocab.txt``, ``model.safetensors``), from the root of the
repository::

    python -m tests.reference.make_reference --model-dir DIR --out tests/reference/minilm.npz

That is necessary after every change of ``texts.py``.  Nothing is downloaded.  A test that has
torch at hand can call ``compute`` and compare.

What the file holds
-------------------
``vectors``       float32 [N, 384]: row ``i`` is the vector of ``texts()[i]``, of length 1
``token_counts``  int32 [N]: tokens that went through the network, ``[CLS]`` and ``[SEP]`` included
``truncated``     bool [N]: whether the text had more tokens than the limit
``texts_sha256``  ``texts.digest`` of the texts, as a hexadecimal string
``versions``      JSON: the versions of torch, transformers and sentence_transformers

The limit of 256 tokens
-----------------------
The model's ``sentence_bert_config.json`` says 256, while its ``tokenizer.json`` says: truncate at
128 and pad everything to 128.  sentence-transformers goes by the former.  This was checked in
two ways: by reading what the library's preprocessing returns for one repeated word (100, 126,
127, 200, 254, 255 and 400 words give 102, 128, 129, 202, 256, 256 and 256 tokens, none of them
padding), and by comparing, for every text, its token ids with those of ``tokenizer.json`` when
that is loaded with padding off and truncation at 256: they are equal.  Nevertheless nothing here
relies on it: ``compute`` sets the limit and raises if any text comes out longer, padded, or
shorter than its untruncated length allows.
"""

import argparse
import importlib
import json
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from .texts import digest, texts

MAX_TOKENS = 256
DIMENSION = 384


class Reference(TypedDict):
    """The content of the file, by its keys there."""

    vectors: NDArray[np.float32]
    token_counts: NDArray[np.int32]
    truncated: NDArray[np.bool_]
    texts_sha256: str
    versions: str


def _load(model_dir: Path) -> Any:
    """The model as sentence-transformers loads it, in fp32 on the CPU, with the limit set."""
    # Imported by name: whoever only reads the stored vectors, or type-checks this file, does not
    # need these libraries.
    torch = importlib.import_module("torch")
    library = importlib.import_module("sentence_transformers")
    if not model_dir.is_dir():
        # A name that is no folder would be taken for the name of a model to download.
        raise NotADirectoryError(f"not a folder: {model_dir}")
    model = library.SentenceTransformer(str(model_dir), device="cpu", local_files_only=True)
    model.max_seq_length = MAX_TOKENS
    model.eval()
    if {parameter.dtype for parameter in model.parameters()} != {torch.float32}:
        raise RuntimeError("the model is not in fp32")
    if model.max_seq_length != MAX_TOKENS:
        raise RuntimeError(f"the limit is {model.max_seq_length} tokens, not {MAX_TOKENS}")
    return model


def _count_tokens(model: Any, text: str) -> tuple[int, bool]:
    """How many tokens of a text go through the network, and whether that is not all of them."""
    features = model.preprocess([text])
    count = int(features["input_ids"].shape[1])
    full = len(model.tokenizer(text, truncation=False, padding=False, verbose=False)["input_ids"])
    if int(features["attention_mask"].sum()) != count:
        raise RuntimeError(f"padding in a batch of one text: {text[:40]!r}")
    if count != min(full, MAX_TOKENS):
        raise RuntimeError(f"{count} tokens out of {full} for {text[:40]!r}")
    return count, full > MAX_TOKENS


def compute(model_dir: str | Path) -> Reference:
    """The reference for all texts, made with the model in ``model_dir``."""
    model = _load(Path(model_dir))
    items = texts()
    vectors = np.empty((len(items), DIMENSION), dtype=np.float32)
    token_counts = np.empty(len(items), dtype=np.int32)
    truncated = np.empty(len(items), dtype=np.bool_)
    for row, text in enumerate(items):
        token_counts[row], truncated[row] = _count_tokens(model, text)
        encoded = model.encode(
            [text], batch_size=1, normalize_embeddings=True, show_progress_bar=False
        )
        if encoded.shape != (1, DIMENSION) or encoded.dtype != np.float32:
            raise RuntimeError(f"a vector of {encoded.shape} {encoded.dtype} for {text[:40]!r}")
        vectors[row] = encoded[0]
    if not np.allclose(np.linalg.norm(vectors.astype(np.float64), axis=1), 1.0, atol=1e-6):
        raise RuntimeError("a vector whose length is not 1")
    names = ("torch", "transformers", "sentence_transformers")
    versions = {name: str(importlib.import_module(name).__version__) for name in names}
    return Reference(
        vectors=vectors,
        token_counts=token_counts,
        truncated=truncated,
        texts_sha256=digest(items),
        versions=json.dumps(versions, sort_keys=True),
    )


def save(reference: Reference, out: Path) -> None:
    """Writes the file; ``numpy.load`` reads it without pickles."""
    with out.open("wb") as stream:
        np.savez_compressed(
            stream,
            vectors=reference["vectors"],
            token_counts=reference["token_counts"],
            truncated=reference["truncated"],
            texts_sha256=np.array(reference["texts_sha256"]),
            versions=np.array(reference["versions"]),
        )


def main(argv: list[str] | None = None) -> None:
    """The program: computes the vectors and writes them to a file."""
    parser = argparse.ArgumentParser(description="Compute the reference vectors.")
    parser.add_argument(
        "--model-dir", type=Path, required=True, metavar="DIR", help="folder of all-MiniLM-L6-v2"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="the .npz file to write"
    )
    options = parser.parse_args(argv)
    reference = compute(options.model_dir)
    save(reference, options.out)
    print(
        f"{len(reference['vectors'])} texts, "
        f"{reference['token_counts'].min()} to {reference['token_counts'].max()} tokens, "
        f"{int(reference['truncated'].sum())} truncated; {options.out.stat().st_size} bytes; "
        f"{reference['versions']}"
    )


if __name__ == "__main__":
    main()
