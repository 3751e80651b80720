"""Tries a version in a process of its own before it is loaded into the one that serves others.

Some files of a model end the process that opens them, or take all of its memory: a fault in native
code, an abort, an endless regular expression. The trial loads and proves the version in
`trial_process`, within a deadline and within the memory that is left. A version that passed is
remembered in the cache directory by its digest, and is not tried again.
"""

import hashlib
import logging
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import msgspec

import predictor
from predictor.bundle.manifest import MANIFEST, is_bundle, sha256
from predictor.errors import (
    BadModel,
    BadSetting,
    IncompleteModel,
    NoMemory,
    NoResources,
    NotInTime,
    PredictorError,
    WrongVectors,
)
from predictor.repository import memory
from predictor.repository.layout import stamp_of
from predictor.settings import ModelSettings, Settings
from predictor.storage.download import Tail
from predictor.wall import system_error

logger = logging.getLogger(__name__)

PROVEN = "proven"
# What the process takes beside the version, bytes: Python and the libraries, measured.
PROCESS_BYTES = 64 * memory.MIB
# Data that is reserved and never resident, bytes: libraries, and the stack of each thread.
RESERVED_BYTES = 64 * memory.MIB
STACK_BYTES = 8 * memory.MIB
# Time between two looks at the process's memory, seconds.
POLL_S = 0.02
# Longest wait for the end of a process that was killed, seconds.
KILL_S = 5.0
# What native libraries say when memory is refused to them.
OUT_OF_MEMORY = (b"memory allocation of", b"bad_alloc", b"Cannot allocate memory")
# The errors that a report may name.
REPORTED: dict[str, type[PredictorError]] = {
    error.__name__: error
    for error in (BadModel, IncompleteModel, WrongVectors, NoMemory, NoResources, BadSetting)
}
LIBRARIES = ("onnxruntime", "onnxruntime-gpu", "safetensors", "tokenizers")


class TrialOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What the process has to try; sent on standard input."""

    folder: str
    name: str
    version: str
    model: ModelSettings
    # The process with which to die.
    parent: int
    # Bytes of data that it may have; None: no limit.
    data_limit: int | None


class TrialReport(msgspec.Struct, frozen=True):
    """How the trial ended; sent on standard output."""

    # The class of the error, one of `REPORTED`; empty: the version can be served.
    error: str = ""
    message: str = ""


class VersionTrial:
    """Blocks; to be used in threads, by one of them at a time."""

    def __init__(self, settings: Settings, limit: int | None) -> None:
        """limit: bytes that this process and the trial may use together; None: no limit."""
        self._model = settings.model
        self._timeout_s = settings.repository.trial_timeout_s
        self._limit = limit

    def is_proven(self, folder: Path) -> bool:
        """Whether these files passed a trial before, with these libraries and settings."""
        try:
            return self._mark(folder).is_file()
        except OSError:  # loading it says what is missing
            return False

    def run(self, folder: Path, name: str, version: str) -> None:
        """Try a version, and remember it if it can be served.

        Raises:
            BadModel, BadSetting: it cannot be served.
            NoMemory, NotInTime: the trial was ended for memory or time.
        """
        logger.info("trying %s version %s in a process of its own", name, version)
        mark = self._mark(folder)
        order = TrialOrder(
            folder=str(folder),
            name=name,
            version=version,
            model=self._model,
            parent=os.getpid(),
            data_limit=self._data_limit(),
        )
        report = self._report(order)
        if report.error:
            raise REPORTED[report.error](report.message)
        with suppress(OSError):  # it is tried again at the next start
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()

    def _mark(self, folder: Path) -> Path:
        """The file that says that these files passed. Raises OSError."""
        key = f"{_digest(folder)}\n{msgspec.json.encode(self._model).decode()}\n{_libraries()}"
        return Path(self._model.cache_dir) / PROVEN / hashlib.sha256(key.encode()).hexdigest()

    def _data_limit(self) -> int | None:
        if self._limit is None:
            return None
        threads = self._model.threads or os.cpu_count() or 1
        room = self._limit - memory.resident_bytes()
        return max(0, room) + RESERVED_BYTES + 2 * threads * STACK_BYTES

    def _report(self, order: TrialOrder) -> TrialReport:
        # -P: no module of the working directory is taken for one of Python's.
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "predictor.repository.trial_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(),
            start_new_session=True,
        )
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stderr is not None
            report = Tail(process.stdout)
            log = Tail(process.stderr)
            with suppress(BrokenPipeError), process.stdin:
                process.stdin.write(msgspec.json.encode(order))
            self._wait(process, order)
        finally:
            _end(process)
        written = log.text()
        logger.debug("%s: the trial wrote: %s", order.folder, written.decode(errors="replace"))
        try:
            return msgspec.json.decode(report.text(), type=TrialReport)
        except msgspec.DecodeError:
            return _report_of_end(order.folder, process.returncode, written)

    def _wait(self, process: "subprocess.Popen[bytes]", order: TrialOrder) -> None:
        """Wait for the end of the process. Raises NoMemory, NotInTime."""
        deadline = time.monotonic() + self._timeout_s
        is_trimmed = False
        while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if time.monotonic() >= deadline:
                raise NotInTime(
                    f"{order.folder}: not loaded within {self._timeout_s:g} s (--trial-timeout-s)"
                )
            used = memory.resident_bytes(process.pid)
            if not self._fits(used) and not is_trimmed:
                is_trimmed = True
                memory.give_back()
            if self._limit is not None and not self._fits(used):
                raise NoMemory(
                    f"{order.folder}: took {used // memory.MIB} MiB while it was tried, beside the "
                    f"{memory.resident_bytes() // memory.MIB} MiB in use; the limit is "
                    f"{self._limit // memory.MIB} MiB (--memory-limit-mb)"
                )
            time.sleep(POLL_S)

    def _fits(self, used: int) -> bool:
        """Whether so many bytes of the trial fit beside what this process uses."""
        return self._limit is None or memory.resident_bytes() + used <= self._limit


def limit_data(limit: int | None) -> None:
    """Refuse this process more data than that, for good. ONNX Runtime's arenas count, files do not.

    Args:
        limit: bytes; None: no limit.
    """
    if limit is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        bound = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (bound, bound))


def report_of(attempt: Callable[[], object]) -> TrialReport:
    """Try, in the process: what the server is told of it."""
    try:
        attempt()
    except (BadModel, BadSetting) as error:
        name = type(error).__name__
        return TrialReport(name if name in REPORTED else BadModel.__name__, str(error))
    except MemoryError:
        return TrialReport(NoMemory.__name__, "not enough memory to load it")
    except OSError as error:
        failure = system_error("loading it failed", error)
        return TrialReport(type(failure).__name__, str(failure))
    except BaseException as error:
        traceback.print_exc()
        return TrialReport(BadModel.__name__, f"loading it raised {type(error).__name__}")
    return TrialReport()


def _report_of_end(folder: str, status: int | None, log: bytes) -> TrialReport:
    """The report for a process that ended without one."""
    how = f"with status {status}"
    if status is not None and status < 0:
        how = f"by {signal.Signals(-status).name}"
    is_short = status == -signal.SIGKILL or any(sign in log for sign in OUT_OF_MEMORY)
    message = f"{folder}: the process that tried it ended {how}"
    if is_short:
        return TrialReport(NoMemory.__name__, f"{message}: not enough memory")
    return TrialReport(BadModel.__name__, message)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Kill the process and all that it started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    try:
        process.wait(KILL_S)
    except subprocess.TimeoutExpired:
        logger.error("process %d cannot be killed: its disk does not answer", process.pid)


def _environment() -> dict[str, str]:
    environment = dict(os.environ) | {"PYTHONDONTWRITEBYTECODE": "1", "RUST_BACKTRACE": "0"}
    package = str(Path(predictor.__file__).parents[1])
    paths = (package, environment.get("PYTHONPATH"))
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    return environment


def _digest(folder: Path) -> str:
    """Of all that a version is: a bundle's manifest has the digests of its files."""
    if is_bundle(folder):
        return sha256(folder / MANIFEST)
    listed = [f"{name} {sha256(folder / name)}" for name, _, _, _ in stamp_of(folder)]
    return hashlib.sha256("\n".join(listed).encode()).hexdigest()


def _libraries() -> str:
    versions = [f"predictor {predictor.__version__}"]
    for name in LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            versions.append(f"{name} {metadata.version(name)}")
    return ", ".join(versions)
