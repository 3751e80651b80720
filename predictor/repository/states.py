"""What is known of each version, and the table that the V2 repository index shows of it.

No loop, no threads and no files here: the records and what can be read off them.
"""

import contextlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, Protocol, TypeVar

import msgspec
from prometheus_client import Gauge

from predictor.errors import BadModel, PredictorError
from predictor.metrics import MODEL_FAILED, MODEL_INFO, MODEL_READY
from predictor.repository.layout import Found, Layout, Stamp
from predictor.repository.opening import LoadedModel
from predictor.repository.policy import Policy, Selection, select

SETTLING = "files are still being written"
FOUND = "found, and not chosen so far"
GONE = "its files are gone; it is served until another version takes its place"
CHANGED = "its files were changed; what was loaded is still served (publish another number)"


class State(StrEnum):
    """The words of the V2 repository extension (Triton's extension_model_repository.md)."""

    READY = "READY"
    LOADING = "LOADING"
    UNLOADING = "UNLOADING"
    UNAVAILABLE = "UNAVAILABLE"


class Served(Protocol):
    """A version that answers requests; made from a LoadedModel by the floor above."""

    loaded: LoadedModel

    @property
    def is_healthy(self) -> bool: ...

    def start_answering(self) -> None:
        """Be ready for requests, on the running loop."""

    async def stop_answering(self, wait_s: float) -> None:
        """Wait so many seconds for what was accepted, then let go of everything."""


S = TypeVar("S", bound=Served)


class IndexEntry(msgspec.Struct, frozen=True):
    """A line of the repository index. version is empty where there is none to speak of."""

    name: str
    version: str
    state: State
    reason: str


@dataclass(eq=False)
class Version(Generic[S]):
    """One version of one model.

    code: the bounded word for `reason` that metrics use; empty where nothing is wrong.
    failed: the files that were found wanting; the same files are not tried again by themselves.
    opened: loaded before the loop ran, and not yet taken over; opening_s: seconds that it took.
    """

    model: str
    number: int
    found: Found | None = None
    state: State = State.UNAVAILABLE
    reason: str = ""
    code: str = ""
    failed: Stamp | None = None
    settling: bool = False
    loaded_stamp: Stamp = ()
    opened: LoadedModel | None = None
    opening_s: float = 0.0
    served: S | None = None
    info: tuple[str, ...] = ()

    @property
    def is_live(self) -> bool:
        return self.state is State.READY

    @property
    def is_warm(self) -> bool:
        """Loaded, and not asked."""
        return self.served is not None and self.state is State.UNAVAILABLE

    @property
    def is_available(self) -> bool:
        """Whether it may be chosen: it is there, and not known to be bad."""
        if self.found is None:
            return False
        if self.served is not None:
            return True
        return not self.settling and not self.found.problem and self.failed != self.found.stamp

    @property
    def dimensions(self) -> int | None:
        loaded = self.served.loaded if self.served else self.opened
        if loaded is not None:
            return loaded.bundle.dimensions
        return self.found.dimensions if self.found else None

    def become(self, state: State, reason: str = "", code: str = "") -> None:
        """Change the state, and the gauges that show it."""
        self.state, self.reason, self.code = state, reason, code
        MODEL_FAILED.labels(self.model, str(self.number)).set(bool(code))
        MODEL_READY.labels(self.model, str(self.number)).set(state is State.READY)
        self._tell_info()

    def _tell_info(self) -> None:
        """Say which revision and variant answers, while it does."""
        if self.info:
            _remove(MODEL_INFO, *self.info)
            self.info = ()
        if self.is_live and self.served is not None:
            loaded = self.served.loaded
            number, revision = str(self.number), loaded.bundle.revision
            self.info = (self.model, number, revision, loaded.variant)
            MODEL_INFO.labels(*self.info).set(1)

    def fail(self, error: PredictorError) -> None:
        """Take it out of the choice until its files change or somebody asks for it."""
        self.failed = self.found.stamp if self.found else ()
        code = error.reason if isinstance(error, BadModel) else error.code
        self.become(State.UNAVAILABLE, str(error), code)

    def forget(self) -> None:
        """Remove its gauges: the version is no more."""
        _remove(MODEL_FAILED, self.model, str(self.number))
        _remove(MODEL_READY, self.model, str(self.number))


def _remove(metric: Gauge, *labels: str) -> None:
    with contextlib.suppress(KeyError):  # it was never set
        metric.remove(*labels)


@dataclass(eq=False)
class ModelState(Generic[S]):
    """All versions of one model, and what somebody asked for beside the policy.

    default: the version that answers who names none.
    asked: the version that was asked to be the default.
    stopped: versions that somebody unloaded; `unloaded`: all of them.
    """

    name: str
    versions: dict[int, Version[S]] = field(default_factory=dict)
    default: int | None = None
    asked: int | None = None
    unloaded: bool = False
    stopped: set[int] = field(default_factory=set)

    @property
    def live(self) -> list[Version[S]]:
        return [version for version in self.versions.values() if version.is_live]

    def select(self, policy: Policy) -> Selection:
        """What should be served now."""
        if self.unloaded:
            return Selection()
        available = {
            number: version.dimensions
            for number, version in self.versions.items()
            if version.is_available and number not in self.stopped
        }
        default = self.versions.get(self.default) if self.default is not None else None
        is_default_kept = default is not None and default.number not in self.stopped
        width = default.dimensions if default is not None and is_default_kept else None
        selection = select(policy, available, asked=self.asked, dimensions=width)
        if not selection.versions and default is not None and is_default_kept:
            # Nothing can take its place: what answers now goes on, even if its files are gone.
            return Selection((default.number,), default.number, selection.held)
        return selection

    def ask(self, number: int | None) -> None:
        """Take a wish: a version as the default, or (None) what the policy says."""
        self.asked, self.unloaded = number, False
        self.stopped -= set(self.versions) if number is None else {number}
        for version in self.versions.values():
            if number in (None, version.number) and version.served is None:
                version.failed, version.settling = None, False

    def stop(self, number: int | None) -> None:
        """Take the wish that a version, or (None) the whole model, is not served."""
        if number is None:
            self.unloaded = True
        else:
            self.stopped.add(number)
        if number in (None, self.asked):
            self.asked = None

    def forgive(self, code: str = "") -> None:
        """Let versions that failed be tried again: all of them, or those that failed for this."""
        for version in self.versions.values():
            if version.failed is not None and code in ("", version.code):
                version.failed = None

    def is_stopped(self, number: int) -> bool:
        return self.unloaded or number in self.stopped

    def explain(self) -> str:
        """Why no version answers, in a sentence; for who asks for the model."""
        for _, version in sorted(self.versions.items(), reverse=True):
            if version.reason:
                return f"version {version.number}: {version.reason}"
        return "no version is loaded"


def merge(models: dict[str, ModelState[S]], layout: Layout, before: Layout | None) -> bool:
    """Take in what was seen; True if something is still being written.

    A version counts once two looks have seen the same files: who copies a directory into place
    may be half-way. The first look (`before` is None) is believed.
    """
    settling = False
    for name, found in layout.models.items():
        model = models.setdefault(name, ModelState(name))
        for number, there in found.items():
            version = model.versions.setdefault(number, Version(name, number))
            earlier = before.models.get(name, {}).get(number) if before else there
            is_settled = earlier is not None and earlier.stamp == there.stamp
            _see(version, there, is_settled)
            settling = settling or version.settling
    for name, model in list(models.items()):
        for number, version in list(model.versions.items()):
            if number not in layout.models.get(name, {}):
                version.found, version.settling = None, False
                if version.is_live:
                    version.reason = GONE
                if version.served is None and version.state is State.UNAVAILABLE:
                    version.forget()
                    del model.versions[number]
        if not model.versions:
            del models[name]
    return settling


def _see(version: Version[S], there: Found, is_settled: bool) -> None:
    version.found, version.settling = there, not is_settled
    if version.settling:
        version.failed = None  # of other files
    if version.is_live:
        version.reason = CHANGED if version.loaded_stamp != there.stamp else ""
    elif version.served is not None:
        return  # warm or unloading: what is in memory does not mind
    elif there.problem:
        version.become(State.UNAVAILABLE, there.problem, "invalid")
    elif version.settling:
        version.become(State.UNAVAILABLE, SETTLING, "incomplete")
    elif version.reason in (SETTLING, ""):
        version.become(State.UNAVAILABLE, FOUND)


def index_of(models: dict[str, ModelState[S]], layout: Layout | None) -> list[IndexEntry]:
    """Every version that is known of, by name and number, and what is no version at all."""
    entries = [
        IndexEntry(name, str(number), version.state, version.reason)
        for name, model in sorted(models.items())
        for number, version in sorted(model.versions.items())
    ]
    strays = layout.strays if layout else {}
    entries += [
        IndexEntry(name, entry, State.UNAVAILABLE, why)
        for (name, entry), why in sorted(strays.items())
    ]
    return entries
