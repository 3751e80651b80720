"""Copies of live texts for the canary, before anybody depends on it: the stable pods are told to.

They are told again at each look, and what they have found so far comes with their answer. A shadow
that nobody renews ends by itself, so a controller that dies leaves none behind.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import msgspec

from predictor.comparison.exchange import Address, Refused, call, parse
from predictor.controller.cluster import Cluster, ClusterError, Object
from predictor.errors import PredictorError
from predictor.rollout.shadowed import NAME, Report, judge_shadow, summed
from predictor.rollout.spec import Shadow, Spec, seconds
from predictor.rollout.state import Measure, State

# Pods that are told, of however many there are; at once; and how long each may take, seconds.
MOST_PODS, AT_ONCE, TIMEOUT_S = 20, 8, 2.0
PORT, PATH = 8080, "/admin/shadow"
# How long copies go on without a controller, seconds; the server's limit is the last.
LEAST_S, LOOKS, MOST_S = 120.0, 3, 600.0
TOKEN = "--admin-token-file"

Ask = Callable[..., tuple[bytes, str]]
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Between:
    """labels: a selector of the stable version's pods. url: of the canary. model: in requests."""

    labels: str
    url: str
    model: str


class Shadowing:
    """Tells the stable pods of one rollout after the other.

    token: of the servers' admin routes, asked for at each look. key: an API key for the canary.
    ask: see `exchange.call`.
    """

    def __init__(
        self, cluster: Cluster, token: Callable[[], str], key: str = "", ask: Ask = call
    ) -> None:
        self._cluster, self._token, self._key, self._ask = cluster, token, key, ask
        self._told: dict[Key, list[Address]] = {}

    def measure(
        self, spec: Spec, state: State, isvc: Object, between: Between
    ) -> tuple[Measure, ...]:
        """What copies say by now; nothing where none are wanted. Never raises."""
        if spec.shadow is None or state.phase != "Preparing" or state.weight:
            self.end(isvc)
            return ()
        try:
            return (self._measure(spec, spec.shadow, state, isvc, between),)
        except (ClusterError, PredictorError) as error:
            return (Measure(NAME, "Error", f"pods cannot be listed: {error}"[:400]),)

    def _measure(
        self, spec: Spec, shadow: Shadow, state: State, isvc: Object, between: Between
    ) -> Measure:
        """Raises ClusterError, BadSetting."""
        own, token = isvc["metadata"], self._token()
        if not token or not token.isascii() or not token.isprintable():
            return Measure(NAME, "Error", f"the controller has no admin token ({TOKEN})")
        pods = self._cluster.list("Pod", own["namespace"], between.labels)
        found = sorted(filter(None, map(ready_ip, pods)))[:MOST_PODS]
        if not found:
            return Measure(NAME, "Error", "the stable version has no ready pod")
        order = msgspec.json.encode({
            "url": between.url,
            "model": between.model,
            "share": shadow.share,
            "seconds": lasting(spec),
            "key": self._key,
            # A canary that comes again under the same name is another one.
            "id": f"{own.get('uid', '')} {state.since}",
        })  # fmt: skip
        addresses = [address_of(ip, token) for ip in found]
        self._told[own["namespace"], own["name"]] = addresses
        answers = _each(partial(self._tell, order), addresses)
        reports = [answer for answer in answers if isinstance(answer, Report)]
        troubles = [answer for answer in answers if isinstance(answer, str)]
        if not reports:
            return Measure(NAME, "Error", f"no stable pod can be told: {troubles[0]}"[:400])
        measure = judge_shadow(spec, shadow, *summed(reports))
        if not troubles:
            return measure
        told = f"{measure.text}; {len(reports)} of {len(found)} pods take part: {troubles[0]}"
        return msgspec.structs.replace(measure, text=told[:400])

    def end(self, isvc: Object) -> None:
        """No copies any more; whom that does not reach ends by itself."""
        own = isvc["metadata"]
        _each(self._untell, self._told.pop((own["namespace"], own["name"]), []))

    def _tell(self, order: bytes, pod: Address) -> Report | str:
        """What the pod found so far, or why it cannot be told."""
        try:
            answer, _ = self._ask(pod, "PUT", PATH, order)
            return msgspec.json.decode(answer, type=Report)
        except Refused as error:
            closed = error.status in (401, 404)
            return f"{error} ({TOKEN} of servers and controller)" if closed else str(error)
        except PredictorError as error:
            return str(error)
        except msgspec.DecodeError:
            return f"{pod.url}: answers something else than a report"

    def _untell(self, pod: Address) -> None:
        try:
            self._ask(pod, "DELETE", PATH)
        except PredictorError:
            return


def _each(do: Callable[[Address], Any], pods: Iterable[Address]) -> list[Any]:
    """Some at once; a pod that hangs costs its time limit and not everybody's."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(do, pods))


def lasting(spec: Spec) -> float:
    """How long copies go on until they are renewed, seconds: some looks may fail."""
    return min(MOST_S, max(LEAST_S, LOOKS * seconds(spec.analysis.interval)))


def ready_ip(pod: Object) -> str:
    """Of a pod that answers; else empty."""
    status = pod.get("status", {})
    is_ready = any(
        one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions", [])
    )
    if not is_ready or "deletionTimestamp" in pod["metadata"]:
        return ""
    return str(status.get("podIP", ""))


def address_of(ip: str, token: str) -> Address:
    """Of a pod's server, with the admin token."""
    host = f"[{ip}]" if ":" in ip else ip
    return replace(parse(f"http://{host}:{PORT}"), key=token, timeout_s=TIMEOUT_S)
