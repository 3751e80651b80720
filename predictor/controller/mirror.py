"""Mirrors live texts to a canary without traffic, by a request to every stable pod.

The request is repeated at each analysis, and its response carries the results so far. A shadow that
is not renewed ends by itself, so a controller that dies leaves none behind.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import msgspec

from predictor.client.http import Address, Refused, call, parse
from predictor.controller.cluster import Cluster, ClusterError
from predictor.controller.objects import Object, key_of
from predictor.errors import PredictorError
from predictor.rollout.shadow import NAME, ShadowReport, judge_shadow, sum_reports
from predictor.rollout.spec import ShadowSpec, Spec, seconds
from predictor.rollout.state import Measurement, State

# Stable pods that mirror, however many there are.
MOST_PODS = 20
# Pods that are called at the same time.
CONCURRENT_CALLS = 8
# Of a call to one pod.
TIMEOUT_S = 2.0
PORT = 8080
PATH = "/admin/shadow"
# A shadow lasts so many intervals of the analysis without a renewal, within these bounds in
# seconds; the last one is the server's limit.
INTERVALS = 3
LEAST_S = 120.0
MOST_S = 600.0
TOKEN_FLAG = "--admin-token-file"
# Of a measurement, characters.
MOST_MESSAGE = 400

HttpCall = Callable[..., tuple[bytes, str]]


@dataclass(frozen=True, slots=True)
class MirrorTarget:
    """From where to where texts are mirrored."""

    # Selector of the stable version's pods.
    labels: str
    # Of the canary.
    url: str
    # Name of the model in requests.
    model: str


class Mirror:
    """Starts, renews and ends the shadows of all rollouts.

    Args:
        token: returns the token for the servers' admin routes; read at each analysis.
        key: an API key for the canary.
        call: see `predictor.client.http.call`.
    """

    def __init__(
        self, cluster: Cluster, token: Callable[[], str], key: str = "", call: HttpCall = call
    ) -> None:
        self._cluster = cluster
        self._token = token
        self._key = key
        self._call = call
        # Pods that mirror, by namespace and name of the InferenceService.
        self._pods: dict[tuple[str, str], list[Address]] = {}

    def measure(
        self, spec: Spec, state: State, isvc: Object, target: MirrorTarget
    ) -> tuple[Measurement, ...]:
        """The results so far; empty where no shadow is wanted. Never raises."""
        if spec.shadow is None or state.phase != "Preparing" or state.weight:
            self.end(isvc)
            return ()
        try:
            return (self._measure(spec, spec.shadow, state, isvc, target),)
        except (ClusterError, PredictorError) as error:
            return (Measurement(NAME, "Error", f"pods cannot be listed: {error}"[:MOST_MESSAGE]),)

    def _measure(
        self, spec: Spec, shadow: ShadowSpec, state: State, isvc: Object, target: MirrorTarget
    ) -> Measurement:
        """Raises ClusterError, BadSetting."""
        token = self._token()
        if not token or not token.isascii() or not token.isprintable():
            return Measurement(NAME, "Error", f"the controller has no admin token ({TOKEN_FLAG})")
        namespace, _ = key_of(isvc)
        pods = self._cluster.list("Pod", namespace, target.labels)
        ips = sorted(filter(None, map(ready_ip, pods)))[:MOST_PODS]
        if not ips:
            return Measurement(NAME, "Error", "the stable version has no ready pod")
        addresses = [address_of(ip, token) for ip in ips]
        self._pods[key_of(isvc)] = addresses
        order = self._order(spec, shadow, state, isvc, target)
        answers = _call_each(partial(self._start, order), addresses)
        reports = [answer for answer in answers if isinstance(answer, ShadowReport)]
        errors = [answer for answer in answers if isinstance(answer, str)]
        if not reports:
            message = f"no stable pod can mirror: {errors[0]}"
            return Measurement(NAME, "Error", message[:MOST_MESSAGE])
        measurement = judge_shadow(spec, shadow, *sum_reports(reports))
        if not errors:
            return measurement
        pods_message = f"{len(reports)} of {len(ips)} pods mirror: {errors[0]}"
        message = f"{measurement.message}; {pods_message}"
        return msgspec.structs.replace(measurement, message=message[:MOST_MESSAGE])

    def _order(
        self, spec: Spec, shadow: ShadowSpec, state: State, isvc: Object, target: MirrorTarget
    ) -> bytes:
        """The body of the request to a stable pod."""
        order = {
            "url": target.url,
            "model": target.model,
            "share": shadow.share,
            "seconds": duration_s(spec),
            "key": self._key,
            # A canary that is created again under the same name is another one.
            "id": f"{isvc['metadata'].get('uid', '')} {state.phase_since}",
        }
        return msgspec.json.encode(order)

    def end(self, isvc: Object) -> None:
        """End the shadow; it ends by itself on pods that this does not reach."""
        _call_each(self._stop, self._pods.pop(key_of(isvc), []))

    def _start(self, order: bytes, pod: Address) -> ShadowReport | str:
        """The pod's results so far, or why it cannot mirror."""
        try:
            answer, _ = self._call(pod, "PUT", PATH, order)
            return msgspec.json.decode(answer, type=ShadowReport)
        except Refused as error:
            needs_token = error.status in (401, 404)
            hint = f" ({TOKEN_FLAG} of servers and controller)" if needs_token else ""
            return f"{error}{hint}"
        except PredictorError as error:
            return str(error)
        except msgspec.DecodeError:
            return f"{pod.url}: the response is no shadow report"

    def _stop(self, pod: Address) -> None:
        try:
            self._call(pod, "DELETE", PATH)
        except PredictorError:
            return


def _call_each(call: Callable[[Address], Any], pods: Iterable[Address]) -> list[Any]:
    """Results in order; a pod that hangs costs its own time limit only."""
    with ThreadPoolExecutor(CONCURRENT_CALLS) as pool:
        return list(pool.map(call, pods))


def duration_s(spec: Spec) -> float:
    """How long a shadow lasts without a renewal: some analyses may fail."""
    return min(MOST_S, max(LEAST_S, INTERVALS * seconds(spec.analysis.interval)))


def ready_ip(pod: Object) -> str:
    """The address of a ready pod; empty if it is not ready."""
    status = pod.get("status", {})
    is_ready = any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in status.get("conditions", [])
    )
    if not is_ready or "deletionTimestamp" in pod["metadata"]:
        return ""
    return str(status.get("podIP", ""))


def address_of(ip: str, token: str) -> Address:
    """The address of a pod's server, with the admin token."""
    host = f"[{ip}]" if ":" in ip else ip
    return replace(parse(f"http://{host}:{PORT}"), key=token, timeout_s=TIMEOUT_S)
