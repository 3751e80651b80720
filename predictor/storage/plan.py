"""What to do with a download: a decision about numbers and digests, without any file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# (model, version); the model is "" where the mirror is one model.
VersionKey = tuple[str, int]
# Versions kept of a model without numbers: the newest, and the previous one to go back to.
KEPT = 2


@dataclass(frozen=True)
class Offer:
    """A version in the download."""

    model: str
    # None: the store gives none, as it holds a plain model folder.
    number: int | None
    # Digest of all files; None: it is not complete and must not be published.
    content: str | None


@dataclass(frozen=True)
class Plan:
    """What happens to the versions of the mirror."""

    # Offers to be published and their numbers.
    publish: tuple[tuple[Offer, int], ...] = ()
    unchanged: tuple[VersionKey, ...] = ()
    # Versions to be removed, as the store does not have them any more.
    remove: tuple[VersionKey, ...] = ()
    # Versions that are kept though the store has another content under their number.
    conflicts: tuple[VersionKey, ...] = ()


def plan(offers: Sequence[Offer], mirrored: Mapping[VersionKey, str]) -> Plan:
    """Compare the download with the mirror; a version in the mirror is never changed.

    Args:
        mirrored: digests of the versions in the mirror.
    """
    publish: list[tuple[Offer, int]] = []
    unchanged: list[VersionKey] = []
    conflicts: list[VersionKey] = []
    kept: set[VersionKey] = set()
    for offer in offers:
        key = _key_of(offer, mirrored)
        kept |= {key} if offer.number is not None else _last(offer.model, {*mirrored, key})
        if key not in mirrored:
            if offer.content is not None:
                publish.append((offer, key[1]))
        elif offer.content is not None:
            (unchanged if mirrored[key] == offer.content else conflicts).append(key)
    remove = tuple(sorted(set(mirrored) - kept))
    return Plan(tuple(publish), tuple(unchanged), remove, tuple(conflicts))


def _key_of(offer: Offer, mirrored: Mapping[VersionKey, str]) -> VersionKey:
    """The key of an offer; one without a number is the newest version if equal, else a new one."""
    if offer.number is not None:
        return offer.model, offer.number
    newest = max((number for model, number in mirrored if model == offer.model), default=0)
    key = offer.model, newest
    if newest and offer.content in (None, mirrored[key]):
        return key
    return offer.model, newest + 1


def _last(model: str, keys: set[VersionKey]) -> set[VersionKey]:
    return set(sorted(key for key in keys if key[0] == model)[-KEPT:])
