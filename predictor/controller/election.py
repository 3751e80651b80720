"""Elects the controller that leads, by a Lease, through the official client's election.

That election has no time limits and ends on the first lost connection; the lock here adds both.
`is_leading` is checked before every write, since a process may be suspended for longer than its
lease lasts.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import urllib3
from kubernetes import client
from kubernetes.client.exceptions import ApiException
from kubernetes.leaderelection.electionconfig import Config
from kubernetes.leaderelection.leaderelection import LeaderElection
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock

from predictor.controller.field_ownership import MANAGER

logger = logging.getLogger(__name__)

LEASE_S = 15
RENEW_S = 10
RETRY_S = 2
# Time limit of a call; several calls fit into the time for renewing.
CALL_S = 3.0


class Election:
    """The election of one process; after a lost lease the process ends, and its pod restarts."""

    def __init__(self, api: client.ApiClient, name: str, namespace: str, identity: str) -> None:
        self._lock = _TimedLock(api, name, namespace, identity)

    @property
    def is_leading(self) -> bool:
        """Whether the lease is certainly ours: it was renewed less than `RENEW_S` ago."""
        renewed = self._lock.renewed
        return renewed is not None and time.monotonic() - renewed < RENEW_S

    def release(self) -> None:
        """Give the lease back, so that another process leads at its next attempt; never raises.

        To be called once nothing is written any more: this process never leads again.
        """
        self._lock.release()

    def run(self, lead: Callable[[], None], lost: Callable[[], None]) -> None:
        """Wait for the lease, then run `lead` in a thread; returns after `lost` was called."""
        # It logs every two seconds that another process leads.
        logging.getLogger("leaderelection").setLevel(logging.WARNING)
        config = Config(
            self._lock,
            lease_duration=LEASE_S,
            renew_deadline=RENEW_S,
            retry_period=RETRY_S,
            onstarted_leading=lead,
            onstopped_leading=lost,
        )
        LeaderElection(config).run()


class _TimedLock(LeaseLock):  # type: ignore[misc]  # the client is untyped
    """A lock with time limits; a lost connection is a failure like any other."""

    def __init__(self, api: client.ApiClient, name: str, namespace: str, identity: str) -> None:
        super().__init__(name, namespace, identity)
        self.api_instance = _TimedLeases(client.CoordinationV1Api(api))
        self.renewed: float | None = None
        self._is_released = False
        # A renewal that is under way would take the lease again.
        self._writing = threading.Lock()

    def create(self, name: str, namespace: str, election_record: Any) -> bool:
        return self._renew(super().create, name, namespace, election_record)

    def update(self, name: str, namespace: str, updated_record: Any) -> bool:
        return self._renew(super().update, name, namespace, updated_record)

    def _renew(self, write: Callable[..., bool], *arguments: Any) -> bool:
        with self._writing:
            started = time.monotonic()
            if self._is_released or not write(*arguments):
                return False
            self.renewed = started
            return True

    def release(self) -> None:
        """Remove the holder from the Lease if it is this process."""
        with self._writing:
            self._is_released = True
            if self.renewed is None:
                return
            self.renewed = None
            try:
                lease = self.api_instance.read_namespaced_lease(self.name, self.namespace)
                if lease.spec.holder_identity != self.identity:
                    return
                lease.spec.holder_identity = None
                self.api_instance.replace_namespaced_lease(self.name, self.namespace, lease)
            except ApiException as error:
                logger.warning("the lease was not given back: %s", error.reason)
            else:
                logger.info("the lease was given back")


class _TimedLeases:
    """The three calls of the lock, with a time limit each."""

    def __init__(self, leases: client.CoordinationV1Api) -> None:
        self._leases = leases

    def read_namespaced_lease(self, *arguments: Any, **named: Any) -> Any:
        return self._call(self._leases.read_namespaced_lease, *arguments, **named)

    def create_namespaced_lease(self, *arguments: Any, **named: Any) -> Any:
        named["field_manager"] = MANAGER
        return self._call(self._leases.create_namespaced_lease, *arguments, **named)

    def replace_namespaced_lease(self, *arguments: Any, **named: Any) -> Any:
        named["field_manager"] = MANAGER
        return self._call(self._leases.replace_namespaced_lease, *arguments, **named)

    @staticmethod
    def _call(request: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        try:
            return request(*arguments, **named, _request_timeout=CALL_S)
        except urllib3.exceptions.HTTPError as error:
            raise ApiException(status=0, reason=type(error).__name__) from error
