"""What a request pays for being observed."""

import time
from collections.abc import Iterator
from statistics import median

import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.metrics import SECONDS, Histogram
from predictor.timeline import Timeline
from predictor.version_metrics import ModelMetrics, observe_request
from tests.unit.untraced import untraced

# Of one request, seconds: twice the 15 µs that it may take, as not every machine is as fast.
MOST_S = 30e-6


@pytest.fixture
def model() -> Iterator[ModelMetrics]:
    metrics = ModelMetrics("observed", "1")
    yield metrics
    metrics.remove()


def observed(trace: str) -> float:
    """Observe one request; the seconds it took."""
    started = time.perf_counter()
    timeline = Timeline()
    timeline.decode = timeline.tokenize = timeline.cache = 1e-4
    timeline.queue = timeline.run = timeline.encode = 1e-3
    observe_request("openai", "observed", "1", 200, timeline, trace)
    return time.perf_counter() - started


@pytest.mark.parametrize("trace", ["", "0123456789abcdef" * 2], ids=["plain", "traced"])
@pytest.mark.usefixtures("model")
def test_observing_a_request_takes_microseconds(trace: str) -> None:
    """6 on the machine on which it was written, 7 with an exemplar."""
    medians = []
    for _ in range(5):  # the best round counts: the machine may be busy
        with untraced():
            medians.append(median(observed(trace) for _ in range(2000)))
    print(f"observing a request: {min(medians) * 1e6:.1f} µs")
    assert min(medians) < MOST_S


@given(st.lists(st.floats(0, 40) | st.sampled_from(SECONDS), min_size=1, max_size=20))
def test_a_histogram_counts_as_the_librarys_does(amounts: list[float]) -> None:
    texts = []
    for kind in (Histogram, prometheus_client.Histogram):
        registry = prometheus_client.CollectorRegistry()
        child = kind("seconds", "", ("model",), buckets=SECONDS, registry=registry)
        for amount in amounts:
            child.labels("m").observe(amount)
        texts.append(prometheus_client.generate_latest(registry))
    assert texts[0] == texts[1]
