"""What a client and an operator see of the cache: nothing, but that an answer was not computed."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.contract.helpers import MODEL, counted
from tests.deadlines import DEADLINE_S
from tests.serving import Server, model_flags

REQUESTS, COMPUTED = "predictor_request_seconds_count", "predictor_computed_request_seconds_count"


@pytest.fixture(scope="module")
def http(model_dir: Path, cache_dir: Path, bundle_dir: Path) -> Iterator[httpx.Client]:
    del bundle_dir
    flags = [*model_flags(model_dir, cache_dir), "--cache-mb=8", "--drain-delay-s=0"]
    running = Server(*flags)
    with httpx.Client(base_url=running.url, timeout=DEADLINE_S) as client:
        yield client
    assert running.stop() == 0


def ask(http: httpx.Client, *texts: str, **headers: str) -> list[list[float]]:
    """The vectors; `x_cache` is the header `x-cache`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = {"model": MODEL, "input": texts}
    answer = http.post("/v1/embeddings", json=body, headers=named).raise_for_status()
    return [row["embedding"] for row in answer.json()["data"]]


def counts(http: httpx.Client) -> tuple[float, float]:
    kind = {"protocol": "openai", "model": MODEL}
    return counted(http, REQUESTS, **kind), counted(http, COMPUTED, **kind)


def grown(http: httpx.Client, before: tuple[float, float]) -> list[float]:
    return [now - then for now, then in zip(counts(http), before, strict=True)]


def test_an_answer_is_computed_or_it_is_not(http: httpx.Client) -> None:
    """A canary, whose cache is empty, is compared with the stable version by each kind."""
    before = counts(http)
    first = ask(http, "computed once")
    assert grown(http, before) == [1, 1]
    assert ask(http, "computed once") == first
    assert grown(http, before) == [2, 1]
    assert ask(http, "computed once", "and another one")[0] == first[0]
    assert grown(http, before) == [3, 2]


def test_without_the_cache_it_is_computed_again(http: httpx.Client) -> None:
    first = ask(http, "twice")
    before = counts(http)
    (again,) = ask(http, "twice", x_cache="off")
    assert again == pytest.approx(first[0], abs=1e-6)
    assert grown(http, before) == [1, 1]
