"""Who gets which version while two are compared: a route of ours beside KServe's. Pure.

KServe's HTTPRoute splits by weights alone. Ours has the same hosts, gateways and paths and asks for
a header too, and of two routes with the same path the one that asks for more headers counts
(Gateway API, HTTPRouteRule, `matches`). It is made of KServe's rules, so that REST and gRPC go the
same way; for that the paths must be written as KServe writes them (seen on a living Envoy Gateway:
with another path only the weights counted).
"""

import copy
from typing import Any

from predictor.rollout.spec import GROUP, KIND, VERSION, Compare

Object = dict[str, Any]

ROLLOUT_LABEL = f"{GROUP}/rollout"
CANARY, STABLE = "canary", "stable"
NOBODY = {"type": "Exact", "name": f"x-{GROUP.replace('.', '-')}-nobody", "value": "gone"}
# What the last two characters of a user's header can be, and hence how finely users are split.
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
        parts.append(_digit(whole) + _digit(len(DIGITS)))
    if rest:
        parts.append(_one(whole) + _digit(rest))
    return f"^.*({'|'.join(parts)})$"


def _digit(count: int) -> str:
    """One of the first `count` digits, large or small."""
    return "[" + "".join(_both(digit) for digit in DIGITS[:count]) + "]"


def _one(index: int) -> str:
    return f"[{_both(DIGITS[index])}]"


def _both(digit: str) -> str:
    return digit if digit.isdigit() else digit + digit.upper()


def headers(compare: Compare, weight: int) -> list[tuple[Object, str]]:
    """What is asked of a request, in this order, and the version that it gets then.

    Args:
        weight: percent of the users that get the canary.
    """
    asked: list[tuple[Object, str]] = []
    if name := compare.version_header:
        asked += [({"type": "Exact", "name": name, "value": side}, side)
                  for side in (CANARY, STABLE)]  # fmt: skip
    if name := compare.user_header:
        counts = ((round(ENDINGS * weight / 100), CANARY), (ENDINGS, STABLE))
        asked += [({"type": "RegularExpression", "name": name, "value": endings(count)}, side)
                  for count, side in counts if count]  # fmt: skip
    return asked


def spec_of(kserves: Object, compare: Compare, weight: int, sides: dict[str, str]) -> Object:
    """The specification of our route.

    Args:
        kserves: the HTTPRoute that has the InferenceService's name.
        sides: Service of `canary` and `stable`.
    """
    spec = kserves["spec"]
    rules = [
        _rule(rule, asked, sides[side])
        for rule in spec["rules"]
        for asked, side in headers(compare, weight)
    ]
    kept = {key: copy.deepcopy(spec[key]) for key in ("hostnames", "parentRefs") if key in spec}
    return kept | {"rules": rules}


def _rule(rule: Object, asked: Object, service: str) -> Object:
    made = copy.deepcopy(rule)
    made.pop("name", None)
    for match in (matches := made.get("matches") or [{}]):
        match["headers"] = [*match.get("headers", []), asked]
    backend = {key: value for key, value in made["backendRefs"][0].items() if key != "weight"}
    return made | {"matches": matches, "backendRefs": [backend | {"name": service}]}


def disarmed(spec: Object) -> Object:
    """The same route with a header that nobody sends: its requests go by KServe's route.

    A gateway drops the clusters of a route with the route, and a request that is on its way to one
    of them gets a 503 (seen: two of 2 455). So a route is disarmed before it goes.
    """
    left = copy.deepcopy(spec)
    for rule in left["rules"]:
        for match in rule["matches"]:
            match["headers"] = [*match["headers"], NOBODY]
    return left


def is_disarmed(spec: Object) -> bool:
    found = [match for rule in spec["rules"] for match in rule.get("matches", [])]
    return all(is_as_wanted(match.get("headers", [None])[-1], NOBODY) for match in found)


def is_of(split: Object, rollout: Object) -> bool:
    """Whether a route is this rollout's, and not another one's or a person's."""
    labels = split["metadata"].get("labels") or {}
    return bool(labels.get(ROLLOUT_LABEL) == rollout["metadata"]["name"])


def is_as_wanted(there: Any, wanted: Any) -> bool:
    """Whether an object has all that is wanted; the API server adds what was left open."""
    if isinstance(wanted, dict):
        return isinstance(there, dict) and all(
            key in there and is_as_wanted(there[key], value) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(there, list)
            and len(there) == len(wanted)
            and all(map(is_as_wanted, there, wanted))
        )
    return bool(there == wanted)


def route(isvc: Object, spec: Object, rollout: Object) -> Object:
    """The whole object. It goes with the rollout; what is left then is KServe's own route."""
    service, owner = isvc["metadata"], rollout["metadata"]
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
