"""Admin operations: load and unload, flush the cache, set the log level, shadow a canary.

They also return the sketches of the traffic, which are as confidential as embeddings.

They are off unless the operator turns them on: on the public port with a token, or on a separate
port that only processes in the pod can reach.
"""

import logging
import time
from collections.abc import Mapping
from typing import Any, Literal

from predictor.access import AdminToken
from predictor.bundle.version_folder import VERSION_NUMBER
from predictor.cache import RowCache
from predictor.drift import reference_to_bytes, sketch_to_bytes
from predictor.errors import InvalidInput, ModelNotFound, RouteNotFound
from predictor.repository import Repository
from predictor.repository.index import IndexEntry
from predictor.rollout.shadow import ShadowReport
from predictor.server.model import ServedModel
from predictor.server.shadow.shadow import ShadowSender
from predictor.server.shadow.trial import ShadowOrder
from predictor.server.watch.drift import DriftWatch

logger = logging.getLogger(__name__)

CLOSED = (
    "the repository API and the admin routes are not served here (--admin-token-file, or "
    "--admin-port on the pod's own address)"
)
# Parameters that Triton's clients send and that have no meaning here.
IGNORED = ("unload_dependents",)


class Admin:
    """What an operator can do."""

    def __init__(
        self,
        repository: Repository[ServedModel],
        memory: RowCache | None,
        token: AdminToken | None,
        traffic: DriftWatch,
        shadow: ShadowSender,
    ) -> None:
        """Without token, the public port has no admin routes; without memory, there is no cache."""
        self._repository = repository
        self._memory = memory
        self._token = token
        self._traffic = traffic
        self._shadow = shadow

    def check(self, credential: str | None, *, local: bool = False) -> None:
        """Check the admin token. local: whether the request came to the admin port.

        Raises:
            RouteNotFound: no token is set, so the public port has no admin routes.
            Unauthorized: the credential is not the token.
        """
        if self._token is not None:
            self._token.check(credential, time.monotonic())
        elif not local:
            raise RouteNotFound(CLOSED)

    def index(self, *, ready_only: bool) -> list[IndexEntry]:
        """Every known version, its state and the reason for it."""
        entries = self._repository.index()
        return [entry for entry in entries if entry.state == "READY" or not ready_only]

    async def load(self, name: str, version: object = None) -> None:
        """Serve the versions that the policy selects, or make `version` (or `m:2`) the default.

        Raises:
            InvalidInput: the version is not a number.
            ModelNotFound, BadModel, BadSetting: see `Repository.load`.
        """
        name, number = _split(name, version)
        logger.info("admin API: loading %s, version %s", name, number or "by policy")
        await self._repository.load(name, number)

    async def unload(self, name: str, version: object = None) -> None:
        """Stop serving a model or one version of it. Raises InvalidInput, ModelNotFound."""
        name, number = _split(name, version)
        logger.info("admin API: unloading %s, version %s", name, number or "all")
        await self._repository.unload(name, number)

    def flush_cache(self) -> int:
        """Empty the cache in memory; return its number of rows. Raises ModelNotFound."""
        if self._memory is None:
            raise ModelNotFound("there is no cache: --cache-mb is 0")
        rows = self._memory.flush()
        logger.info("cache flushed: %d rows", rows)
        return rows

    def drift(self, model: str, what: Literal["reference", "window"]) -> bytes:
        """A file for `predictor drift`: a version's reference, or its last window of traffic.

        Raises:
            ModelNotFound: there is no such version, it is not watched, or it has no reference yet.
        """
        monitor = self._traffic.monitor_of(self._repository.routing_table.find(model))
        if monitor is None:
            raise ModelNotFound("the traffic of this version is not watched (--drift-window-s)")
        if what == "window":
            # The closed window is preferred: an open one has few rows at first.
            return sketch_to_bytes(monitor.last or monitor.sketch())
        if monitor.reference is None:
            raise ModelNotFound("the reference is not made yet: see predictor_drift_learning")
        return reference_to_bytes(monitor.reference)

    def begin_shadow(self, order: ShadowOrder) -> ShadowReport:
        """Begin or renew the shadow; see `ShadowSender.begin`."""
        return self._shadow.begin(order)

    def end_shadow(self) -> ShadowReport:
        """End the shadow; return its last figures."""
        return self._shadow.end()

    def shadow_report(self) -> ShadowReport:
        """The figures of the shadow."""
        return self._shadow.report()

    @staticmethod
    def set_log_level(level: str) -> None:
        """Set the lowest level that is logged."""
        logging.getLogger().setLevel(level.upper())
        logger.warning("log level is %s now", level)

    @staticmethod
    def log_level() -> str:
        """The lowest level that is logged."""
        return logging.getLevelName(logging.getLogger().level).lower()


def version_of(parameters: Mapping[str, Any]) -> object:
    """Return the version in the parameters of load or unload, as received.

    Raises:
        InvalidInput: there is an unknown parameter.
    """
    unknown = [key for key in parameters if key not in ("version", *IGNORED)]
    if unknown:
        raise InvalidInput(f"unknown parameter {unknown[0][:40]!r}; only version is known")
    return parameters.get("version")


def _split(name: str, version: object) -> tuple[str, int | None]:
    """Name and number of `m`, `m:2`, or a name and a version beside it.

    Raises:
        InvalidInput: the version is no number from 1.
    """
    if version is None and ":" in name:
        name, _, version = name.rpartition(":")
    if version is None:
        return name, None
    if isinstance(version, bool) or not VERSION_NUMBER.fullmatch(str(version)):
        raise InvalidInput(f"version {str(version)[:40]!r} is not a number from 1")
    return name, int(str(version))
