"""What the metrics say of a request: its stages, in full, and nothing of what it asked."""

import time

import httpx
import pytest

from tests.contract.helpers import MODEL, counted
from tests.serving import Server

COMPUTED = ("decode", "tokenize", "queue", "run", "encode")


def stage_sum(http: httpx.Client, stage: str) -> float:
    labels = {"protocol": "openai", "model": MODEL, "stage": stage}
    try:
        return counted(http, "predictor_stage_seconds_sum", **labels)
    except LookupError:  # nobody has spoken this protocol yet
        return 0.0


def request_sum(http: httpx.Client) -> float:
    labels = {"protocol": "openai", "model": MODEL}
    return counted(http, "predictor_request_seconds_sum", **labels)


def test_the_stages_are_the_request(http: httpx.Client) -> None:
    before = {stage: stage_sum(http, stage) for stage in COMPUTED}
    total = request_sum(http)
    for number in range(10):
        texts = [f"{number} {word} " * 20 for word in ("one", "two", "three")]
        http.post("/v1/embeddings", json={"model": MODEL, "input": texts}).raise_for_status()
    spent = {stage: stage_sum(http, stage) - before[stage] for stage in COMPUTED}
    assert all(spent.values()), spent
    whole = request_sum(http) - total
    assert sum(spent.values()) == pytest.approx(whole, rel=0.25)
    assert spent["run"] > 0.5 * whole


def test_the_queue_is_empty_without_requests(http: httpx.Client) -> None:
    assert counted(http, "predictor_queue_age_seconds", model=MODEL) == 0.0
    assert counted(http, "predictor_queue_tokens", model=MODEL) == 0.0


def test_the_lag_of_the_loop_is_measured(http: httpx.Client) -> None:
    before = counted(http, "predictor_event_loop_lag_seconds_count")
    end = time.monotonic() + 10.0
    while counted(http, "predictor_event_loop_lag_seconds_count") <= before:
        assert time.monotonic() < end


def test_a_name_in_a_request_is_no_label(http: httpx.Client, server: Server) -> None:
    del server
    name = 'x"} 1\npredictor_injected{a="b'
    assert http.post("/v1/embeddings", json={"model": name, "input": "a"}).status_code == 404
    text = http.get("/metrics").text
    assert "injected" not in text
    assert counted(http, "predictor_requests_total", model="", code="404") >= 1


def test_openmetrics_for_who_asks_for_it(http: httpx.Client) -> None:
    accept = "application/openmetrics-text; version=1.0.0"
    response = http.get("/metrics", headers={"accept": accept})
    assert response.headers["content-type"].startswith("application/openmetrics-text")
    assert response.text.endswith("# EOF\n")
    assert http.get("/metrics").headers["content-type"].startswith("text/plain")


def test_the_version_of_the_start_took_as_long_to_load_as_any(http: httpx.Client) -> None:
    """It is opened while KServe is imported, which is its load's time all the same."""
    loads = counted(http, "predictor_model_load_seconds_count", model=MODEL)
    assert loads == 1
    assert counted(http, "predictor_model_load_seconds_sum", model=MODEL) > 0.02
