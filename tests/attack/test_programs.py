"""Whatever program attacks it, a server lives, is right, and gets smaller again."""

import time
from pathlib import Path

import httpx
import pytest

from tests.attack.conftest import KEY
from tests.attack.kubelet import Kubelet
from tests.attack.programs import PROGRAMS
from tests.attack.target import Target, target_of
from tests.deadlines import DEADLINE_S
from tests.serving import Server

pytestmark = pytest.mark.slow

# Seconds after an attack within which the memory has to be back, and the part that may stay.
BACK_S = 30.0
STAYS = 1.10
# The part that may stay of all attacks together.
ALL_STAY = 1.25
# The programs that make the server keep most.
WARM = ("whole_bodies", "answers_not_read", "calls_not_read", "messages_of_empty_inputs")


def resident(server: Server) -> int:
    """Bytes."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) << 10


def vectors(target: Target) -> object:
    response = httpx.post(
        f"{target.url}/v1/embeddings",
        content=target.embed_body("hello", "word " * 200),
        headers=target.headers,
        timeout=DEADLINE_S,
    )
    assert response.status_code == 200
    return response.json()["data"]


@pytest.fixture(scope="module")
def target(pod: Server) -> Target:
    """The server after each program has run once, so that it has made all that it keeps.

    That is the memory of its engine for the longest run, and what its threads keep.
    """
    target = target_of(pod, KEY)
    for name in WARM:
        PROGRAMS[name](target)
    return target


@pytest.fixture(scope="module")
def first(pod: Server, target: Target) -> int:
    """Bytes before all attacks, of a server that does nothing any more: equal at two looks."""
    del target
    end = time.monotonic() + BACK_S
    last = 0
    while (now := resident(pod)) != last and time.monotonic() < end:
        last = now
        time.sleep(11)  # longer than the server takes to give memory back
    return now


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_server_outlives_a_program_and_gives_its_memory_back(
    pod: Server, target: Target, first: int, name: str
) -> None:
    expected = vectors(target)
    before = resident(pod)
    lines = len(pod.lines)
    with Kubelet(pod) as kubelet:
        PROGRAMS[name](target)
    assert kubelet.verdicts == []
    assert pod.process.poll() is None
    assert vectors(target) == expected
    end = time.monotonic() + BACK_S
    while (now := resident(pod)) > min(before * STAYS, first * ALL_STAY):
        assert time.monotonic() < end, f"{now >> 20} MiB after {before >> 20}"
        time.sleep(0.2)
    if name != "path_not_utf_8":
        assert not [line for line in pod.lines[lines:] if "Traceback" in line]
