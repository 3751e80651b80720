"""The vectors of some texts, from a model's directory or from a running server.

They are not normalised, so that lengths can be compared too. Each text gets the model's default
prompt and token limit, as in a server.
"""

import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from predictor.bundle.manifest import Bundle
from predictor.client import http, v2
from predictor.engine.reference_runs import BUDGET, group_by_length
from predictor.errors import BadModel, BadSetting, EngineError
from predictor.progress import Progress
from predictor.repository import LoadedModel, find_version, load_model
from predictor.settings import ModelSettings, VariantChoice
from predictor.types import FloatRows


@dataclass(frozen=True)
class ModelVectors:
    """Vectors, and the model that computed them."""

    # As the user gave it.
    name: str
    # Description of the model.
    model: str
    # Not normalised, `[N, dim]`.
    raw: FloatRows
    # Texts that were truncated to the model's limit.
    truncated: int


@dataclass(frozen=True)
class VectorSource:
    """Where vectors come from: a model's directory or a server."""

    # As the user gave it: a directory, or the URL of a server.
    name: str
    # Which graph of the directory is run.
    variant: VariantChoice = "auto"
    # Of the server; None: a directory.
    address: http.Address | None = None


def find(name: str, variant: VariantChoice) -> VectorSource:
    """Check that a directory or a server exists, before the long work begins.

    Raises:
        BadModel: there is no model in it, or it does not serve one.
        BadSetting: it does not exist, or has no variants to choose from.
    """
    if "://" in name:
        if variant != "auto":
            raise BadSetting(
                f"{name}: a running server has chosen its variant; {variant!r} cannot be selected"
            )
        return VectorSource(name, address=v2.find(http.parse(name)))
    if not Path(name).is_dir():
        raise BadSetting(f"{name}: no such directory, and no URL of a server (http://host:port)")
    find_version(Path(name))
    return VectorSource(name, variant)


def vectors_of(place: VectorSource, texts: Sequence[str], progress: Progress) -> ModelVectors:
    """Compute the vectors of the texts.

    Raises:
        BadModel: it gives no valid vectors; the message says why.
        BadSetting: the server does not answer.
    """
    if place.address:
        answer = v2.embed(place.address, texts, progress)
        return ModelVectors(place.name, answer.description, answer.raw, answer.truncated)
    return _from_directory(place.name, place.variant, texts, progress)


def _from_directory(
    name: str, variant: VariantChoice, texts: Sequence[str], progress: Progress
) -> ModelVectors:
    with tempfile.TemporaryDirectory(prefix="predictor-compare-") as cache:
        model = load_model(ModelSettings(model_dir=name, cache_dir=cache, variant=variant))
        prompt = default_prompt(model.bundle)
        tokens = model.tokenizer.encode([prompt + text for text in texts])
        try:
            raw = _run(model, tokens.ids, name, progress)
        except EngineError as error:
            raise BadModel(f"{name}: {error}") from error
    invalid = int((~np.isfinite(raw)).any(axis=1).sum())
    if invalid:
        raise BadModel(f"{name}: {invalid} of {len(raw)} vectors are not finite")
    return ModelVectors(name, _describe(model, prompt), raw, len(tokens.truncated))


def default_prompt(bundle: Bundle) -> str:
    return bundle.prompts.get(bundle.default_prompt_name or "", "")


def _describe(model: LoadedModel, prompt: str) -> str:
    bundle = model.bundle
    after = f", after the prompt {prompt!r}" if prompt else ""
    where = "" if model.device == "cpu" else f" on {model.device}"
    return f"{bundle.family}, {model.variant}{where}, revision {bundle.revision}{after}"


def _run(model: LoadedModel, rows: list[list[int]], name: str, progress: Progress) -> FloatRows:
    """All rows in batches of similar length, as many in parallel as the engine has threads."""
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
