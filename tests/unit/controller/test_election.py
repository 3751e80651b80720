"""The lease is given back at the end, so that the next controller does not wait for its expiry."""

import copy
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from kubernetes import client
from kubernetes.client.exceptions import ApiException
from kubernetes.leaderelection.electionconfig import Config
from kubernetes.leaderelection.leaderelection import LeaderElection

from predictor.controller import process
from predictor.controller.election import LEASE_S, RENEW_S, RETRY_S, Election
from tests.deadlines import DEADLINE_S


class Leases:
    """The three calls, on one Lease in memory."""

    def __init__(self) -> None:
        self.lease: client.V1Lease | None = None

    def read_namespaced_lease(self, name: str, namespace: str) -> client.V1Lease:
        if self.lease is None:
            error = ApiException(status=404, reason="Not Found")
            error.body = '{"code": 404}'
            raise error
        return copy.deepcopy(self.lease)

    def create_namespaced_lease(self, namespace: str, body: client.V1Lease) -> client.V1Lease:
        self.lease = copy.deepcopy(body)
        return body

    def replace_namespaced_lease(
        self, name: str, namespace: str, body: client.V1Lease
    ) -> client.V1Lease:
        self.lease = copy.deepcopy(body)
        return body


def elected(leases: Leases, identity: str) -> tuple[Election, LeaderElection]:
    """An election, and the attempts that it makes in its thread."""
    election = Election(cast(client.ApiClient, None), "lease", "ns", identity)
    lock: Any = election._lock
    lock.api_instance = leases
    config = Config(
        lock,
        lease_duration=LEASE_S,
        renew_deadline=RENEW_S,
        retry_period=RETRY_S,
        onstarted_leading=lambda: None,
        onstopped_leading=lambda: None,
    )
    return election, LeaderElection(config)


def leads(election: Election) -> bool:
    return election.is_leading


def test_another_process_leads_at_its_next_attempt() -> None:
    leases = Leases()
    first, attempt = elected(leases, "first")
    assert attempt.try_acquire_or_renew()
    assert leads(first)
    second, other = elected(leases, "second")
    assert not other.try_acquire_or_renew(), "the lease is held"
    first.release()
    assert not leads(first)
    assert not attempt.try_acquire_or_renew(), "it never takes it again"
    assert other.try_acquire_or_renew()
    assert leads(second)
    assert leases.lease is not None
    assert leases.lease.spec.holder_identity == "second"


def test_a_lease_of_another_process_is_not_given_away() -> None:
    leases = Leases()
    first, attempt = elected(leases, "first")
    assert attempt.try_acquire_or_renew()
    assert leases.lease is not None
    leases.lease.spec.holder_identity = "second"
    first.release()
    assert leases.lease.spec.holder_identity == "second"


def test_an_api_server_that_is_away_is_only_logged(caplog: pytest.LogCaptureFixture) -> None:
    leases = Leases()
    first, attempt = elected(leases, "first")
    assert attempt.try_acquire_or_renew()

    def away(*_: object) -> None:
        raise ApiException(status=0, reason="ConnectTimeoutError")

    leases.read_namespaced_lease = away  # type: ignore[method-assign,assignment]
    first.release()
    assert "the lease was not given back: ConnectTimeoutError" in caplog.text


class LeadingElection:
    """Leads at once, and until the process ends."""

    def __init__(self, *_: object) -> None:
        self.is_leading = True
        self.is_released = threading.Event()

    def run(self, lead: Callable[[], None], lost: Callable[[], None]) -> None:
        del lost
        threading.Thread(target=lead, daemon=True).start()
        self.is_released.wait(DEADLINE_S)

    def release(self) -> None:
        self.is_released.set()


@pytest.fixture
def handlers() -> Iterator[None]:
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
def test_sigterm_gives_the_lease_back_once_nothing_is_written_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Cluster:
        api = None
        was_released_while_listing = False

        @classmethod
        def connect(cls) -> "Cluster":
            return cls()

        def list(self, kind: str, namespace: str) -> list[Any]:
            """SIGTERM comes in the middle of a reconciliation."""
            del kind, namespace
            os.kill(os.getpid(), signal.SIGTERM)
            election = cast(LeadingElection, controller._election)
            Cluster.was_released_while_listing = election.is_released.wait(0.5)
            return []

    monkeypatch.setattr(process, "Cluster", Cluster)
    monkeypatch.setattr(process, "Election", LeadingElection)
    controller = process.Controller(process.Options(prometheus="http://localhost:9", port=0))
    assert controller.run() == 0
    election = cast(LeadingElection, controller._election)
    assert election.is_released.is_set()
    assert not Cluster.was_released_while_listing
