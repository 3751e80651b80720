"""Copies for a canary: what is copied, what is dropped, and how little a bad canary can do."""

import asyncio
import gc
import logging
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import numpy as np
import pytest
from prometheus_client import REGISTRY

from predictor.errors import InvalidInput, ModelNotFound
from predictor.repository import RoutingTable
from predictor.server.model import ServedModel
from predictor.server.shadow import shadow as shadow_module
from predictor.server.shadow import trial
from predictor.server.shadow.copies import MAX_CHARACTERS, MAX_TEXTS, fitting
from predictor.server.shadow.shadow import MAX_COPIES, ShadowSender
from predictor.server.shadow.trial import ShadowOrder
from predictor.tasks.embed import EmbedRequest
from predictor.types import FloatRows, Tokens
from tests.deadlines import DEADLINE_S
from tests.unit.server.watch.canaries import (
    Canary,
    Dripping,
    canary,
    content,
    hang_up,
    hanging,
    inferred,
    vectors,
)

DIMENSIONS = 4
SECRET = "a text of a client"


class Clock:
    """Seconds that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Version:
    """As much of a model as has a shadow."""

    def __init__(self, number: str = "1", name: str = "shadowed") -> None:
        self.name, self.version, self.revision = name, number, f"r{number}"
        self.loaded = SimpleNamespace(bundle=SimpleNamespace(dimensions=DIMENSIONS))
        self.observers: tuple[Any, ...] = ()
        self.context = SimpleNamespace(
            default_prompt="",
            configuration=SimpleNamespace(id="c1"),
            prompt_for=lambda name, input_type: "" if name is None else "query: ",
        )

    def observe(self, task: str, observer: Any) -> None:
        assert task == "embed"
        self.observers = (*self.observers, observer)

    def stop_observing(self, task: str, observer: Any) -> None:
        assert task == "embed"
        self.observers = tuple(other for other in self.observers if other != observer)


class Answering:
    """Stands for `RoutingTable`."""

    def __init__(self, *models: Version) -> None:
        self.models = list(models)

    def all(self) -> list[Version]:
        return self.models

    def find(self, name: str) -> Version:
        for model in self.models:
            if model.name == name:
                return model
        raise ModelNotFound(f"model {name} is not served here")


def vector_of(text: str) -> list[float]:
    return [1.0, float(len(text)), float(sum(map(ord, text)) % 97), 0.5]


def rows_of(texts: list[str]) -> FloatRows:
    return np.array([vector_of(text) for text in texts], np.float32)


def send(model: Version, *texts: str, **options: Any) -> None:
    """A request that was answered."""
    request = EmbedRequest(inputs=list(texts), **options)
    for observe in model.observers:
        observe(request, Tokens([[1]] * len(texts)), rows_of(list(texts)))


def order(url: str = "http://canary", **fields: Any) -> ShadowOrder:
    body = {"url": url, "model": "shadowed", "share": 1.0, "seconds": 60.0} | fields
    return msgspec.convert(body, ShadowOrder)


def made(models: Answering, clock: Clock | None = None, **settings: Any) -> ShadowSender:
    return ShadowSender(cast(RoutingTable[ServedModel], models), clock=clock or Clock(), **settings)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow_module, "POLL_S", 0.002)
    monkeypatch.setattr(shadow_module, "REST_S", 0.0)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow_module, "TIMEOUT_S", 0.1)
    monkeypatch.setattr(trial, "TIMEOUT_S", 0.1)


@pytest.fixture
def good() -> Iterator[Canary]:
    with canary(vectors(vector_of)) as running:
        yield running


def fatal(why: str) -> None:
    raise AssertionError(why)


@asynccontextmanager
async def running(shadow: ShadowSender) -> AsyncIterator[ShadowSender]:
    shadow.start(fatal)
    try:
        yield shadow
    finally:
        await shadow.stop()


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not true():  # noqa: ASYNC110  # it is the state of another thread too
            await asyncio.sleep(0.001)


def sample(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


def counted(outcome: str) -> float:
    return sample("predictor_shadow_texts_total", outcome=outcome) or 0.0


def cosine(model: Version) -> float | None:
    name = "predictor_shadow_min_cosine"
    return sample(name, model=model.name, version=model.version)


# What is copied


async def test_what_a_client_got_is_compared_with_what_the_canary_gives(good: Canary) -> None:
    model = Version()
    before = counted("compared")
    async with running(made(Answering(model))) as shadow:
        shadow.begin(order(good.url, key="k-1"))
        send(model, "one", "two", "three")
        await until(lambda: shadow.report().totals.compared == 3)
        totals = shadow.report().totals
        assert cosine(model) == pytest.approx(1.0)
    assert good.texts == ["one", "two", "three"]
    assert good.path == "/v2/models/shadowed/infer"
    assert good.parameters["cache"] == "off"
    assert good.parameters["priority"] == "ingest"
    assert good.parameters["normalize"] is False
    assert good.headers["Authorization"] == "Bearer k-1"
    assert (totals.stable_dimensions, totals.dimensions) == (DIMENSIONS, {DIMENSIONS: 3})
    assert totals.smallest == pytest.approx(1.0)
    assert totals.histogram == [3, 0, 0, 0, 0, 0, 0]
    assert counted("compared") == before + 3
    assert cosine(model) is None


async def test_another_vector_is_told_by_its_cosine() -> None:
    model = Version()
    turned = vectors(lambda text: [-n for n in vector_of(text)] if "b" in text else vector_of(text))
    with canary(turned) as other:
        async with running(made(Answering(model))) as shadow:
            shadow.begin(order(other.url))
            send(model, "a", "b", "c")
            await until(lambda: shadow.report().totals.compared == 3)
            totals = shadow.report().totals
    assert totals.smallest == pytest.approx(-1.0)
    assert totals.mean == pytest.approx(1 / 3)
    assert totals.histogram == [2, 0, 0, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("inputs", "count"),
    [
        (["a"], 1),
        (["a"] * MAX_TEXTS, MAX_TEXTS),
        (["a"] * 500, MAX_TEXTS),
        (["a" * MAX_CHARACTERS], 1),
        (["a" * MAX_CHARACTERS, "b"], 1),
        (["a" * (MAX_CHARACTERS + 1)], 0),
        (["a", "b" * MAX_CHARACTERS, "c"], 1),
        ([""], 1),
    ],
)
def test_a_few_texts_of_a_request_and_not_too_long(inputs: list[str], count: int) -> None:
    assert fitting(inputs) == count


def test_requests_are_drawn_by_their_share() -> None:
    model, draws = Version(), iter([0.04, 0.05, 0.9, 0.0])
    shadow = made(Answering(model), draw=lambda: next(draws))
    shadow.begin(order(share=0.05))
    for text in ("taken", "not", "not", "taken too"):
        send(model, text)
    assert waiting(shadow) == [["taken"], ["taken too"]]


def waiting(shadow: ShadowSender) -> list[list[str]]:
    """Copies that would be sent next."""
    queue = shadow._copies
    return [queue.get_nowait()[1].texts for _ in range(queue.qsize())]


async def test_what_cannot_be_compared_is_left_out() -> None:
    model = Version()
    shadow = made(Answering(model))
    shadow.begin(order())
    (observe,) = cast(Any, model.observers)
    observe(EmbedRequest(inputs=[[5, 6]]), Tokens([[5, 6]]), rows_of(["ids"]))
    send(model, "of a prompt that it may not have", prompt_name="query")
    send(model, "a" * (MAX_CHARACTERS + 1))
    cut = Tokens([[1]], [0])
    left = EmbedRequest(inputs=["cut on the left"], truncation_direction="left")
    observe(left, cut, rows_of(["cut on the left"]))
    observe(EmbedRequest(inputs=["cut"]), cut, rows_of(["cut"]))
    assert waiting(shadow) == [["cut"]]


async def test_a_full_queue_drops_what_comes() -> None:
    model = Version()
    shadow, before = made(Answering(model)), counted("dropped")
    shadow.begin(order())
    for _ in range(MAX_COPIES + 3):
        send(model, "one", "two")
    assert shadow.report().totals.dropped == 6
    assert counted("dropped") == before + 6
    assert shadow.end().totals.dropped == 2 * (MAX_COPIES + 3)
    assert waiting(shadow) == []


def test_the_copy_is_of_the_rows_and_not_of_what_becomes_of_them() -> None:
    model = Version()
    shadow = made(Answering(model))
    shadow.begin(order())
    rows = rows_of(["a"])
    (observe,) = cast(Any, model.observers)
    observe(EmbedRequest(inputs=["a"]), Tokens([[1]]), rows)
    rows[:] = 0.0
    assert shadow._copies.get_nowait()[1].rows.tolist() == [vector_of("a")]


# How long


def test_a_shadow_ends_unless_it_is_renewed() -> None:
    model, clock = Version(), Clock()
    shadow = made(Answering(model), clock)
    report = shadow.begin(order(seconds=60.0))
    assert (report.active, report.left_s, report.age_s) == (True, 60.0, 0.0)
    clock.now += 50.0
    assert shadow.begin(order(seconds=60.0)).age_s == 50.0
    clock.now += 59.0
    shadow.end_if_expired()
    assert shadow.report().active
    send(model, "in time")
    clock.now += 1.0
    send(model, "too late")  # nobody has looked since
    assert not shadow.report().active
    assert waiting(shadow) == [["in time"]]
    shadow.end_if_expired()
    assert model.observers == ()
    clock.now += 1000.0
    report = shadow.report()
    assert (report.active, report.age_s, report.left_s) == (False, 110.0, 0.0)


def test_one_that_ended_goes_on_where_it_was_for_the_same_controller() -> None:
    model, clock = Version(), Clock()
    shadow = made(Answering(model), clock)
    shadow.begin(order(seconds=60.0, id="a"))
    shadow.report().totals.compared = 7
    clock.now += 500.0
    shadow.end_if_expired()
    report = shadow.begin(order(seconds=60.0, id="a"))
    assert (report.active, report.age_s, report.totals.compared) == (True, 60.0, 7)
    assert model.observers == (shadow.observe,)


@pytest.mark.parametrize("other", [{"id": "b"}, {"url": "http://another"}])
def test_a_shadow_of_another_canary_counts_from_zero(other: dict[str, str]) -> None:
    model, clock = Version(), Clock()
    shadow = made(Answering(model), clock)
    shadow.begin(order(id="a"))
    send(model, "of the first")
    shadow.report().totals.compared = 7
    clock.now += 5.0
    report = shadow.begin(order(**{"id": "a"} | other))
    assert (report.age_s, report.totals.compared) == (0.0, 0)
    assert waiting(shadow) == []
    assert model.observers == (shadow.observe,)


def test_a_shadow_can_be_ended() -> None:
    model = Version()
    shadow = made(Answering(model))
    shadow.begin(order())
    send(model, "a")
    shadow.report().totals.compared = 7
    last = shadow.end()
    assert (last.active, last.totals.compared) == (False, 7)
    assert model.observers == ()
    assert waiting(shadow) == []
    assert shadow.end() == shadow.report()
    assert shadow.report().totals.compared == 0


def test_a_version_that_is_gone_is_let_go() -> None:
    model, other = Version("1"), Version("2")
    models = Answering(model)
    shadow = made(models)
    shadow.begin(order())
    model.observers = (fatal, *model.observers)  # somebody else's stays
    models.models = [other]
    shadow.end_if_expired()
    assert model.observers == (fatal,)
    reference = weakref.ref(model)
    del model
    assert reference() is None
    assert shadow.begin(order()).version == "2"
    assert other.observers == (shadow.observe,)


@pytest.mark.parametrize(
    "url", ["", "ftp://x", "canary:8080", "http://canary/v2/models/m", "http://a b:x", "http://"]
)
def test_an_address_that_is_none_changes_nothing(url: str) -> None:
    model = Version()
    shadow = made(Answering(model))
    with pytest.raises(InvalidInput, match=r"^url: "):
        shadow.begin(order(url))
    assert (model.observers, shadow.report().active) == ((), False)


def test_a_model_that_is_not_here() -> None:
    shadow = made(Answering(Version()))
    with pytest.raises(ModelNotFound):
        shadow.begin(order(model="another"))


# Bad canaries

BAD: dict[str, Any] = {
    "hangs": hanging,
    "hangs up": hang_up,
    "is broken": content(f'{{"error": "cannot embed {SECRET}"}}'.encode(), 500),
    "is loading": content(b"{}", 503),
    "no JSON": content(b"\xff<html>"),
    "other JSON": content(b"[1, 2]"),
    "no vectors": content(b'{"outputs": []}'),
    "too few": content(inferred([[1.0] * DIMENSIONS])),
    "not numbers": content(inferred([[1.0] * 4] * 2).replace(b"1.0", b"NaN")),
    "null": content(inferred([[1.0] * 4] * 2).replace(b"1.0", b"null")),
    "too large": content(inferred([[1e300] * 4] * 2)),
    "zeros": content(inferred([[0.0] * 4] * 2)),
    "width 0": content(b'{"outputs": [{"name": "embedding", "shape": [2, 0], "data": []}]}'),
    "shape lies": content(inferred([[1.0] * 4] * 2).replace(b"[2, 4]", b"[2, 9]")),
}


@pytest.mark.usefixtures("impatient")
@pytest.mark.filterwarnings("ignore:overflow encountered")
@pytest.mark.parametrize("kind", BAD)
async def test_a_bad_canary_is_counted(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    model, before = Version(), counted("failed")
    with canary(BAD[kind]) as bad:
        async with running(made(Answering(model))) as shadow:
            shadow.begin(order(bad.url))
            send(model, SECRET, "another")
            await until(lambda: shadow.report().totals.failed == 2)
            send(model, SECRET, "another")
            await until(lambda: shadow.report().totals.failed == 4)
            totals = shadow.report().totals
    assert (totals.compared, totals.dropped, totals.smallest) == (0, 0, None)
    assert totals.invalid == (4 if kind in ("zeros", "too large", "width 0") else 0)
    assert counted("failed") == before + 4
    assert caplog.text.count("the canary at ") == 1
    assert SECRET not in caplog.text


@pytest.mark.usefixtures("impatient")
async def test_a_canary_that_is_away(caplog: pytest.LogCaptureFixture) -> None:
    model = Version()
    async with running(made(Answering(model))) as shadow:
        shadow.begin(order("http://127.0.0.1:9"))
        send(model, "a")
        await until(lambda: shadow.report().totals.failed == 1)
    assert "Unreachable" in caplog.text


async def test_a_canary_without_room_is_not_a_bad_one() -> None:
    model = Version()
    with canary(content(b'{"error": "full"}', 429)) as busy:
        async with running(made(Answering(model))) as shadow:
            shadow.begin(order(busy.url))
            send(model, "a", "b")
            await until(lambda: shadow.report().totals.dropped == 2)
            assert shadow.report().totals.failed == 0


async def test_other_dimensions_are_told() -> None:
    model = Version()
    with canary(vectors(lambda text: [1.0] * 6)) as other:
        async with running(made(Answering(model))) as shadow:
            shadow.begin(order(other.url))
            send(model, "a", "b")
            await until(lambda: shadow.report().totals.compared == 2)
            totals = shadow.report().totals
    assert (totals.stable_dimensions, totals.dimensions, totals.cosines) == (DIMENSIONS, {6: 2}, 0)
    assert cosine(model) is None


async def test_a_vector_of_our_own_that_is_none_says_nothing(good: Canary) -> None:
    model = Version()
    async with running(made(Answering(model))) as shadow:
        shadow.begin(order(good.url))
        (observe,) = cast(Any, model.observers)
        rows = rows_of(["a", "b"])
        rows[0] = np.nan
        observe(EmbedRequest(inputs=["a", "b"]), Tokens([[1], [1]]), rows)
        await until(lambda: shadow.report().totals.compared == 1)
        totals = shadow.report().totals
    assert (totals.dropped, totals.failed, totals.invalid) == (1, 0, 0)


@pytest.mark.usefixtures("impatient")
async def test_an_answer_without_an_end_keeps_nobody_waiting() -> None:
    model, clock, dripping = Version(), Clock(), Dripping()
    with canary(dripping) as bad:
        async with running(made(Answering(model), clock)) as shadow:
            shadow.begin(order(bad.url))
            send(model, "a")
            await until(lambda: shadow.report().totals.failed == 1)
            for _ in range(MAX_COPIES + 1):
                send(model, "b")
            assert shadow.report().totals.dropped == 1
            # It ends in its time, whatever the canary does.
            clock.now += 60.0
            await until(lambda: not model.observers)
            assert shadow.report().totals.failed == 1
        dripping.enough.set()


@pytest.mark.usefixtures("impatient")
async def test_a_shadow_goes_on_after_a_bad_answer() -> None:
    model, answers = Version(), iter([hanging, vectors(vector_of)])

    def in_turn(handler: BaseHTTPRequestHandler, texts: list[str]) -> None:
        next(answers)(handler, texts)

    with canary(in_turn) as mending:
        async with running(made(Answering(model))) as shadow:
            shadow.begin(order(mending.url))
            send(model, "a")
            send(model, "b", "c")
            await until(lambda: shadow.report().totals.compared == 2)
            assert shadow.report().totals.failed == 1


# What is not kept


class Text(str):
    """A text of which it can be seen whether somebody still has it."""


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("kind", ["good", *BAD])
@pytest.mark.filterwarnings("ignore:overflow encountered")
async def test_no_text_outlives_its_comparison(kind: str) -> None:
    model = Version()
    with canary(BAD.get(kind) or vectors(vector_of)) as other:
        async with running(made(Answering(model))) as shadow:
            shadow.begin(order(other.url))
            texts = [Text("kept?"), Text("not kept")]
            kept = [weakref.ref(text) for text in texts]
            gc.disable()  # nothing may wait for the collector
            try:
                send(model, *texts)
                del texts
                await until(lambda: done(shadow) == 2)
                await until(lambda: [reference() for reference in kept] == [None, None])
            finally:
                gc.enable()
            send(model, "and it goes on")
            await until(lambda: done(shadow) == 3)


def done(shadow: ShadowSender) -> int:
    totals = shadow.report().totals
    return totals.compared + totals.failed


async def test_no_text_outlives_the_shadow() -> None:
    model = Version()
    shadow = made(Answering(model))
    shadow.begin(order())
    text = Text("waits")
    kept = weakref.ref(text)
    send(model, text)
    del text
    assert kept() is not None
    shadow.end()
    assert kept() is None


async def test_what_fails_here_ends_the_copies_and_no_request_sees_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = Version()
    shadow = made(Answering(model))
    shadow.begin(order())
    (observe,) = cast(Any, model.observers)
    observe(EmbedRequest(inputs=[SECRET]), Tokens([[1]]), cast(Any, None))
    assert model.observers == ()
    assert "TypeError" in caplog.text
    assert SECRET not in caplog.text
