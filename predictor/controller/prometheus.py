"""Traffic of canary and stable version, asked of Prometheus by the target label `deployment`."""

import http.client
import json
from dataclasses import dataclass
from math import inf
from typing import Any
from urllib.parse import urlencode, urlsplit

from predictor.errors import BadSetting
from predictor.rollout.judge import Traffic

TIMEOUT_S = 10.0
# Of an answer; ours are some hundred lines.
MOST_BYTES = 4 << 20


class PrometheusError(Exception):
    """It did not answer, or not what was asked; the message says which."""


@dataclass(frozen=True, slots=True)
class Prometheus:
    """Its HTTP API at one address, `http(s)://host[:port][/prefix]`; a token for it, if any."""

    url: str
    token: str = ""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BadSetting(f"--prometheus {self.url}: wanted is http://host:port")

    def traffic(
        self, namespace: str, deployment: str, window_s: float, before_s: float = 0.0
    ) -> Traffic:
        """Answers of a Deployment in so many seconds, which ended `before_s` ago.

        Raises:
            PrometheusError: it cannot be asked, or does not know the Deployment.
        """
        selector = f'namespace="{namespace}",deployment="{deployment}"'
        window = f"[{max(1, round(window_s))}s]"
        if round(before_s):  # an offset of nothing is refused
            window += f" offset {round(before_s)}s"
        codes = self._by("code", f"increase(predictor_requests_total{{{selector}}}{window})")
        # Nothing to count between fewer than two scrapes; but scraped it must be.
        if not codes and not self._ask(f"count(predictor_requests_total{{{selector}}})"):
            raise PrometheusError(
                f"it has no predictor_requests_total of {namespace}/{deployment}: is it scraped, "
                "with the target label `deployment`?"
            )
        buckets, computed = (
            self._by("le", f"increase(predictor_{name}_seconds_bucket{{{selector}}}{window})")
            for name in ("request", "computed_request")
        )
        return Traffic(
            answers=sum(codes.values()),
            errors=sum(count for code, count in codes.items() if code.startswith("5")),
            refused=codes.get("429", 0.0),
            buckets=_by_bound(buckets),
            computed=_by_bound(computed),
        )

    def canonical_margin(self, namespace: str, deployment: str) -> float | None:
        """Least cosine of the canonical texts above their tolerance; None: nobody looks at them.

        Raises:
            PrometheusError: it cannot be asked.
        """
        selector = f'namespace="{namespace}",deployment="{deployment}"'
        found = self._ask(
            f"min(predictor_canonical_min_cosine{{{selector}}} - ignoring(reference) "
            f"predictor_canonical_tolerance{{{selector}}})"
        )
        return float(found[0]["value"][1]) if found else None

    def _by(self, label: str, increase: str) -> dict[str, float]:
        """Sums by a label."""
        found = self._ask(f"sum by ({label}) ({increase})")
        return {one["metric"].get(label, ""): float(one["value"][1]) for one in found}

    def _ask(self, query: str) -> list[Any]:
        try:
            told = json.loads(self._exchange(query))
            result: list[Any] = told["data"]["result"]
            for one in result:
                float(one["value"][1])
        except (OSError, http.client.HTTPException) as error:
            raise PrometheusError(f"it cannot be asked: {type(error).__name__}") from error
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise PrometheusError("it answered something else than Prometheus does") from error
        return result

    def _exchange(self, query: str) -> bytes:
        """Raises OSError, HTTPException, PrometheusError."""
        parts = urlsplit(self.url)
        kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        try:
            path = f"{parts.path.rstrip('/')}/api/v1/query"
            connection.request("POST", path, urlencode({"query": query}), headers)
            answer = connection.getresponse()
            content = answer.read(MOST_BYTES)
        finally:
            connection.close()
        if answer.status != 200:
            raise PrometheusError(f"it answered {answer.status}: {_why(content)}")
        return content


def _by_bound(found: dict[str, float]) -> dict[float, float]:
    return {inf if le == "+Inf" else float(le): count for le, count in found.items()}


def _why(content: bytes) -> str:
    """What it said of a query that it refuses."""
    try:
        return str(json.loads(content)["error"])[:200]
    except (ValueError, KeyError, TypeError):
        return "without a reason"
