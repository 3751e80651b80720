"""The three steps, with the real tokenizer and an engine that answers constant vectors."""

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from predictor.engine.bundle import read_bundle
from predictor.engine.engine import NullEngine
from predictor.engine.tokenizer import Tokenizer
from predictor.errors import (
    BadSetting,
    BatchTooLarge,
    DeadlineExceeded,
    EmptyInput,
    InputTooLong,
    InvalidInput,
    NotReady,
)
from predictor.repository import LoadedModel
from predictor.server.model import EmbeddingModel
from predictor.settings import RequestSettings, Settings
from predictor.types import EmbedRequest, OutputType

PROMPTS = {"query": "query: ", "passage": "passage: "}


@pytest.fixture
def loaded(bundle_dir: Path) -> LoadedModel:
    bundle = msgspec.structs.replace(read_bundle(bundle_dir), prompts=PROMPTS)
    tokenizer = Tokenizer(bundle_dir / "tokenizer.json", 16)
    return LoadedModel("m", "3", bundle, tokenizer, NullEngine(384, threads=1), "fp32")


def make(loaded: LoadedModel, **request: object) -> EmbeddingModel:
    limits = dataclasses.replace(RequestSettings(), **request)  # type: ignore[arg-type]
    settings = dataclasses.replace(Settings(), request=limits)
    return EmbeddingModel(loaded, settings, on_fatal=lambda why: None)


@pytest.fixture
async def model(loaded: LoadedModel) -> AsyncIterator[EmbeddingModel]:
    started = make(loaded, max_client_batch_size=8)
    started.start_answering()
    yield started
    await started.stop_answering()


def ask(*texts: str, **options: object) -> EmbedRequest:
    return EmbedRequest(inputs=list(texts), protocol="v2", **options)  # type: ignore[arg-type]


async def test_the_result_says_who_made_it(model: EmbeddingModel) -> None:
    result, _ = await model(ask("hello", "world " * 30))
    assert (result.model, result.version, result.revision) == ("m", "3", model.revision)
    assert result.vectors.shape == (2, 384)
    assert result.tokens == 3 + 16
    assert result.truncated == [1]
    np.testing.assert_allclose(np.linalg.norm(result.vectors, axis=1), 1, atol=1e-6)


async def test_dimensions_are_cut_and_normalised(model: EmbeddingModel) -> None:
    result, _ = await model(ask("hello", dimensions=16))
    assert result.vectors.shape == (1, 16)
    assert np.linalg.norm(result.vectors) == pytest.approx(1, abs=1e-6)


async def test_not_normalised_when_asked(model: EmbeddingModel) -> None:
    result, _ = await model(ask("hello", normalize=False))
    assert np.linalg.norm(result.vectors) > 2


async def test_other_types_beside_float(model: EmbeddingModel) -> None:
    result, _ = await model(ask("hello", output_types=(OutputType.FLOAT, OutputType.UBINARY)))
    assert list(result.quantized) == [OutputType.UBINARY]
    assert result.quantized[OutputType.UBINARY].shape == (1, 48)


@pytest.mark.parametrize(
    ("options", "prompt"),
    [
        ({"prompt_name": "query"}, "query: "),
        ({"input_type": "search_document"}, "passage: "),
        ({"input_type": "clustering"}, ""),
        ({}, ""),
    ],
)
async def test_the_prompt_stands_before_the_text(
    model: EmbeddingModel, options: dict[str, str], prompt: str
) -> None:
    prepared = await model.preprocess(ask("hello", **options))
    assert prepared.tokens.ids == model.loaded.tokenizer.encode([prompt + "hello"]).ids


async def test_long_texts_are_tokenised_elsewhere_and_alike(model: EmbeddingModel) -> None:
    text = "word " * 5000
    prepared = await model.preprocess(ask(text))
    assert prepared.tokens.ids == model.loaded.tokenizer.encode([text]).ids


@pytest.mark.parametrize(
    ("request_", "error", "sentence"),
    [
        (ask(), EmptyInput, "no inputs"),
        (ask(*["a"] * 9), BatchTooLarge, "9 inputs; the limit is 8"),
        (ask("a", dimensions=0), InvalidInput, "dimensions is 0; this model gives 1 to 384"),
        (ask("a", dimensions=385), InvalidInput, "dimensions is 385"),
        (ask("a", prompt_name="x"), InvalidInput, "'x' is unknown; this model has passage, query"),
        (ask("a " * 40, truncate=False), InputTooLong, "42 tokens; the model takes 16"),
        (ask("a", timeout_s=0.0), DeadlineExceeded, "the deadline passed"),
    ],
)
async def test_what_cannot_be_done_is_a_sentence(
    model: EmbeddingModel, request_: EmbedRequest, error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        await model(request_)


async def test_token_ids_can_be_refused(loaded: LoadedModel) -> None:
    model = make(loaded, token_ids="refuse")
    with pytest.raises(InvalidInput, match="check_embedding_ctx_length=False"):
        await model.preprocess(EmbedRequest(inputs=[[7592]], protocol="openai"))


async def test_a_model_that_is_not_started_is_not_ready(loaded: LoadedModel) -> None:
    model = make(loaded)
    assert not await model.healthy()
    with pytest.raises(NotReady):
        await model(ask("a"))


def test_default_prompts(loaded: LoadedModel) -> None:
    assert make(loaded, default_prompt="x: ").prompt_for(None) == "x: "
    assert make(loaded, default_prompt_name="query").prompt_for(None) == "query: "
    with pytest.raises(BadSetting, match="the model has prompts passage, query"):
        make(loaded, default_prompt_name="nope")
    with pytest.raises(BadSetting, match="give one of them"):
        make(loaded, default_prompt="x", default_prompt_name="query")


async def test_a_matryoshka_model_is_cut_where_it_was_trained_to_be(loaded: LoadedModel) -> None:
    bundle = msgspec.structs.replace(loaded.bundle, matryoshka=(64, 128))
    model = make(dataclasses.replace(loaded, bundle=bundle))
    model.start_answering()
    try:
        for dimensions in (64, 128, 384):
            result, _ = await model(ask("a", dimensions=dimensions))
            assert result.vectors.shape == (1, dimensions)
        with pytest.raises(
            InvalidInput, match=r"dimensions is 100; .* trained to be cut to 64, 128"
        ):
            await model(ask("a", dimensions=100))
    finally:
        await model.stop_answering()
