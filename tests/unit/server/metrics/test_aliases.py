"""Our series under the names of TEI and Triton: the same counts, at each scrape."""

from collections.abc import Iterator

import pytest
from prometheus_client import REGISTRY

from predictor.errors import BadSetting
from predictor.server.metrics.aliases import aliases, parse_kinds
from predictor.timeline import Timeline
from predictor.types import Lane
from predictor.version_metrics import ModelMetrics, observe_request

MODEL, VERSION = "alias-test", "7"


@pytest.fixture
def model() -> Iterator[ModelMetrics]:
    metrics = ModelMetrics(MODEL, VERSION)
    yield metrics
    metrics.remove()


def values(kind: str) -> dict[str, float]:
    """Samples as Prometheus would write them."""
    samples = {}
    for family in aliases([kind], REGISTRY.collect()):
        for sample in family.samples:
            labels = ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()))
            samples[f"{sample.name}{{{labels}}}"] = sample.value
    return samples


def answered(code: int = 200, **stages: float) -> None:
    timeline = Timeline(**stages)
    observe_request("openai", MODEL, VERSION, code, timeline)


def test_names_of_tei(model: ModelMetrics) -> None:
    before = values("te")
    answered(queue=0.5, run=0.25, tokenize=0.125)
    answered(429)
    answered(422)
    answered(500)
    model.batch_rows.observe(8)
    after = values("te")
    grown = {name: value - before.get(name, 0.0) for name, value in after.items()}
    assert grown["te_request_count{}"] == 4
    assert grown["te_request_success{}"] == 1
    assert grown["te_request_failure{err=overloaded}"] == 1
    assert grown["te_request_failure{err=validation}"] == 1
    assert grown["te_request_failure{err=inference}"] == 1
    assert grown["te_embed_queue_duration_sum{}"] == 0.5
    assert grown["te_request_inference_duration_sum{}"] == 0.25
    assert grown["te_request_tokenization_duration_sum{}"] == 0.125
    assert grown["te_request_queue_duration_bucket{le=+Inf}"] == 1
    assert grown["te_batch_next_size_bucket{le=8.0}"] == 1
    assert grown["te_batch_next_size_bucket{le=4.0}"] == 0
    assert "te_queue_size{}" in after


def test_names_of_triton(model: ModelMetrics) -> None:
    answered(queue=0.5, run=0.25, decode=0.001, tokenize=0.002)
    answered(429)
    answered(499)
    answered(500)
    model.inputs[Lane.QUERY].inc(3)
    model.inputs[Lane.INGEST].inc(2)
    model.wide.inc()
    model.narrow.inc()
    after = values("nv")
    of = f"model={MODEL}"
    assert after[f"nv_inference_request_success{{{of},version={VERSION}}}"] == 1
    for reason in ("REJECTED", "CANCELED", "BACKEND"):
        name = f"nv_inference_request_failure{{{of},reason={reason},version={VERSION}}}"
        assert after[name] == 1
    assert after[f"nv_inference_count{{{of},version={VERSION}}}"] == 5
    assert after[f"nv_inference_exec_count{{{of},version={VERSION}}}"] == 2
    assert after[f"nv_inference_queue_duration_us{{{of},version={VERSION}}}"] == 500_000
    spent = after[f"nv_inference_compute_input_duration_us{{{of},version={VERSION}}}"]
    assert spent == pytest.approx(3000)


@pytest.mark.parametrize(("text", "kinds"), [("", ()), ("te", ("te",)), ("nv, te", ("nv", "te"))])
def test_the_setting(text: str, kinds: tuple[str, ...]) -> None:
    assert parse_kinds(text) == kinds


def test_a_setting_that_is_none() -> None:
    with pytest.raises(BadSetting, match="is not a list of te, nv"):
        parse_kinds("te,vllm")
