"""What is known of each version and each model, without loop, threads or files."""

import contextlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, Protocol, TypeVar

from prometheus_client import Gauge

from predictor.errors import BadModel, PredictorError
from predictor.metrics import MODEL_FAILED, MODEL_INFO, MODEL_READY
from predictor.repository.layout import Stamp, VersionFolder
from predictor.repository.load import LoadedModel
from predictor.repository.policy import Policy, Selection, select


class VersionState(StrEnum):
    """The words of the V2 repository extension (Triton's extension_model_repository.md)."""

    READY = "READY"
    LOADING = "LOADING"
    UNLOADING = "UNLOADING"
    UNAVAILABLE = "UNAVAILABLE"


class Served(Protocol):
    """A version that answers requests; made from a LoadedModel by the server."""

    loaded: LoadedModel

    @property
    def is_healthy(self) -> bool: ...

    def start_answering(self) -> None:
        """Be ready for requests, on the running loop."""

    async def stop_answering(self, wait_s: float) -> None:
        """Wait at most `wait_s` seconds for accepted requests, then release everything."""


S = TypeVar("S", bound=Served)

# Time until a version is tried again that failed for a fault of the surroundings, seconds.
FIRST_RETRY_S = 2.0
LONGEST_RETRY_S = 300.0


def retry_delay_s(attempts: int) -> float:
    """Seconds until the next attempt after so many that failed before this one."""
    return min(LONGEST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(attempts, 30))


@dataclass(eq=False)
class VersionRecord(Generic[S]):
    """One version of one model."""

    model: str
    number: int
    # Its files at the last scan; None: there are none any more.
    on_disk: VersionFolder | None = None
    state: VersionState = VersionState.UNAVAILABLE
    # A sentence for the repository index; may be empty.
    reason: str = ""
    # The bounded word for `reason` in metrics; empty: nothing is wrong.
    code: str = ""
    # The files that failed to load, which are not tried again by themselves; None: none did.
    failed: Stamp | None = None
    # Failures in a row that were not of the files, and when (on the monotonic clock, seconds) the
    # same files are tried again; None: not by themselves.
    attempts: int = 0
    retry_at: float | None = None
    # Whether the last two scans saw different files.
    is_being_written: bool = False
    # The files that were loaded.
    loaded_stamp: Stamp = ()
    # Loaded before the event loop ran, and not yet served.
    preloaded: LoadedModel | None = None
    # Seconds that preloading took.
    loading_s: float = 0.0
    served: S | None = None
    # Labels of its series of MODEL_INFO; empty: it has none.
    info: tuple[str, ...] = ()

    @property
    def is_live(self) -> bool:
        return self.state is VersionState.READY

    @property
    def is_warm(self) -> bool:
        """Whether it is loaded and gets no requests."""
        return self.served is not None and self.state is VersionState.UNAVAILABLE

    @property
    def is_available(self) -> bool:
        """Whether it may be selected: its files are there and not known to be bad."""
        if self.on_disk is None:
            return False
        if self.served is not None:
            return True
        is_usable = not self.is_being_written and not self.on_disk.problem
        return is_usable and self.failed != self.on_disk.stamp

    @property
    def dimensions(self) -> int | None:
        """Of its vectors; None: not known before it is loaded."""
        loaded = self.served.loaded if self.served else self.preloaded
        if loaded is not None:
            return loaded.bundle.dimensions
        return self.on_disk.dimensions if self.on_disk else None

    def set_state(self, state: VersionState, reason: str = "", code: str = "") -> None:
        """Change the state, and the gauges that show it."""
        if state is VersionState.READY:
            self.attempts = 0
        self.state = state
        self.reason = reason
        self.code = code
        MODEL_FAILED.labels(self.model, str(self.number)).set(bool(code))
        MODEL_READY.labels(self.model, str(self.number)).set(state is VersionState.READY)
        self._set_info()

    def _set_info(self) -> None:
        """Show revision and variant while the version is live."""
        if self.info:
            _remove(MODEL_INFO, *self.info)
            self.info = ()
        if self.is_live and self.served is not None:
            loaded = self.served.loaded
            self.info = (self.model, str(self.number), loaded.bundle.revision, loaded.variant)
            MODEL_INFO.labels(*self.info).set(1)

    def fail(self, error: PredictorError, now: float) -> None:
        """Exclude it from selection until its files change or it is requested again.

        If the fault was not of the files, it is tried again, after twice the time at each failure.

        Args:
            now: on the monotonic clock, seconds.
        """
        self.forget_failure()
        self.failed = self.on_disk.stamp if self.on_disk else ()
        code = error.reason if isinstance(error, BadModel) else error.code
        reason = str(error)
        if isinstance(error, BadModel) and error.is_passing:
            delay_s = retry_delay_s(self.attempts)
            self.attempts += 1
            self.retry_at = now + delay_s
            reason = f"{reason}; it is tried again after {delay_s:.0f} s"
        self.set_state(VersionState.UNAVAILABLE, reason, code)

    def forget_failure(self) -> None:
        """Let the files be selected again that failed."""
        self.failed = None
        self.retry_at = None

    def remove_metrics(self) -> None:
        """Remove the gauges of a version that does not exist any more."""
        _remove(MODEL_FAILED, self.model, str(self.number))
        _remove(MODEL_READY, self.model, str(self.number))


def _remove(metric: Gauge, *labels: str) -> None:
    with contextlib.suppress(KeyError):  # it was never set
        metric.remove(*labels)


@dataclass(eq=False)
class ModelRecord(Generic[S]):
    """All versions of one model, and the requests that override the policy."""

    name: str
    versions: dict[int, VersionRecord[S]] = field(default_factory=dict)
    # The version that answers requests without a version.
    default: int | None = None
    # The version that was requested as the default.
    requested: int | None = None
    # Whether the whole model was unloaded by request.
    unloaded: bool = False
    # Versions that were unloaded by request.
    stopped: set[int] = field(default_factory=set)

    @property
    def live(self) -> list[VersionRecord[S]]:
        return [version for version in self.versions.values() if version.is_live]

    def select(self, policy: Policy) -> Selection:
        """The versions that should be served now."""
        if self.unloaded:
            return Selection()
        available = {
            number: version.dimensions
            for number, version in self.versions.items()
            if version.is_available and number not in self.stopped
        }
        default = self.versions.get(self.default) if self.default is not None else None
        is_default_kept = default is not None and default.number not in self.stopped
        dimensions = default.dimensions if default is not None and is_default_kept else None
        selection = select(policy, available, requested=self.requested, dimensions=dimensions)
        if not selection.versions and default is not None and is_default_kept:
            # Nothing can replace it: the default goes on, even if its files were removed.
            return Selection((default.number,), default.number, selection.withheld)
        return selection

    def request(self, number: int | None) -> None:
        """Record a request for a version as the default, or (None) for what the policy says."""
        self.requested = number
        self.unloaded = False
        self.stopped -= set(self.versions) if number is None else {number}
        for version in self.versions.values():
            if number in (None, version.number) and version.served is None:
                version.forget_failure()
                version.attempts = 0
                version.is_being_written = False

    def stop(self, number: int | None) -> None:
        """Record a request to unload a version, or (None) the whole model."""
        if number is None:
            self.unloaded = True
        else:
            self.stopped.add(number)
        if number in (None, self.requested):
            self.requested = None

    def clear_failures(self, code: str = "") -> None:
        """Let versions that failed be tried again: all, or those that failed with this code."""
        for version in self.versions.values():
            if version.failed is not None and code in ("", version.code):
                version.forget_failure()

    def retry(self, now: float) -> None:
        """Let versions be tried again whose time has come.

        Args:
            now: on the monotonic clock, seconds.
        """
        for version in self.versions.values():
            if version.retry_at is not None and version.retry_at <= now:
                version.forget_failure()

    @property
    def next_retry_at(self) -> float | None:
        """When the next version is tried again (monotonic clock, seconds); None: none is."""
        times = (v.retry_at for v in self.versions.values() if v.retry_at is not None)
        return min(times, default=None)

    def is_stopped(self, number: int) -> bool:
        return self.unloaded or number in self.stopped

    def explain(self) -> str:
        """Why no version answers, in a sentence for the client."""
        for _, version in sorted(self.versions.items(), reverse=True):
            if version.reason:
                return f"version {version.number}: {version.reason}"
        return "no version is loaded"
