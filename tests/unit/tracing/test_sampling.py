"""The same decisions as the SDK's samplers, at a fraction of their cost."""

import logging
import random

import pytest
from opentelemetry.sdk.trace import sampling as sdk
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    set_span_in_context,
)

from predictor.tracing.sampling import ALL, Parent, Sampling, parent_of, read_sampling

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01"


def sampling(name: str, argument: str = "") -> Sampling:
    return read_sampling({"OTEL_TRACES_SAMPLER": name, "OTEL_TRACES_SAMPLER_ARG": argument})


def test_a_parent_is_read() -> None:
    assert parent_of(GOOD) == Parent(int(TRACE, 16), int(SPAN, 16), True)
    assert parent_of(f" {GOOD[:-2]}00\t") == Parent(int(TRACE, 16), int(SPAN, 16), False)
    assert parent_of(GOOD[:-2] + "fe") == Parent(int(TRACE, 16), int(SPAN, 16), False)


def test_a_later_version_may_say_more() -> None:
    assert parent_of("01" + GOOD[2:] + "-more") == parent_of(GOOD)


@pytest.mark.parametrize(
    "text",
    [
        "", "x", GOOD.upper(), GOOD + "0", GOOD + "-more", GOOD[1:], "ff" + GOOD[2:],
        GOOD.replace(TRACE, "0" * 32), GOOD.replace(SPAN, "0" * 16), GOOD + "\n" + GOOD,
        "01" + GOOD[2:] + "-" + "x" * 300, GOOD.replace("4", "\u0664"),
    ],
)  # fmt: skip
def test_a_malformed_traceparent_is_ignored(text: str) -> None:
    assert parent_of(text) is None


@pytest.mark.parametrize("parent", [None, True, False])
@pytest.mark.parametrize(
    ("name", "argument", "reference"),
    [
        ("always_on", "", sdk.ALWAYS_ON),
        ("always_off", "", sdk.ALWAYS_OFF),
        ("traceidratio", "0.3", sdk.TraceIdRatioBased(0.3)),
        ("parentbased_always_on", "", sdk.DEFAULT_ON),
        ("parentbased_always_off", "", sdk.DEFAULT_OFF),
        ("parentbased_traceidratio", "0.05", sdk.ParentBasedTraceIdRatio(0.05)),
        ("parentbased_traceidratio", "0", sdk.ParentBasedTraceIdRatio(0.0)),
        ("parentbased_traceidratio", "", sdk.ParentBasedTraceIdRatio(1.0)),
    ],
)
def test_decisions_are_those_of_the_sdk(
    name: str, argument: str, reference: sdk.Sampler, parent: bool | None
) -> None:
    ours = sampling(name, argument)
    dice = random.Random(7)
    for _ in range(500):
        trace_id = dice.getrandbits(128)
        context = None
        if parent is not None:
            flags = TraceFlags(int(parent))
            caller = SpanContext(trace_id, 1, is_remote=True, trace_flags=flags)
            context = set_span_in_context(NonRecordingSpan(caller))
        decision = reference.should_sample(context, trace_id, "x").decision
        expected = decision is sdk.Decision.RECORD_AND_SAMPLE
        caller_span = None if parent is None else Parent(trace_id, 1, parent)
        assert ours.takes(trace_id, caller_span) == expected


def test_kserves_own_default() -> None:
    sampler = sampling("parentbased_traceidratio", "0.05")
    assert sampler == Sampling(round(0.05 * ALL), by_parent=True)


def test_the_sampler_by_default_is_the_standards() -> None:
    assert read_sampling({}) == Sampling(ALL, by_parent=True)
    assert sampling(" ") == Sampling(ALL, by_parent=True)


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("jaeger_remote", ""), ("parentbased_traceidratio", "5%"), ("traceidratio", "1.1"),
        ("traceidratio", "nan"), ("traceidratio", "-1"),
    ],
)  # fmt: skip
def test_an_unknown_sampler_or_argument_is_warned_about(
    name: str, argument: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert sampling(name, argument).bound == ALL
    assert len(caplog.messages) == 1
    assert "OTEL_TRACES_SAMPLER" in caplog.messages[0]
