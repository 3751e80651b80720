"""Who leads: one of several controllers, by a Lease, through the official client's election.

That election asks without time limits and ends on the first lost connection; its lock is given both
here. `is_leading` is asked before everything that is done, since a process may sleep for longer
than its lease lasts.
"""

import logging
import time
from collections.abc import Callable
from typing import Any

import urllib3
from kubernetes import client
from kubernetes.client.exceptions import ApiException
from kubernetes.leaderelection.electionconfig import Config
from kubernetes.leaderelection.leaderelection import LeaderElection
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock

LEASE_S, RENEW_S, RETRY_S = 15, 10, 2
# A call may take so long; several fit into the time for renewing.
CALL_S = 3.0


class Election:
    """Of one process. Lost is lost: the process ends, and its pod begins anew."""

    def __init__(self, api: client.ApiClient, name: str, namespace: str, identity: str) -> None:
        self._lock = _Lock(api, name, namespace, identity)

    @property
    def is_leading(self) -> bool:
        """Whether the lease is surely ours still: it was renewed a short while ago."""
        renewed = self._lock.renewed
        return renewed is not None and time.monotonic() - renewed < RENEW_S

    def run(self, lead: Callable[[], None], lost: Callable[[], None]) -> None:
        """Wait for the lease, then run `lead` in a thread; returns after `lost` was called."""
        # It says every two seconds that somebody else leads.
        logging.getLogger("leaderelection").setLevel(logging.WARNING)
        LeaderElection(Config(
            self._lock, lease_duration=LEASE_S, renew_deadline=RENEW_S, retry_period=RETRY_S,
            onstarted_leading=lead, onstopped_leading=lost,
        )).run()  # fmt: skip


class _Lock(LeaseLock):  # type: ignore[misc]  # the client is untyped
    """With time limits; a lost connection is a failure like others."""

    def __init__(self, api: client.ApiClient, name: str, namespace: str, identity: str) -> None:
        super().__init__(name, namespace, identity)
        self.api_instance = _Patient(client.CoordinationV1Api(api))
        self.renewed: float | None = None

    def create(self, name: str, namespace: str, election_record: Any) -> bool:
        return self._renew(super().create, name, namespace, election_record)

    def update(self, name: str, namespace: str, updated_record: Any) -> bool:
        return self._renew(super().update, name, namespace, updated_record)

    def _renew(self, write: Callable[..., bool], *arguments: Any) -> bool:
        begun = time.monotonic()
        if not write(*arguments):
            return False
        self.renewed = begun
        return True


class _Patient:
    """The three calls of the lock."""

    def __init__(self, leases: client.CoordinationV1Api) -> None:
        self._leases = leases

    def read_namespaced_lease(self, *arguments: Any, **named: Any) -> Any:
        return self._ask(self._leases.read_namespaced_lease, *arguments, **named)

    def create_namespaced_lease(self, *arguments: Any, **named: Any) -> Any:
        return self._ask(self._leases.create_namespaced_lease, *arguments, **named)

    def replace_namespaced_lease(self, *arguments: Any, **named: Any) -> Any:
        return self._ask(self._leases.replace_namespaced_lease, *arguments, **named)

    @staticmethod
    def _ask(call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        try:
            return call(*arguments, **named, _request_timeout=CALL_S)
        except urllib3.exceptions.HTTPError as error:
            raise ApiException(status=0, reason=type(error).__name__) from error
