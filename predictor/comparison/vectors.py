"""The vectors that a model gives to some texts, from its directory or from a server that runs.

Not normalised, so that lengths can be compared too; with the model's default prompt before each
text and its own limit, as a server would do it.
"""

import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from predictor.comparison import endpoint, exchange
from predictor.engine.bundle import Bundle
from predictor.engine.proving import BUDGET, group_by_length
from predictor.errors import BadModel, BadSetting, EngineError
from predictor.progress import Progress
from predictor.repository import LoadedModel, find_version, open_model
from predictor.settings import ModelSettings
from predictor.types import FloatRows


@dataclass(frozen=True)
class Vectors:
    """name: as the user gave it; what: which model that is; raw: `[N, dim]`, not normalised.

    truncated: how many of the texts were cut to the model's length.
    """

    name: str
    what: str
    raw: FloatRows
    truncated: int


@dataclass(frozen=True)
class Place:
    """Where vectors come from: a directory, of which a variant is run, or an address."""

    name: str
    variant: str = "auto"
    address: exchange.Address | None = None


def find(name: str, variant: str) -> Place:
    """See that a directory or a server is there before the long work begins.

    Raises:
        BadModel: it holds no model, or does not serve it.
        BadSetting: there is no such thing, or it has no variants to choose from.
    """
    if "://" in name:
        if variant != "auto":
            raise BadSetting(f"{name}: a server has chosen its variant; {variant!r} cannot be had")
        return Place(name, address=endpoint.find(exchange.parse(name)))
    if not Path(name).is_dir():
        raise BadSetting(f"{name}: no such directory, and no URL of a server (http://host:port)")
    find_version(Path(name))
    return Place(name, variant)


def vectors_of(place: Place, texts: Sequence[str], progress: Progress) -> Vectors:
    """Run the texts there.

    Raises:
        BadModel: it gives no vectors; the message says why.
        BadSetting: the server is gone.
    """
    if place.address:
        answer = endpoint.embed(place.address, texts, progress)
        return Vectors(place.name, answer.what, answer.raw, answer.truncated)
    return _from_directory(place.name, place.variant, texts, progress)


def _from_directory(name: str, variant: str, texts: Sequence[str], progress: Progress) -> Vectors:
    with tempfile.TemporaryDirectory(prefix="predictor-compare-") as cache:
        model = open_model(ModelSettings(model_dir=name, cache_dir=cache, variant=variant))
        prompt = default_prompt(model.bundle)
        tokens = model.tokenizer.encode([prompt + text for text in texts])
        try:
            raw = _run(model, tokens.ids, name, progress)
        except EngineError as error:
            raise BadModel(f"{name}: {error}") from error
    wrong = int((~np.isfinite(raw)).any(axis=1).sum())
    if wrong:
        raise BadModel(f"{name}: {wrong} of {len(raw)} vectors hold what is no finite number")
    return Vectors(name, _describe(model, prompt), raw, len(tokens.truncated))


def default_prompt(bundle: Bundle) -> str:
    return bundle.prompts.get(bundle.default_prompt_name or "", "")


def _describe(model: LoadedModel, prompt: str) -> str:
    bundle = model.bundle
    after = f", after the prompt {prompt!r}" if prompt else ""
    where = "" if model.device == "cpu" else f" on {model.device}"
    return f"{bundle.family}, {model.variant}{where}, revision {bundle.revision}{after}"


def _run(model: LoadedModel, rows: list[list[int]], name: str, progress: Progress) -> FloatRows:
    """All rows in batches of like length, as many side by side as the engine has threads."""
    groups = group_by_length([len(row) for row in rows], BUDGET)
    batches = [[rows[index] for index in group] for group in groups]
    raw = np.empty((len(rows), model.bundle.dimensions), dtype=np.float32)
    with (
        progress.step(f"embedding with {name}", len(groups)) as advance,
        ThreadPoolExecutor(model.engine.threads) as callers,
    ):
        results: Iterator[FloatRows] = callers.map(model.engine.run, batches)
        for group, vectors in zip(groups, results, strict=True):
            raw[group] = vectors
            advance()
    return raw
