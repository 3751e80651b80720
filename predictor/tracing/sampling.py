"""Which requests are traced: OpenTelemetry's samplers as one comparison, and W3C's `traceparent`.

The SDK's own samplers create a context, a span and a result for every request, even if it is not
sampled. This module makes the same decisions without that.
"""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

logger = logging.getLogger(__name__)

DEFAULT = "parentbased_always_on"
# Number of values of the lower 64 bits of a trace id: with this bound all traces are sampled.
ALL = 1 << 64

# Source: W3C Trace Context, section 3.2. Later versions may add fields, behind a dash.
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.{0,200})?")
# Characters; a valid value of the present version has 55.
MAX_TRACEPARENT = 256


class Parent(NamedTuple):
    """The caller's span, from its headers."""

    trace_id: int
    span_id: int
    sampled: bool


def parent_of(traceparent: str) -> Parent | None:
    """Parse the caller's span; None: this is not a valid `traceparent`, and it is ignored."""
    if len(traceparent) > MAX_TRACEPARENT:
        return None
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
    """The decision which traces are sampled."""

    # A trace is sampled if the lower 64 bits of its id are below this bound.
    bound: int = ALL
    # Whether a caller that sends `traceparent` decides instead.
    by_parent: bool = True

    def takes(self, trace_id: int, parent: Parent | None) -> bool:
        if parent is not None and self.by_parent:
            return parent.sampled
        return trace_id & (ALL - 1) < self.bound


def read_sampling(environment: Mapping[str, str]) -> Sampling:
    """Read OTEL_TRACES_SAMPLER and its argument; invalid values are logged and ignored."""
    name = environment.get("OTEL_TRACES_SAMPLER", "").strip().lower() or DEFAULT
    kind = name.removeprefix("parentbased_")
    if kind not in ("always_on", "always_off", "traceidratio"):
        logger.warning("OTEL_TRACES_SAMPLER %r is unknown; %s is used", name[:80], DEFAULT)
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
    logger.warning("OTEL_TRACES_SAMPLER_ARG %r is not a number from 0 to 1; 1 is used", text[:80])
    return 1.0
