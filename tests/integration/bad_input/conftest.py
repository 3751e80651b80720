"""What a client can get wrong, over every protocol: the right status, a sentence, and no more.

The sentence says what was wrong, and where there is a limit, the limit and the value. No answer
shows how the server is made: no traceback, no class, no path.
"""

from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import pytest

from predictor.kserve_sdk import services
from tests.deadlines import DEADLINE_S
from tests.integration.bad_input.asking import (
    show_nothing_of_the_insides,
)
from tests.serving import Server


@pytest.fixture(scope="module")
def http(server: Server) -> Iterator[httpx.Client]:
    """A client that looks at every answer for what must not be there."""

    def look(response: httpx.Response) -> None:
        response.read()
        if not response.request.url.path.startswith(("/docs", "/openapi")):
            show_nothing_of_the_insides(response.text)

    with httpx.Client(
        base_url=server.url, timeout=DEADLINE_S, event_hooks={"response": [look]}
    ) as client:
        yield client


@pytest.fixture(scope="module")
def stub(server: Server) -> Iterator[Any]:
    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(server.grpc, options=options) as channel:
        yield services.GRPCInferenceServiceStub(channel)


@pytest.fixture(scope="module", autouse=True)
def nothing_is_our_fault(server: Server) -> Iterator[None]:
    """No request of these files may make the server log an error."""
    count = len(server.events)
    yield
    assert not [e for e in server.events[count:] if e["level"] in ("error", "critical")]
