"""The three steps, with the real tokenizer and an engine that answers constant vectors."""

import asyncio
import dataclasses
import threading
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from predictor.access import Principal
from predictor.access.keys import ApiKey
from predictor.bundle.manifest import read_bundle
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
    RateLimited,
)
from predictor.repository import LoadedModel
from predictor.server.application import put_together
from predictor.server.model import ServedModel, TaskCall
from predictor.settings import RequestSettings, Settings
from predictor.tasks.embed import EMBED, EmbedRequest, EmbedResult
from predictor.tasks.tokenizer import DECODE, TOKENIZE, DecodeRequest, TokenizeRequest
from predictor.types import OutputType
from tests.deadlines import DEADLINE_S

TASKS = put_together().tasks
PROMPTS = {"query": "query: ", "passage": "passage: "}


@pytest.fixture
def loaded(bundle_dir: Path) -> LoadedModel:
    bundle = msgspec.structs.replace(read_bundle(bundle_dir), prompts=PROMPTS)
    tokenizer = Tokenizer(bundle_dir / "tokenizer.json", 16)
    return LoadedModel("m", "3", bundle, tokenizer, NullEngine(384, threads=1), "fp32")


def make(loaded: LoadedModel, **request: object) -> ServedModel:
    settings = Settings(request=RequestSettings(**request))  # type: ignore[arg-type]
    return ServedModel(loaded, settings, tasks=TASKS, on_fatal=lambda why: None)


@pytest.fixture
async def model(loaded: LoadedModel) -> AsyncIterator[ServedModel]:
    started = make(loaded, max_client_batch_size=8)
    started.start_answering()
    yield started
    await started.stop_answering()


def ask(*texts: str, **options: Any) -> TaskCall:
    return TaskCall(EMBED, EmbedRequest(inputs=list(texts), **options))


async def embedded(model: ServedModel, call: TaskCall) -> EmbedResult:
    result, _ = await model(call)
    assert isinstance(result, EmbedResult)
    return result


async def test_the_result_says_who_made_it(model: ServedModel) -> None:
    result = await embedded(model, ask("hello", "world " * 30))
    assert (result.model, result.version, result.revision) == ("m", "3", model.revision)
    assert result.vectors.shape == (2, 384)
    assert result.tokens == 3 + 16
    assert result.truncated == [1]
    np.testing.assert_allclose(np.linalg.norm(result.vectors, axis=1), 1, atol=1e-6)


async def test_dimensions_are_cut_and_normalised(model: ServedModel) -> None:
    result = await embedded(model, ask("hello", dimensions=16))
    assert result.vectors.shape == (1, 16)
    assert np.linalg.norm(result.vectors) == pytest.approx(1, abs=1e-6)


async def test_not_normalised_when_asked(model: ServedModel) -> None:
    result = await embedded(model, ask("hello", normalize=False))
    assert np.linalg.norm(result.vectors) > 2


async def test_other_types_beside_float(model: ServedModel) -> None:
    result = await embedded(
        model, ask("hello", output_types=(OutputType.FLOAT, OutputType.UBINARY))
    )
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
    model: ServedModel, options: dict[str, str], prompt: str
) -> None:
    prepared = await model.preprocess(ask("hello", **options))
    assert prepared.tokens.ids == model.loaded.tokenizer.encode([prompt + "hello"]).ids


async def test_long_texts_are_tokenised_elsewhere_and_alike(model: ServedModel) -> None:
    text = "word " * 800
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
async def test_a_request_that_cannot_be_served_is_one_sentence(
    model: ServedModel, request_: TaskCall, error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        await model(request_)


async def test_token_ids_can_be_refused(loaded: LoadedModel) -> None:
    model = make(loaded, token_ids="refuse")
    with pytest.raises(InvalidInput, match="check_embedding_ctx_length=False"):
        await model.preprocess(TaskCall(EMBED, EmbedRequest(inputs=[[7592]])))


async def test_a_model_that_is_not_started_is_not_ready(loaded: LoadedModel) -> None:
    model = make(loaded)
    assert not await model.healthy()
    with pytest.raises(NotReady):
        await model(ask("a"))


def test_default_prompts(loaded: LoadedModel) -> None:
    assert make(loaded, default_prompt="x: ").context.prompt_for(None) == "x: "
    assert make(loaded, default_prompt_name="query").context.prompt_for(None) == "query: "
    assert make(loaded, no_default_prompt=True).context.prompt_for(None) == ""
    with pytest.raises(BadSetting, match="the model has prompts passage, query"):
        make(loaded, default_prompt_name="nope")
    with pytest.raises(BadSetting, match="only one of them may be set"):
        make(loaded, default_prompt="x", default_prompt_name="query")


async def test_a_matryoshka_model_is_cut_where_it_was_trained_to_be(loaded: LoadedModel) -> None:
    bundle = msgspec.structs.replace(loaded.bundle, matryoshka=(64, 128))
    model = make(dataclasses.replace(loaded, bundle=bundle))
    model.start_answering()
    try:
        for dimensions in (64, 128, 384):
            result = await embedded(model, ask("a", dimensions=dimensions))
            assert result.vectors.shape == (1, dimensions)
        with pytest.raises(
            InvalidInput, match=r"dimensions is 100; .* trained to be cut to 64, 128"
        ):
            await model(ask("a", dimensions=100))
    finally:
        await model.stop_answering()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a" * 4001, r"inputs\[1\] has 4001 characters; the limit is 4000 \(--max-text-char"),
        ("word " * 700, None),
    ],
)
async def test_characters_are_counted_before_texts_are_tokenised(
    model: ServedModel, text: str, sentence: str | None
) -> None:
    """The default limit is 250 for each of the model's 16 tokens."""
    if sentence is None:
        assert (await embedded(model, ask("a", text))).truncated == [1]
        return
    model.loaded.tokenizer.ids = None  # type: ignore[assignment,method-assign]  # not called
    with pytest.raises(InputTooLong, match=sentence):
        await model(ask("a", text))


async def test_the_limit_of_characters_can_be_set(loaded: LoadedModel) -> None:
    model = make(loaded, max_text_characters=10)
    with pytest.raises(InputTooLong, match=r"inputs\[0\] has 11 characters; the limit is 10"):
        await model.preprocess(ask("a" * 11))
    with pytest.raises(InputTooLong, match=r"inputs\[0\] has 11 token ids; the limit is 10"):
        await model.preprocess(TaskCall(EMBED, EmbedRequest(inputs=[[7] * 11])))
    with pytest.raises(InputTooLong, match=r"inputs\[0\] has 11 characters; the limit is 10"):
        await model.preprocess(TaskCall(TOKENIZE, TokenizeRequest(texts=["a" * 11])))
    with pytest.raises(InputTooLong, match=r"ids\[0\] has 11 token ids; the limit is 10"):
        await model.preprocess(TaskCall(DECODE, DecodeRequest(ids=[[7] * 11])))


async def test_the_tools_answers_are_bounded(loaded: LoadedModel) -> None:
    model = make(loaded)
    with pytest.raises(InputTooLong, match="have 132000 characters in all; the limit is 131072"):
        await model.preprocess(TaskCall(TOKENIZE, TokenizeRequest(texts=["a" * 4000] * 33)))
    with pytest.raises(InputTooLong, match="have 132000 token ids in all; the limit is 131072"):
        await model.preprocess(TaskCall(DECODE, DecodeRequest(ids=[[7] * 4000] * 33)))


async def test_a_deadline_is_at_most_the_servers(loaded: LoadedModel) -> None:
    model = make(loaded, request_timeout_ms=5000)
    now = asyncio.get_running_loop().time
    for timeout_s, most_s in ((None, 5.0), (1e9, 5.0), (2.0, 2.0)):
        before = now()
        prepared = await model.preprocess(ask("a", timeout_s=timeout_s))
        assert before + most_s <= prepared.deadline <= now() + most_s


def principal(minute: int = 0, request: int = 0) -> Principal:
    key = ApiKey(name="client", sha256="", tokens_per_minute=minute, tokens_per_request=request)
    return Principal(b"", key)


class Till(Principal):
    """Remembers how many tokens its requests had."""

    def __init__(self) -> None:
        super().__init__(b"", ApiKey(name="client", sha256=""))
        self.counts: list[int] = []

    def settle_tokens(self, charged: int, count: int, now: float) -> None:
        self.counts.append(count)


async def test_tokens_are_charged_as_they_were_sent(model: ServedModel) -> None:
    client = Till()
    for text in ("hello", "word " * 100, "word " * 600, " " * 3000):
        await model.preprocess(TaskCall(EMBED, EmbedRequest(inputs=[text]), client))
    assert client.counts == [3, 102, 750, 750]


async def test_long_texts_are_charged_before_they_are_tokenised(model: ServedModel) -> None:
    client = principal(minute=100)
    client.charge_tokens(50, time.monotonic())
    model.loaded.tokenizer.ids = None  # type: ignore[assignment,method-assign]  # not called
    with pytest.raises(RateLimited, match="this request has 1000"):
        await model(TaskCall(EMBED, EmbedRequest(inputs=["word " * 800]), client))


async def test_a_key_may_have_a_cap_for_each_request(model: ServedModel) -> None:
    client = principal(request=20)
    await model(TaskCall(EMBED, EmbedRequest(inputs=["word " * 18]), client))
    for text in ("word " * 19, "word " * 800):
        with pytest.raises(BatchTooLarge, match="the API key 'client' may send 20 in a request"):
            await model(TaskCall(EMBED, EmbedRequest(inputs=[text]), client))


async def test_a_thread_ends_early_if_the_client_leaves(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make(loaded)
    request = EmbedRequest(inputs=["word " * 700] * 1000)
    entered = threading.Event()
    left = threading.Event()
    encode = Tokenizer._content

    def slow(tokenizer: Tokenizer, parts: Sequence[str]) -> list[list[int]]:
        entered.set()
        assert left.wait(DEADLINE_S)
        return encode(tokenizer, parts)

    monkeypatch.setattr(Tokenizer, "_content", slow)
    call = asyncio.create_task(model.preprocess(TaskCall(EMBED, request)))
    assert await asyncio.to_thread(entered.wait, DEADLINE_S)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert request.abandoned
    left.set()
    model._tokenizing.shutdown(wait=True)  # its thread had 999 texts left
