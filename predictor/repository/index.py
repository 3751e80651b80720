"""The V2 repository index: every version that is known of, its state and the reason for it."""

import msgspec

from predictor.repository.layout import Layout
from predictor.repository.states import ModelRecord, S, VersionState


class IndexEntry(msgspec.Struct, frozen=True):
    """A line of the repository index."""

    name: str
    # Empty: the line is about the model as a whole.
    version: str
    state: VersionState
    reason: str


def index_of(models: dict[str, ModelRecord[S]], layout: Layout | None) -> list[IndexEntry]:
    """Every version by name and number, then the entries of the directory that are none."""
    entries = [
        IndexEntry(name, str(number), version.state, version.reason)
        for name, model in sorted(models.items())
        for number, version in sorted(model.versions.items())
    ]
    strays = layout.strays if layout else {}
    entries += [
        IndexEntry(name, entry, VersionState.UNAVAILABLE, why)
        for (name, entry), why in sorted(strays.items())
    ]
    return entries


def problems_of(models: dict[str, ModelRecord[S]]) -> list[IndexEntry]:
    """Versions that should answer and cannot, with the reasons."""
    return [
        IndexEntry(name, str(number), version.state, version.reason)
        for name, model in sorted(models.items())
        for number, version in sorted(model.versions.items())
        if version.code
    ]
