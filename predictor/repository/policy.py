"""Which versions of a model are to be served, and which one answers who names none. Pure.

The words are Triton's: latest N, all, specific.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from predictor.errors import BadSetting
from predictor.export.publish import VERSION
from predictor.repository.layout import MODEL_NAME

Kind = Literal["latest", "all", "specific"]


@dataclass(frozen=True)
class Policy:
    """latest: the `count` highest; specific: those of `numbers` that are there."""

    kind: Kind = "latest"
    count: int = 1
    numbers: frozenset[int] = frozenset()

    def __str__(self) -> str:
        if self.kind == "latest":
            return f"latest:{self.count}"
        listed = ",".join(map(str, sorted(self.numbers)))
        return f"specific:{listed}" if self.kind == "specific" else "all"


@dataclass(frozen=True)
class Policies:
    """`own` by model; `others` for the rest."""

    others: Policy = Policy()
    own: Mapping[str, Policy] = field(default_factory=dict)

    def of(self, model: str) -> Policy:
        return self.own.get(model, self.others)


@dataclass(frozen=True)
class Selection:
    """versions: to be served, the highest first; default: the one that answers who names none.

    held: versions that the policy would take, were their dimensions those of the others.
    """

    versions: tuple[int, ...] = ()
    default: int | None = None
    held: frozenset[int] = frozenset()


def parse_policies(text: str) -> Policies:
    """`latest:1`, `all`, `specific:1,3`, and after `;` those of single models: `m=latest:2`.

    Raises:
        BadSetting: it is none of these.
    """
    others, own = Policy(), {}
    for part in filter(None, map(str.strip, text.split(";"))):
        model, equals, policy = part.rpartition("=")
        if equals:
            own[model.strip()] = _parse(policy.strip())
        else:
            others = _parse(policy)
    return Policies(others, own)


def _parse(text: str) -> Policy:
    kind, _, rest = text.partition(":")
    numbers = [part.strip() for part in rest.split(",")]
    if kind == "all" and not rest:
        return Policy("all")
    if all(VERSION.fullmatch(number) for number in numbers):
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
    asked: int | None = None,
    dimensions: int | None = None,
) -> Selection:
    """Choose among the versions that are there and not known to be bad.

    A newer version with other dimensions never becomes the default by itself: its vectors do not
    go with those that clients have stored. Somebody has to ask for it by number.

    Args:
        available: dimensions by version, None where they are not known before it is loaded.
        asked: the version that somebody asked to be the default; newer ones then do not count
            under `latest`: that is how one goes back.
        dimensions: those of the vectors that this model gives now; None: it gives none yet, and
            the lowest version sets them.
    """
    there = sorted(available, reverse=True)
    if asked is not None and asked in available:
        return Selection(_taken(policy, there, asked), asked)
    if asked is not None and policy.kind == "latest":  # newer ones do not count for all that
        there = [number for number in there if number < asked]
    if policy.kind == "specific":
        chosen = tuple(number for number in there if number in policy.numbers)
        return Selection(chosen, chosen[0] if chosen else None)
    known = [available[number] for number in reversed(there) if available[number] is not None]
    width = dimensions if dimensions is not None else next(iter(known), None)
    fitting = [n for n in there if available[n] is None or width in (None, available[n])]
    held = frozenset(there) - frozenset(fitting)
    if policy.kind == "all":
        default = fitting[0] if fitting else (there[0] if there else None)
        return Selection(tuple(there), default)
    chosen = tuple(fitting[: policy.count])
    held = frozenset(number for number in held if not chosen or number > chosen[-1])
    return Selection(chosen, chosen[0] if chosen else None, held)


def _taken(policy: Policy, there: list[int], asked: int) -> tuple[int, ...]:
    """What is served beside the version that somebody asked for."""
    if policy.kind == "latest":
        return tuple([number for number in there if number <= asked][: policy.count])
    if policy.kind == "specific":
        return tuple(number for number in there if number in policy.numbers or number == asked)
    return tuple(there)


def parse_versions(flag: str, text: str) -> frozenset[tuple[str, int]]:
    """`m:1,other:3` as pairs.

    Raises:
        BadSetting: it is no such list.
    """
    pairs = set()
    for part in filter(None, map(str.strip, text.split(","))):
        model, _, number = part.rpartition(":")
        if not MODEL_NAME.fullmatch(model) or not VERSION.fullmatch(number):
            raise BadSetting(f"{flag}: {part!r} is not model:version, such as minilm:1")
        pairs.add((model, int(number)))
    return frozenset(pairs)
