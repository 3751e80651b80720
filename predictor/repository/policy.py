"""Which versions of a model are to be served, and which is the default. Pure.

The words are Triton's: latest N, all, specific.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from predictor.bundle.version_folder import VERSION_NUMBER
from predictor.errors import BadSetting
from predictor.repository.layout import MODEL_NAME

Kind = Literal["latest", "all", "specific"]


@dataclass(frozen=True)
class Policy:
    """Which versions of a model are served."""

    kind: Kind = "latest"
    # latest: so many of the highest versions.
    count: int = 1
    # specific: these versions, as far as they are on disk.
    numbers: frozenset[int] = frozenset()

    def __str__(self) -> str:
        if self.kind == "latest":
            return f"latest:{self.count}"
        listed = ",".join(map(str, sorted(self.numbers)))
        return f"specific:{listed}" if self.kind == "specific" else "all"


@dataclass(frozen=True)
class Policies:
    """The policies of all models."""

    # Of the models that have none of their own.
    default: Policy = Policy()
    by_model: Mapping[str, Policy] = field(default_factory=dict)

    def of(self, model: str) -> Policy:
        return self.by_model.get(model, self.default)


@dataclass(frozen=True)
class Selection:
    """What a policy selects."""

    # Versions to be served, the highest first.
    versions: tuple[int, ...] = ()
    # The version that answers requests without a version.
    default: int | None = None
    # Versions that the policy would take if their dimensions were those of the others.
    withheld: frozenset[int] = frozenset()


def parse_policies(text: str) -> Policies:
    """`latest:1`, `all`, `specific:1,3`, and after `;` policies of single models: `m=latest:2`.

    Raises:
        BadSetting: it is no such list of policies.
    """
    default, by_model = Policy(), {}
    for part in filter(None, map(str.strip, text.split(";"))):
        model, equals, policy = part.rpartition("=")
        if equals:
            by_model[model.strip()] = _parse(policy.strip())
        else:
            default = _parse(policy)
    return Policies(default, by_model)


def _parse(text: str) -> Policy:
    kind, _, rest = text.partition(":")
    numbers = [part.strip() for part in rest.split(",")]
    if kind == "all" and not rest:
        return Policy("all")
    if all(VERSION_NUMBER.fullmatch(number) for number in numbers):
        if kind == "latest" and len(numbers) == 1:
            return Policy("latest", int(numbers[0]))
        if kind == "specific":
            return Policy("specific", numbers=frozenset(map(int, numbers)))
    raise BadSetting(
        f"--version-policy: {text!r} is not latest:N, all or specific:1,3 (with N and versions "
        "from 1)"
    )


def select(
    policy: Policy,
    available: Mapping[int, int | None],
    *,
    requested: int | None = None,
    dimensions: int | None = None,
) -> Selection:
    """Choose among the versions that are on disk and not known to be bad.

    A newer version with other dimensions never becomes the default by itself: its vectors do not
    go with those that clients have stored. It has to be requested by number.

    Args:
        available: dimensions by version, None where they are not known before it is loaded.
        requested: the version that was requested as the default; newer ones then do not count
            under `latest`, which is how to go back.
        dimensions: of the vectors that this model gives now; None: it gives none yet, and the
            lowest version sets them.
    """
    candidates = sorted(available, reverse=True)
    if requested is not None and requested in available:
        return Selection(_versions_beside(policy, candidates, requested), requested)
    if requested is not None and policy.kind == "latest":  # newer ones do not count
        candidates = [number for number in candidates if number < requested]
    if policy.kind == "specific":
        chosen = tuple(number for number in candidates if number in policy.numbers)
        return Selection(chosen, chosen[0] if chosen else None)
    known = [available[number] for number in reversed(candidates) if available[number] is not None]
    required = dimensions if dimensions is not None else next(iter(known), None)
    fitting = [n for n in candidates if available[n] is None or required in (None, available[n])]
    withheld = frozenset(candidates) - frozenset(fitting)
    if policy.kind == "all":
        default = fitting[0] if fitting else (candidates[0] if candidates else None)
        return Selection(tuple(candidates), default)
    chosen = tuple(fitting[: policy.count])
    withheld = frozenset(number for number in withheld if not chosen or number > chosen[-1])
    return Selection(chosen, chosen[0] if chosen else None, withheld)


def _versions_beside(policy: Policy, candidates: list[int], requested: int) -> tuple[int, ...]:
    """The versions that are served if one of them was requested as the default."""
    if policy.kind == "latest":
        return tuple([number for number in candidates if number <= requested][: policy.count])
    if policy.kind == "specific":
        return tuple(n for n in candidates if n in policy.numbers or n == requested)
    return tuple(candidates)


def parse_versions(flag: str, text: str) -> frozenset[tuple[str, int]]:
    """`m:1,other:3` as pairs.

    Raises:
        BadSetting: it is no such list.
    """
    pairs = set()
    for part in filter(None, map(str.strip, text.split(","))):
        model, _, number = part.rpartition(":")
        is_model = all(map(MODEL_NAME.fullmatch, model.split("/")))
        if not is_model or not VERSION_NUMBER.fullmatch(number):
            raise BadSetting(f"{flag}: {part!r} is not model:version, such as minilm:1")
        pairs.add((model, int(number)))
    return frozenset(pairs)
