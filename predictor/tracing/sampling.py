"""Which requests are traced: OpenTelemetry's samplers as one comparison, and W3C's `traceparent`.

The SDK's own samplers build a context, a span and a result for every request, also for those that
nobody samples. These give the same decisions.
"""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

logger = logging.getLogger(__name__)

DEFAULT = "parentbased_always_on"
# How many of the 2**64 values that the lower half of a trace id may have are sampled.
ALL = 1 << 64

# Source: W3C Trace Context, section 3.2. Later versions may add fields, behind a dash.
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.{0,200})?")


class Parent(NamedTuple):
    """The caller's span, from its headers."""

    trace_id: int
    span_id: int
    sampled: bool


def parent_of(traceparent: str) -> Parent | None:
    """The caller's span; None for what is not a `traceparent`, which is then as if absent."""
    match = _TRACEPARENT.fullmatch(traceparent.strip())
    if match is None:
        return None
    version, trace_text, span_text, flags, rest = match.groups()
    if version == "ff" or (version == "00" and rest):
        return None
    trace_id, span_id = int(trace_text, 16), int(span_text, 16)
    if not trace_id or not span_id:
        return None
    return Parent(trace_id, span_id, bool(int(flags, 16) & 1))


@dataclass(frozen=True, slots=True)
class Sampling:
    """bound: a trace whose lower 64 bits are under it is sampled.

    by_parent: a caller that sends `traceparent` decides instead.
    """

    bound: int = ALL
    by_parent: bool = True

    def takes(self, trace_id: int, parent: Parent | None) -> bool:
        if parent is not None and self.by_parent:
            return parent.sampled
        return trace_id & (ALL - 1) < self.bound


def read_sampling(environment: Mapping[str, str]) -> Sampling:
    """OTEL_TRACES_SAMPLER and its argument; what they cannot mean is warned of and left out."""
    name = environment.get("OTEL_TRACES_SAMPLER", "").strip().lower() or DEFAULT
    kind = name.removeprefix("parentbased_")
    if kind not in ("always_on", "always_off", "traceidratio"):
        logger.warning("OTEL_TRACES_SAMPLER %r is not known here; it is %s", name[:80], DEFAULT)
        return Sampling()
    by_parent = kind != name
    if kind == "traceidratio":
        return Sampling(round(_ratio(environment) * ALL), by_parent)
    return Sampling(ALL if kind == "always_on" else 0, by_parent)


def _ratio(environment: Mapping[str, str]) -> float:
    text = environment.get("OTEL_TRACES_SAMPLER_ARG", "").strip() or "1"
    try:
        ratio = float(text)
    except ValueError:
        ratio = -1.0
    if 0.0 <= ratio <= 1.0:
        return ratio
    logger.warning("OTEL_TRACES_SAMPLER_ARG %r is not between 0 and 1; it is 1", text[:80])
    return 1.0
