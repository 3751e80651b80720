"""Computes the vectors that the real models' own library gives, for `test_models.py`.

As `tests/reference/make_reference.py` does for all-MiniLM-L6-v2: with sentence-transformers on
torch, CPU, fp32, one text at a time, so that the code under test has no part in them. Every text's
token ids must be those of the model's tokenizer.json, cut at the model's limit.

In an environment with torch (the CPU build), sentence-transformers and numpy, after
`hack/models.sh`, from the root of the repository::

    python -m tests.models.make_references [NAME ...]

A file, `references/NAME.npz`, holds

``texts``         str [N]: as the model gets them, prompt included
``vectors``       float32 [N, dimensions]: of length 1
``token_counts``  int32 [N]: tokens that went through the network, special ones included
``truncated``     bool [N]: whether the text had more
``versions``      JSON: the versions of the libraries
"""

import argparse
import importlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from tests.reference.texts import by_category

MODELS = Path(__file__).parents[2] / ".cache/models"
REFERENCES = Path(__file__).with_name("references")
TEXTS_A_CATEGORY = 2
# Tokens that nobody writes. MPNet does not count a padding token when it counts positions.
SPECIAL_TOKENS = "before <s> <pad> <pad> </s> <mask> [PAD] [MASK] [SEP] and after"


@dataclass(frozen=True)
class Model:
    """A model by the name of its directory; prompts are put before its texts in turn."""

    name: str
    max_tokens: int
    prompts: tuple[str, ...] = ("",)


SUBJECTS = (
    Model("sre-embedding-model", 256),
    Model("all-mpnet-base-v2", 384),
    Model("multilingual-e5-small", 512, ("query: ", "passage: ")),
)


def _picked() -> Iterator[str]:
    """A few texts of every category, from its first to its last, and special tokens in a text."""
    for group in by_category().values():
        # numpy's strings end at their last character that is not NUL.
        whole = [text for text in group if not text.endswith("\0")]
        places = np.linspace(0, len(whole) - 1, TEXTS_A_CATEGORY).round().astype(int)
        yield from dict.fromkeys(whole[place] for place in places)
    yield SPECIAL_TOKENS


def _of_length(length: int, start: str, count: Callable[[str], int]) -> str:
    """A text of exactly `wanted` tokens; words that would overshoot are left out."""
    text = start
    for word in cycle(" ".join(by_category()["sentences"]).split()):
        longer = f"{text} {word}".lstrip()
        if count(longer) <= length:
            text = longer
        if count(text) == length:
            return text
    raise AssertionError("a cycle has no end")


def texts_of(model: Model, tokenizer: Tokenizer) -> list[str]:
    """The texts of one model: the picked ones and those around its limit."""

    def count(text: str) -> int:
        return len(tokenizer.encode(text).ids)

    texts = [
        model.prompts[number % len(model.prompts)] + text for number, text in enumerate(_picked())
    ]
    for difference in (-1, 0, 1, 2 * model.max_tokens):
        start = model.prompts[difference % len(model.prompts)].strip()
        texts.append(_of_length(model.max_tokens + difference, start, count))
    return texts


def _load(model: Model) -> Any:
    # Imported by name: whoever only reads the stored vectors, or type-checks this file, does not
    # need this library.
    library = importlib.import_module("sentence_transformers")
    folder = MODELS / model.name
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder}: run hack/models.sh")
    loaded = library.SentenceTransformer(str(folder), device="cpu", local_files_only=True).eval()
    kinds = {str(parameter.dtype) for parameter in loaded.parameters()}
    if kinds != {"torch.float32"} or loaded.max_seq_length != model.max_tokens:
        raise RuntimeError(f"{model.name}: {kinds}, {loaded.max_seq_length} tokens")
    return loaded


def _tokenizer(model: Model) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(MODELS / model.name / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _check_ids(loaded: Any, text: str, full: list[int], max_tokens: int) -> int:
    """How many tokens of a text go through the network, which must be those expected."""
    ids = loaded.preprocess([text])["input_ids"][0].tolist()
    expected = full if len(full) <= max_tokens else [*full[: max_tokens - 1], full[-1]]
    if ids != expected:
        raise RuntimeError(f"other token ids than tokenizer.json's: {text[:40]!r}")
    return len(expected)


def compute(model: Model) -> dict[str, npt.NDArray[Any]]:
    """The content of one model's file."""
    loaded = _load(model)
    tokenizer = _tokenizer(model)
    texts = texts_of(model, tokenizer)
    full = [tokenizer.encode(text).ids for text in texts]
    counts = [
        _check_ids(loaded, text, ids, model.max_tokens)
        for text, ids in zip(texts, full, strict=True)
    ]
    vectors = np.concatenate(
        [
            # The prompt is in the text already.
            loaded.encode([text], prompt="", normalize_embeddings=True, show_progress_bar=False)
            for text in texts
        ]
    )
    if vectors.dtype != np.float32 or not np.allclose(np.linalg.norm(vectors, axis=1), 1.0):
        raise RuntimeError(f"{model.name}: vectors of {vectors.dtype}, or not of length 1")
    names = ("torch", "transformers", "sentence_transformers", "tokenizers")
    versions = {name: str(importlib.import_module(name).__version__) for name in names}
    return {
        "texts": np.array(texts),
        "vectors": vectors,
        "token_counts": np.array(counts, dtype=np.int32),
        "truncated": np.array([len(ids) > model.max_tokens for ids in full]),
        "versions": np.array(json.dumps(versions, sort_keys=True)),
    }


def main() -> None:
    """The program: all models, or those named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    names = parser.parse_args().names
    for model in SUBJECTS:
        if names and model.name not in names:
            continue
        reference = compute(model)
        path = REFERENCES / f"{model.name}.npz"
        path.parent.mkdir(exist_ok=True)
        np.savez_compressed(path, allow_pickle=False, **reference)
        counts = reference["token_counts"]
        print(
            f"{path.name}: {len(counts)} texts, {counts.min()} to {counts.max()} tokens, "
            f"{reference['truncated'].sum()} truncated; {path.stat().st_size} bytes; "
            f"{reference['versions']}"
        )


if __name__ == "__main__":
    main()
