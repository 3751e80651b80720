"""What is wrong with answers, and how long a server that is not ready is asked again."""

import re
import socket
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from predictor.comparison import exchange, probe
from predictor.errors import BadModel, BadSetting
from tests.unit.comparison.test_endpoint import answering, inferred


def found(**changes: Any) -> probe.Found:
    """Right answers of a model with three dimensions, but for the changes."""
    batch = np.eye(3, dtype=np.float32)[[0, 1, 2, 1, 0, 1, 2, 0]]
    vector = np.array([0, 2, 0], dtype=np.float32)  # the model does not normalise by itself
    return replace(probe.Found("m", "4", "abc", 3, vector, batch, 1.0), **changes)


def batch_with(row: int, *numbers: float) -> Any:
    batch = found().batch.copy()
    batch[row] = numbers
    return batch


def expected(*components: float) -> probe.Expected:
    return probe.Expected(components, 0.001)


def test_right_answers() -> None:
    assert probe.wrong(found(), "", None) is None
    assert probe.wrong(found(), "4", expected(0, 2.0009)) is None
    tilted = batch_with(probe.PLACE, 0.012, 0.999928, 0)  # cosine 0.99993
    assert probe.wrong(found(batch=tilted), "", None) is None


WRONG: dict[str, tuple[probe.Found, str]] = {
    "narrower than told": (found(dimensions=4), "3 dimensions alone and 3 in a batch; .* says 4"),
    "narrower in a batch": (found(batch=np.ones((8, 2), np.float32)), "3 dimensions .* and 2 in"),
    "another version": (found(version="5"), "version 4 was asked for, version 5 answered"),
    "no number": (found(vector=np.array([0, np.nan, 0], np.float32)), "no finite number"),
    "infinite": (found(batch=batch_with(7, np.inf, 0, 0)), "no finite number"),
    "not as expected": (
        found(vector=np.array([0, 2.01, 0], np.float32)),
        r"component 2 of the vector is 2\.01, expected is 2 within 0\.001",
    ),
    "not normalised": (found(batch=batch_with(0, 0, 0.9, 0)), r"has the length 0\.9, not 1"),
    "another vector in a batch": (
        found(batch=batch_with(probe.PLACE, 0.02, 0.9998, 0)),
        r"alone than in a batch: cosine 0\.9998\d\d, wanted is 0\.9999",
    ),
    "the opposite vector in a batch": (
        found(batch=batch_with(probe.PLACE, 0, -1, 0)),
        r"cosine -1\.000000",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_each_fault_is_told(name: str) -> None:
    answers, sentence = WRONG[name]
    told = probe.wrong(answers, "4", expected(0, 2))
    assert told is not None
    assert re.search(sentence, told)
    assert "\n" not in told


def test_a_vector_of_zeros_has_no_direction() -> None:
    told = probe.wrong(found(vector=np.zeros(3, np.float32)), "", None)
    assert told == "the vector of the text is all zeros"


def test_more_components_expected_than_there_are() -> None:
    told = probe.wrong(found(), "", expected(0, 2, 0, 0))
    assert told == "4 numbers are expected, the vector has 3"


class Clock:
    """Time that passes only where somebody sleeps or works."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def patiently(timeout_s: float, *errors: Exception, work_s: float = 0.0) -> tuple[str, list[float]]:
    """What an attempt gives that fails so before; and what each was told to have left."""
    clock, left, failures = Clock(), [], list(errors)

    def attempt(left_s: float) -> str:
        left.append(left_s)
        clock.sleep(work_s)
        if failures:
            raise failures.pop(0)
        return "done"

    return probe.patiently(timeout_s, attempt, clock=clock, sleep=clock.sleep), left


NOBODY = exchange.Unreachable("http://h: cannot be reached (Connection refused)")


def refused(status: int) -> exchange.Refused:
    return exchange.Refused(f"http://h: is answered {status}", status)


def test_a_server_that_is_not_ready_is_asked_again() -> None:
    done, left = patiently(10, NOBODY, refused(503), refused(429), refused(502), work_s=1.0)
    assert done == "done"
    assert left == [10, 8.5, 7, 5.5, 4]


def test_the_time_is_over() -> None:
    with pytest.raises(BadModel, match=r"^not ready within 2 s: http://h: cannot be reached"):
        patiently(2, *[NOBODY] * 9)
    assert patiently(2, *[NOBODY] * 3)[0] == "done"


@pytest.mark.parametrize(
    "error",
    [refused(404), refused(401), refused(500), BadModel("no JSON"), BadSetting("untrusted")],
)
def test_what_does_not_pass_is_told_at_once(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        patiently(10, error)
    assert caught.value is error


def test_the_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text alone as any client sends it, and among others, both past the cache."""
    asked: list[Any] = []

    def answer(path: str, body: Any) -> tuple[int, bytes]:
        if body is None:
            return 200, b'{"outputs": [{"name": "embedding", "shape": [-1, 3]}]}'
        asked.append((body["parameters"], body["inputs"][0]["data"]))
        return 200, inferred(asked[-1][1])

    with answering(answer) as url:
        got = probe.ask(exchange.parse(f"{url}/v2/models/m"), "hello")
    (together, texts), (by_itself, text) = asked
    assert by_itself == {"cache": False}
    assert together == {"cache": False, "normalize": True}
    assert text == ["hello"]
    assert len(texts) == 8
    assert texts.index("hello") == probe.PLACE
    assert len({len(one) for one in texts}) > 5
    assert (got.model, got.version, got.revision, got.dimensions) == ("m", "4", "abc123", 3)
    assert got.vector.tolist() == [5, 5, 5]
    assert got.batch.shape == (8, 3)


@pytest.mark.parametrize(
    "content",
    [
        b'{"outputs": []}',
        b'{"outputs": [{"name": "embedding", "shape": [-1, -1]}]}',
        b'{"outputs": [{"name": "embedding", "shape": []}]}',
    ],
)
def test_metadata_that_does_not_tell_the_dimensions(content: bytes) -> None:
    with (
        answering(lambda path, body: (200, content)) as url,
        pytest.raises(BadModel, match="does not tell how many dimensions"),
    ):
        probe.ask(exchange.parse(f"{url}/v2/models/m"), "hello")


@pytest.mark.parametrize(("status", "passing"), [(503, True), (404, False)])
def test_of_a_refusal_the_status_decides(status: int, passing: bool) -> None:
    with (
        answering(lambda path, body: (status, b"{}")) as url,
        pytest.raises(exchange.Refused) as caught,
    ):
        probe.ask(exchange.parse(f"{url}/v2/models/m"), "hello")
    assert probe.is_passing(caught.value) is passing


def test_that_nobody_is_there_may_pass() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(exchange.Unreachable) as caught:
        probe.ask(exchange.parse(f"http://127.0.0.1:{port}"), "hello")
    assert probe.is_passing(caught.value)
