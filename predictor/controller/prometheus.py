"""Queries Prometheus for the traffic of a version, by the target label `deployment`."""

import json
from dataclasses import dataclass
from math import inf
from typing import Any
from urllib.parse import urlencode, urlsplit

from predictor.client.exchange import Address, exchange
from predictor.errors import BadModel, BadSetting
from predictor.rollout.judge import Traffic

TIMEOUT_S = 10.0
# Of a response; ours have some hundred lines.
MOST_BYTES = 4 << 20


class PrometheusError(Exception):
    """It did not respond, or not with what was queried; the message says which."""


@dataclass(frozen=True, slots=True)
class Prometheus:
    """The HTTP API of one Prometheus."""

    # `http(s)://host[:port][/prefix]`
    url: str
    # Bearer token; empty: none.
    token: str = ""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BadSetting(
                f"--prometheus {self.url}: must be http://host:port or https://host:port"
            )

    def traffic(
        self, namespace: str, deployment: str, window_s: float, before_s: float = 0.0
    ) -> Traffic:
        """Answers of a Deployment in a window of `window_s` seconds that ended `before_s` ago.

        Raises:
            PrometheusError: it cannot be queried, or does not know the Deployment.
        """
        selector = f'namespace="{namespace}",deployment="{deployment}"'
        window = f"[{max(1, round(window_s))}s]"
        if round(before_s):  # Prometheus refuses an offset of 0
            window += f" offset {round(before_s)}s"
        codes = self._by("code", f"increase(predictor_requests_total{{{selector}}}{window})")
        # Fewer than two scrapes give no increase, but the series must exist.
        if not codes and not self._query(f"count(predictor_requests_total{{{selector}}})"):
            raise PrometheusError(
                f"there is no predictor_requests_total of {namespace}/{deployment}: is it scraped, "
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
        """Least cosine of the canonical texts above their tolerance; None: they are not checked.

        Raises:
            PrometheusError: it cannot be queried.
        """
        selector = f'namespace="{namespace}",deployment="{deployment}"'
        result = self._query(
            f"min(predictor_canonical_min_cosine{{{selector}}} - ignoring(reference) "
            f"predictor_canonical_tolerance{{{selector}}})"
        )
        return float(result[0]["value"][1]) if result else None

    def _by(self, label: str, increase: str) -> dict[str, float]:
        """Sums by a label."""
        result = self._query(f"sum by ({label}) ({increase})")
        return {series["metric"].get(label, ""): float(series["value"][1]) for series in result}

    def _query(self, query: str) -> list[Any]:
        try:
            response = json.loads(self._exchange(query))
            result: list[Any] = response["data"]["result"]
            for series in result:
                float(series["value"][1])
        except (BadModel, BadSetting) as error:
            raise PrometheusError(f"it cannot be queried: {error}") from error
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise PrometheusError("the response is not one of Prometheus") from error
        return result

    def _exchange(self, query: str) -> bytes:
        """Raises BadModel, BadSetting, PrometheusError."""
        parts = urlsplit(self.url)
        # Errors name the address, and must not repeat a password that stands in the URL.
        shown = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        address = Address(shown, parts.scheme == "https", parts.hostname or "", parts.port)
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        response = exchange(
            address,
            "POST",
            f"{parts.path.rstrip('/')}/api/v1/query",
            urlencode({"query": query}).encode(),
            headers,
            timeout_s=TIMEOUT_S,
            most_bytes=MOST_BYTES,
        )
        if response.status != 200:
            raise PrometheusError(f"status {response.status}: {_error_of(response.content)}")
        return response.content


def _by_bound(counts: dict[str, float]) -> dict[float, float]:
    return {inf if le == "+Inf" else float(le): count for le, count in counts.items()}


def _error_of(content: bytes) -> str:
    """Why Prometheus refused a query."""
    try:
        return str(json.loads(content)["error"])[:200]
    except (ValueError, KeyError, TypeError):
        return "no reason given"
