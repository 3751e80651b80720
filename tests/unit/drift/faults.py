"""What goes wrong, done to a real model: the vectors, lengths and unknown tokens it gives."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from hack.bench.corpus import mixed
from predictor.bundle.corpus import calibration, verification
from predictor.bundle.manifest import TOKENIZER, read_bundle
from predictor.bundle.source import read_source
from predictor.engine.engine import OnnxEngine
from predictor.engine.reference_runs import group_by_length
from predictor.engine.tokenizer import Tokenizer
from predictor.export.convert import convert_cached
from predictor.types import FloatRows, Tokens
from tests.unit.drift.traffic import Pool, pool_of

UNKNOWN = 100  # [UNK] of BERT's vocabulary
COMMON = re.compile(
    r"\b(the|of|and|to|a|in|is|was|that|it|for|on|with|as|were|had|from|by|an|at)\b"
)
LONG_PROMPT = "Represent this sentence for searching relevant passages: "
FOOTER = (
    " This message is confidential and intended only for the addressee. If you have received it in "
    "error, please delete it and notify the sender."
)
Weights = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Texts:
    """english: the usual traffic, half written and half generated; others: other languages."""

    english: list[str]
    russian: list[str]
    others: list[str]


def texts(tokenizer_file: Path, generated: int = 800) -> Texts:
    english, russian, others = [], [], []
    for text in _sentences():
        common = len(COMMON.findall(text.lower())) / len(text.split())
        if text.isascii() and common > 0.12:
            english.append(text)
        elif re.search(r"[\u0400-\u04ff]", text):
            russian.append(text)
        elif not text.isascii():
            others.append(text)
    return Texts(english + mixed(tokenizer_file).texts[:generated], russian, others)


def _sentences() -> Iterator[str]:
    for text in dict.fromkeys(verification() + calibration()):
        parts = re.split(r"(?<=[.!?\u3002\uff01\uff1f])\s*", text) if len(text) > 80 else []
        yield from (part for part in dict.fromkeys([text, *parts]) if len(part) > 12)


class Model:
    """A bundle that embeds texts into a pool; `topics` are the tenants, by the right vectors."""

    def __init__(self, folder: Path, english: list[str], topics: int = 20) -> None:
        self.folder, self.english = folder, english
        self.bundle = read_bundle(folder)
        self.tokenizer = Tokenizer(folder / TOKENIZER, self.bundle.max_length)
        self.engine = OnnxEngine(folder, self.bundle, threads=2)
        rows = embed(self.engine, self.tokenizer.encode(english))
        self.tenants = clusters(rows, topics)
        self.baseline = self._pool(english, self.tokenizer.encode(english), rows)

    def _pool(self, texts: list[str], tokens: Tokens, rows: FloatRows) -> Pool:
        alike = texts is self.english
        tenants = self.tenants if alike else np.zeros(len(texts), np.int64)
        return pool_of(texts, tokens, rows, UNKNOWN, tenants)

    def of(self, texts: list[str]) -> Pool:
        """Other texts, embedded as they should be; one tenant."""
        tokens = self.tokenizer.encode(texts)
        return self._pool(texts, tokens, embed(self.engine, tokens))

    def prompted(self, prompt: str) -> Pool:
        tokens = self.tokenizer.encode([prompt + text for text in self.english])
        return self._pool(self.english, tokens, embed(self.engine, tokens))

    def cased(self, scratch: Path) -> Pool:
        """A tokenizer that does not lower-case, for a vocabulary that is lower-case."""
        content = json.loads((self.folder / TOKENIZER).read_text())
        content["normalizer"].update(lowercase=False, strip_accents=False)
        file = scratch / "cased.json"
        file.write_text(json.dumps(content))
        tokens = Tokenizer(file, self.bundle.max_length).encode(self.english)
        return self._pool(self.english, tokens, embed(self.engine, tokens))

    def shifted(self) -> Pool:
        """A tokenizer of another vocabulary of the same size: every id is the next word's."""
        tokens = self.tokenizer.encode(self.english)
        top = self.tokenizer.vocab_size - 1
        ids = [[row[0], *(min(i + 1, top) for i in row[1:-1]), row[-1]] for row in tokens.ids]
        wrong = Tokens(ids, tokens.truncated)
        return self._pool(self.english, wrong, embed(self.engine, wrong))

    def pooled(self, model_dir: Path, mode: str, scratch: Path) -> Pool:
        """The same weights with another pooling; `mode` as in `1_Pooling/config.json`."""
        folder = scratch / mode
        shutil.copytree(model_dir, folder)
        file = folder / "1_Pooling/config.json"
        config = json.loads(file.read_text())
        flags = {key: False for key in config if key.startswith("pooling_mode")}
        file.write_text(json.dumps(config | flags | {mode: True}))
        bundle_dir = convert_cached(read_source(folder), scratch / "bundles", threads=2)
        engine = OnnxEngine(bundle_dir, read_bundle(bundle_dir), threads=2)
        tokens = self.tokenizer.encode(self.english)
        return self._pool(self.english, tokens, embed(engine, tokens))

    def rounded(self, change: Callable[[str, Weights], Weights], scratch: Path) -> Pool:
        """The same graph with every matrix of the layers changed by `change(name, weights)`."""
        folder = scratch / "rounded"
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        graph = onnx.load(str(folder / "model.onnx"), load_external_data=False).graph
        data = bytearray((folder / "model.onnx.data").read_bytes())
        for tensor in graph.initializer:
            if len(tensor.dims) == 2 and tensor.name.startswith("encoder"):
                place = {entry.key: entry.value for entry in tensor.external_data}
                offset, count = int(place.get("offset", 0)), tensor.dims[0] * tensor.dims[1]
                weights = np.frombuffer(data, np.float32, count, offset).reshape(tensor.dims)
                changed = change(tensor.name, weights).astype(np.float32).tobytes()
                data[offset : offset + 4 * count] = changed
        (folder / "model.onnx.data").write_bytes(data)
        tokens = self.tokenizer.encode(self.english)
        engine = OnnxEngine(folder, self.bundle, threads=2)
        return self._pool(self.english, tokens, embed(engine, tokens))


def embed(engine: OnnxEngine, tokens: Tokens) -> FloatRows:
    """Un-normalised vectors, in batches of like length."""
    lengths = [len(ids) for ids in tokens.ids]
    rows: dict[int, FloatRows] = {}
    for group in group_by_length(lengths, 512):
        vectors = engine.run([tokens.ids[index] for index in group], wide=True)
        rows.update(zip(group, vectors, strict=True))
    return np.stack([rows[index] for index in range(len(lengths))])


def one_step(bits: int, clip: float = 1.0) -> Callable[[str, Weights], Weights]:
    """One step for a whole matrix, its range cut at `clip` of the largest weight."""
    top = 2 ** (bits - 1) - 1

    def change(name: str, weights: Weights) -> Weights:
        del name
        step = float(np.abs(weights).max()) * clip / top
        result: Weights = np.clip(np.round(weights / step), -top - 1, top) * step
        return result

    return change


def wrong_scale(layer: str, factor: float) -> Callable[[str, Weights], Weights]:
    """The scale of one layer's matrices is off by a factor."""
    return lambda name, weights: weights * (factor if name.startswith(layer) else 1)


def clusters(rows: FloatRows, count: int) -> npt.NDArray[np.int64]:
    """The topic of each row, numbered without gaps: k-means on the directions."""
    generator = np.random.default_rng(0)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    centres = unit[generator.choice(len(unit), count, replace=False)]
    nearest = np.zeros(len(unit), np.int64)
    for _ in range(20):
        nearest = (unit @ centres.T).argmax(axis=1)
        present = np.unique(nearest)
        centres = np.stack([unit[nearest == topic].mean(axis=0) for topic in present])
        centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    topics: npt.NDArray[np.int64] = np.unique(nearest, return_inverse=True)[1].astype(np.int64)
    return topics


def footed(texts: list[str]) -> list[str]:
    return [text + FOOTER for text in texts]


def flooding(count: int = 300) -> list[str]:
    """One text with a number in it."""
    return [
        f"Your session {n} has expired. Please sign in again to continue." for n in range(count)
    ]


def mean_cosine(left: FloatRows, right: FloatRows) -> float:
    a, b = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (left, right))
    return float(np.einsum("ij,ij->i", a, b).mean())
