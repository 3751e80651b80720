"""What is wrong with answers, and how long a server that is not ready is asked again."""

import re
import socket
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from predictor.client import http, probe
from predictor.errors import BadModel, BadSetting
from tests.unit.client.test_v2 import answering, inferred


def answer(**changes: Any) -> probe.ProbeAnswer:
    """Right answers of a model with three dimensions, but for the changes."""
    batch = np.eye(3, dtype=np.float32)[[0, 1, 2, 1, 0, 1, 2, 0]]
    vector = np.array([0, 2, 0], dtype=np.float32)  # the model does not normalise by itself
    return replace(probe.ProbeAnswer("m", "4", "abc", 3, vector, batch, 1.0), **changes)


def batch_with(row: int, *numbers: float) -> Any:
    batch = answer().batch.copy()
    batch[row] = numbers
    return batch


def expected(*components: float) -> probe.ExpectedComponents:
    return probe.ExpectedComponents(components, 0.001)


def test_right_answers() -> None:
    assert probe.find_fault(answer(), "", None) is None
    assert probe.find_fault(answer(), "4", expected(0, 2.0009)) is None
    tilted = batch_with(probe.PLACE, 0.012, 0.999928, 0)  # cosine 0.99993
    assert probe.find_fault(answer(batch=tilted), "", None) is None


WRONG: dict[str, tuple[probe.ProbeAnswer, str]] = {
    "narrower than told": (answer(dimensions=4), "3 dimensions alone and 3 in a batch; .* says 4"),
    "narrower in a batch": (answer(batch=np.ones((8, 2), np.float32)), "3 dimensions .* and 2 in"),
    "another version": (answer(version="5"), "version 4 was requested, version 5 answered"),
    "no number": (answer(vector=np.array([0, np.nan, 0], np.float32)), "not finite"),
    "infinite": (answer(batch=batch_with(7, np.inf, 0, 0)), "not finite"),
    "not as expected": (
        answer(vector=np.array([0, 2.01, 0], np.float32)),
        r"component 2 of the vector is 2\.01, expected is 2 within 0\.001",
    ),
    "not normalised": (answer(batch=batch_with(0, 0, 0.9, 0)), r"has the length 0\.9, not 1"),
    "another vector in a batch": (
        answer(batch=batch_with(probe.PLACE, 0.02, 0.9998, 0)),
        r"alone than in a batch: cosine 0\.9998\d\d, at least 0\.9999 is expected",
    ),
    "the opposite vector in a batch": (
        answer(batch=batch_with(probe.PLACE, 0, -1, 0)),
        r"cosine -1\.000000",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_each_fault_is_told(name: str) -> None:
    answers, sentence = WRONG[name]
    fault = probe.find_fault(answers, "4", expected(0, 2))
    assert fault is not None
    assert re.search(sentence, fault)
    assert "\n" not in fault


def test_a_vector_of_zeros_has_no_direction() -> None:
    fault = probe.find_fault(answer(vector=np.zeros(3, np.float32)), "", None)
    assert fault == "the vector of the text is all zeros"


def test_more_components_expected_than_there_are() -> None:
    fault = probe.find_fault(answer(), "", expected(0, 2, 0, 0))
    assert fault == "4 numbers are expected, the vector has 3"


class Clock:
    """Time that passes only where somebody sleeps or works."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def retry_until_ready(
    timeout_s: float, *errors: Exception, work_s: float = 0.0
) -> tuple[str, list[float]]:
    """What an attempt gives that fails so before; and what each was told to have left."""
    clock, left, failures = Clock(), [], list(errors)

    def attempt(left_s: float) -> str:
        left.append(left_s)
        clock.sleep(work_s)
        if failures:
            raise failures.pop(0)
        return "done"

    return probe.retry_until_ready(timeout_s, attempt, clock=clock, sleep=clock.sleep), left


UNREACHABLE = http.Unreachable("http://h: cannot be reached (Connection refused)")


def refused(status: int) -> http.Refused:
    return http.Refused(f"http://h: is answered {status}", status)


def test_a_server_that_is_not_ready_is_asked_again() -> None:
    done, left = retry_until_ready(
        10, UNREACHABLE, refused(503), refused(429), refused(502), work_s=1.0
    )
    assert done == "done"
    assert left == [10, 8.5, 7, 5.5, 4]


def test_the_time_is_over() -> None:
    with pytest.raises(BadModel, match=r"^not ready within 2 s: http://h: cannot be reached"):
        retry_until_ready(2, *[UNREACHABLE] * 9)
    assert retry_until_ready(2, *[UNREACHABLE] * 3)[0] == "done"


@pytest.mark.parametrize(
    "error",
    [refused(404), refused(401), refused(500), BadModel("no JSON"), BadSetting("untrusted")],
)
def test_what_does_not_pass_is_told_at_once(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        retry_until_ready(10, error)
    assert caught.value is error


def test_the_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text alone as any client sends it, and among others, both past the cache."""
    requests: list[Any] = []

    def answer(path: str, body: Any) -> tuple[int, bytes]:
        if body is None:
            return 200, b'{"outputs": [{"name": "embedding", "shape": [-1, 3]}]}'
        requests.append((body["parameters"], body["inputs"][0]["data"]))
        return 200, inferred(requests[-1][1])

    with answering(answer) as url:
        result = probe.query(http.parse(f"{url}/v2/models/m"), "hello")
    (together, texts), (by_itself, text) = requests
    assert by_itself == {"cache": False}
    assert together == {"cache": False, "normalize": True}
    assert text == ["hello"]
    assert len(texts) == 8
    assert texts.index("hello") == probe.PLACE
    assert len({len(item) for item in texts}) > 5
    assert (result.model, result.version, result.revision, result.dimensions) == (
        "m",
        "4",
        "abc123",
        3,
    )
    assert result.vector.tolist() == [5, 5, 5]
    assert result.batch.shape == (8, 3)


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
        pytest.raises(BadModel, match="its metadata has no dimensions"),
    ):
        probe.query(http.parse(f"{url}/v2/models/m"), "hello")


@pytest.mark.parametrize(("status", "passing"), [(503, True), (404, False)])
def test_of_a_refusal_the_status_decides(status: int, passing: bool) -> None:
    with (
        answering(lambda path, body: (status, b"{}")) as url,
        pytest.raises(http.Refused) as caught,
    ):
        probe.query(http.parse(f"{url}/v2/models/m"), "hello")
    assert probe.is_transient(caught.value) is passing


def test_that_nobody_is_there_may_pass() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(http.Unreachable) as caught:
        probe.query(http.parse(f"http://127.0.0.1:{port}"), "hello")
    assert probe.is_transient(caught.value)
