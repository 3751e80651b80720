"""Headers choose the version while two are compared: an HTTPRoute beside KServe's. Pure.

KServe's HTTPRoute splits by weights alone. Ours has the same hosts, gateways and paths and matches
a header too, and of two routes with the same path the one that matches more headers wins (Gateway
API, HTTPRouteRule, `matches`). It is derived from KServe's rules, so that REST and gRPC are routed
alike; the paths must be written as KServe writes them (on a live Envoy Gateway, with another path
only the weights counted).
"""

import copy
from typing import Any

from predictor.controller.objects import Object
from predictor.rollout.spec import GROUP, KIND, VERSION, Compare

ROLLOUT_LABEL = f"{GROUP}/rollout"
CANARY = "canary"
STABLE = "stable"
# A header that no client sends: a rule that matches it routes nothing.
UNUSED_HEADER = {
    "type": "Exact",
    "name": f"x-{GROUP.replace('.', '-')}-disarmed",
    "value": "disarmed",
}
# Values of the last two characters of a user's header: how finely users are split.
ENDINGS = 256
DIGITS = "0123456789abcdef"


def route_name(service: str) -> str:
    return f"{service}-compare"


def endings(count: int) -> str:
    """A regular expression of values whose last two characters are a number below `count`.

    Args:
        count: 1 to 256. A share that rises keeps the users that it had.
    """
    whole, rest = divmod(count, len(DIGITS))
    parts = []
    if whole:
        parts.append(_digit_below(whole) + _digit_below(len(DIGITS)))
    if rest:
        parts.append(_digit(whole) + _digit_below(rest))
    return f"^.*({'|'.join(parts)})$"


def _digit_below(count: int) -> str:
    """A pattern of the first `count` digits, in upper or lower case."""
    return "[" + "".join(_both_cases(digit) for digit in DIGITS[:count]) + "]"


def _digit(index: int) -> str:
    return f"[{_both_cases(DIGITS[index])}]"


def _both_cases(digit: str) -> str:
    return digit if digit.isdigit() else digit + digit.upper()


def headers(compare: Compare, weight: int) -> list[tuple[Object, str]]:
    """Matches of headers, the first one that applies wins, each with the version that it chooses.

    Args:
        weight: percent of the users that get the canary.
    """
    matches: list[tuple[Object, str]] = []
    if name := compare.version_header:
        for version in (CANARY, STABLE):
            matches.append(({"type": "Exact", "name": name, "value": version}, version))
    if name := compare.user_header:
        for count, version in ((round(ENDINGS * weight / 100), CANARY), (ENDINGS, STABLE)):
            if count:
                pattern = {"type": "RegularExpression", "name": name, "value": endings(count)}
                matches.append((pattern, version))
    return matches


def spec_of(
    weight_route: Object, compare: Compare, weight: int, backends: dict[str, str]
) -> Object:
    """The specification of our route.

    Args:
        weight_route: KServe's HTTPRoute, which has the InferenceService's name.
        backends: names of the Services of `canary` and `stable`.
    """
    spec = weight_route["spec"]
    rules = [
        _rule(rule, match, backends[version])
        for rule in spec["rules"]
        for match, version in headers(compare, weight)
    ]
    kept = {key: copy.deepcopy(spec[key]) for key in ("hostnames", "parentRefs") if key in spec}
    return kept | {"rules": rules}


def _rule(rule: Object, header: Object, service: str) -> Object:
    copied = copy.deepcopy(rule)
    copied.pop("name", None)
    matches = copied.get("matches") or [{}]
    for match in matches:
        match["headers"] = [*match.get("headers", []), header]
    backend = {key: value for key, value in copied["backendRefs"][0].items() if key != "weight"}
    return copied | {"matches": matches, "backendRefs": [backend | {"name": service}]}


def disarmed(spec: Object) -> Object:
    """The same route with a header that no client sends: its requests follow KServe's route.

    A gateway drops the clusters of a route with the route, and a request that is on its way to one
    of them gets a 503 (measured: two of 2 455). So a route is disarmed before it is deleted.
    """
    copied = copy.deepcopy(spec)
    for rule in copied["rules"]:
        for match in rule["matches"]:
            match["headers"] = [*match["headers"], UNUSED_HEADER]
    return copied


def is_disarmed(spec: Object) -> bool:
    matches = [match for rule in spec["rules"] for match in rule.get("matches", [])]
    return all(has_fields(match.get("headers", [None])[-1], UNUSED_HEADER) for match in matches)


def is_of(route: Object, rollout: Object) -> bool:
    """Whether a route belongs to this rollout, and not to another one or a person."""
    labels = route["metadata"].get("labels") or {}
    return bool(labels.get(ROLLOUT_LABEL) == rollout["metadata"]["name"])


def has_fields(current: Any, required: Any) -> bool:
    """Whether an object has all required fields; the API server adds defaults to the others."""
    if isinstance(required, dict):
        return isinstance(current, dict) and all(
            key in current and has_fields(current[key], value) for key, value in required.items()
        )
    if isinstance(required, list):
        return (
            isinstance(current, list)
            and len(current) == len(required)
            and all(map(has_fields, current, required))
        )
    return bool(current == required)


def route(isvc: Object, spec: Object, rollout: Object) -> Object:
    """The whole object; it is deleted with the rollout, and KServe's own route remains."""
    service = isvc["metadata"]
    owner = rollout["metadata"]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {
            "name": route_name(service["name"]),
            "namespace": service["namespace"],
            "labels": {ROLLOUT_LABEL: owner["name"]},
            "ownerReferences": [
                {
                    "apiVersion": f"{GROUP}/{VERSION}",
                    "kind": KIND,
                    "name": owner["name"],
                    "uid": owner["uid"],
                }
            ],
        },
        "spec": spec,
    }
