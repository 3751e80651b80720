"""An answer without an end takes no memory without an end."""

from http.server import BaseHTTPRequestHandler

import pytest

from predictor.client import http
from predictor.client.http import call, parse
from predictor.errors import BadModel
from tests.unit.server.watch.canaries import canary


def answer(length: int | None, sent: int) -> bytes:
    def say(handler: BaseHTTPRequestHandler, texts: list[str]) -> None:
        del texts
        handler.send_response(200)
        if length is not None:
            handler.send_header("Content-Length", str(length))
        handler.end_headers()
        handler.wfile.write(b"a" * sent)

    with canary(say) as server:
        body = b'{"inputs": [{"data": []}], "parameters": {}}'
        return call(parse(server.url), "POST", "/", body)[0]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MOST_BYTES", 1 << 20)


@pytest.mark.parametrize("length", [None, 1 << 20])
def test_a_body_of_up_to_the_limit_is_taken(length: int | None) -> None:
    assert len(answer(length, 1 << 20)) == 1 << 20


@pytest.mark.parametrize(("length", "sent"), [(None, (1 << 20) + 1), ((1 << 20) + 1, 5)])
def test_a_body_over_the_limit_is_refused(length: int | None, sent: int) -> None:
    with pytest.raises(BadModel, match="answers more than 1 MiB"):
        answer(length, sent)


def test_a_body_that_ends_early_is_refused() -> None:
    with pytest.raises(BadModel, match="does not answer HTTP"):
        answer(1000, 5)
