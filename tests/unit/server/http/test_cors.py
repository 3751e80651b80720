"""Requests of browsers from other origins."""

import pytest

from predictor.server.http.cors import CorsApplication, origins_of
from predictor.server.http.request import Message, Receive, Scope, Send

ORIGIN = "https://app.example.com"


async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
    del scope, receive
    await send({"type": "http.response.start", "status": 404, "headers": [(b"a", b"b")]})
    await send({"type": "http.response.body", "body": b"no"})


async def answer(
    setting: str, method: str, path: str, **headers: str
) -> tuple[int, dict[str, str]]:
    """The status and the headers of the answer to a request."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    lines = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "raw_path": path.encode(), "headers": lines}
    app = CorsApplication(not_found, origins_of(setting), lambda path: path.startswith("/admin/"))
    await app(scope, receive, send)
    return sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}


def preflight(origin: str) -> dict[str, str]:
    return {
        "origin": origin,
        "access_control_request_method": "POST",
        "access_control_request_headers": "authorization, content-type, x-stainless-os",
    }


async def test_a_preflight() -> None:
    status, headers = await answer(f"http://a, {ORIGIN}/", "OPTIONS", "/embed", **preflight(ORIGIN))
    assert status == 200
    assert headers["access-control-allow-origin"] == ORIGIN
    assert headers["vary"] == "origin"
    assert "POST" in headers["access-control-allow-methods"]
    names = "authorization, content-type, x-stainless-os"
    assert headers["access-control-allow-headers"] == names


async def test_a_preflight_of_another_origin() -> None:
    status, headers = await answer(ORIGIN, "OPTIONS", "/embed", **preflight("https://evil.test"))
    assert status == 403
    assert "access-control-allow-origin" not in headers


async def test_names_of_headers_cannot_end_a_line() -> None:
    request = preflight(ORIGIN) | {"access_control_request_headers": "a\r\nset-cookie: b"}
    _, headers = await answer(ORIGIN, "OPTIONS", "/embed", **request)
    assert "access-control-allow-headers" not in headers


@pytest.mark.parametrize(("setting", "allowed"), [(ORIGIN, ORIGIN), ("*", "*")])
async def test_an_error_can_be_read(setting: str, allowed: str) -> None:
    status, headers = await answer(setting, "POST", "/nothing", origin=ORIGIN)
    assert (status, headers["access-control-allow-origin"], headers["a"]) == (404, allowed, "b")
    assert "x-request-id" in headers["access-control-expose-headers"]


@pytest.mark.parametrize(
    ("setting", "path", "headers"),
    [
        (ORIGIN, "/embed", {}),
        (ORIGIN, "/embed", {"origin": "https://evil.test"}),
        (ORIGIN, "/embed", {"origin": "null"}),
        (ORIGIN, "/embed", {"origin": ORIGIN + ".evil.test"}),
        ("*", "/admin/log-level", {"origin": ORIGIN}),
        ("*", "/admin/log-level", preflight(ORIGIN)),
    ],
)
async def test_no_headers_for_others_and_for_admin_routes(
    setting: str, path: str, headers: dict[str, str]
) -> None:
    method = "OPTIONS" if "access_control_request_method" in headers else "POST"
    status, received = await answer(setting, method, path, **headers)
    assert (status, received) == (404, {"a": "b"})
