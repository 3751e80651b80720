"""What to do with what was fetched: a decision about numbers and digests, without any file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# (model, version); the model is "" where the mirror is one model.
Key = tuple[str, int]
# Versions kept of a model without numbers: the newest, and the one before for the way back.
KEPT = 2


@dataclass(frozen=True)
class Offer:
    """A version in the download.

    number: None where the remote gives none: a plain model folder.
    content: digest of all of it; None where it is not whole and may not be published.
    """

    model: str
    number: int | None
    content: str | None


@dataclass(frozen=True)
class Plan:
    """publish: offers and the numbers they get; gone: to be removed; conflicts: kept as they are,
    though the remote has another content under that number.
    """

    publish: tuple[tuple[Offer, int], ...] = ()
    unchanged: tuple[Key, ...] = ()
    gone: tuple[Key, ...] = ()
    conflicts: tuple[Key, ...] = ()


def plan(offers: Sequence[Offer], there: Mapping[Key, str]) -> Plan:
    """Compare the download with the mirror; a version that is there is never changed.

    Args:
        there: contents of the versions in the mirror.
    """
    publish: list[tuple[Offer, int]] = []
    unchanged: list[Key] = []
    conflicts: list[Key] = []
    wanted: set[Key] = set()
    for offer in offers:
        key = _key_of(offer, there)
        wanted |= {key} if offer.number is not None else _last(offer.model, {*there, key})
        if key not in there:
            if offer.content is not None:
                publish.append((offer, key[1]))
        elif offer.content is not None:
            (unchanged if there[key] == offer.content else conflicts).append(key)
    gone = tuple(sorted(set(there) - wanted))
    return Plan(tuple(publish), tuple(unchanged), gone, tuple(conflicts))


def _key_of(offer: Offer, there: Mapping[Key, str]) -> Key:
    """Where an offer belongs: without a number, the newest if it is the same, else a new one."""
    if offer.number is not None:
        return offer.model, offer.number
    newest = max((number for model, number in there if model == offer.model), default=0)
    key = offer.model, newest
    if newest and offer.content in (None, there[key]):
        return key
    return offer.model, newest + 1


def _last(model: str, keys: set[Key]) -> set[Key]:
    return set(sorted(key for key in keys if key[0] == model)[-KEPT:])
