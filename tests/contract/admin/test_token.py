"""Who has the token, and who has not."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.contract.admin.opened import (
    BEARER,
    ROUTES,
    TOKEN,
    UNLOAD,
    Served,
    default_version,
)
from tests.contract.helpers import soon
from tests.deadlines import DEADLINE_S


def assert_unauthorized(response: httpx.Response) -> None:
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert set(response.json()) == {"error"}


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer wrong-token-0123456789abcdef"},
        {"authorization": f"Bearer {TOKEN[:-1]}"},
        {"authorization": f"Bearer {TOKEN}0"},
        {"authorization": f"Bearer {TOKEN.upper()}"},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": "Bearer"},
        {"authorization": TOKEN},
        {"x-api-key": "wrong-token-0123456789abcdef"},
    ],
    ids=[
        "another", "shorter", "longer", "upper case", "Basic", "no token", "no scheme",
        "another in x-api-key",
    ],
)  # fmt: skip
def test_with_a_wrong_token(anybody: httpx.Client, headers: dict[str, str]) -> None:
    assert_unauthorized(anybody.post(UNLOAD, headers=headers))
    assert default_version(anybody) == "2"


@pytest.mark.parametrize(("method", "path"), [*ROUTES, ("GET", "/admin/nothing")])
def test_without_a_token(with_token: Served, anybody: httpx.Client, method: str, path: str) -> None:
    assert_unauthorized(anybody.request(method, path))
    assert_unauthorized(httpx.request(method, with_token.admin_url + path, timeout=DEADLINE_S))
    assert default_version(anybody) == "2"


def test_refused_body_is_not_read(with_token: Served) -> None:
    """Who has no token may not make the server wait, nor take its memory."""
    with socket.create_connection(
        ("127.0.0.1", with_token.http_port), timeout=DEADLINE_S
    ) as connection:
        head = f"POST {UNLOAD} HTTP/1.1\r\nhost: test\r\ncontent-length: {8 << 20}\r\n\r\n"
        connection.sendall(head.encode())
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize(
    "headers",
    [BEARER, {"authorization": f"bearer  {TOKEN}"}, {"x-api-key": TOKEN}],
    ids=["Bearer", "bearer", "x-api-key"],
)
@pytest.mark.parametrize("url", ["url", "admin_url"])
def test_with_the_token(with_token: Served, url: str, headers: dict[str, str]) -> None:
    url = getattr(with_token, url) + "/v2/repository/index"
    assert httpx.post(url, headers=headers, timeout=DEADLINE_S).status_code == 200


def test_token_is_not_for_inference(anybody: httpx.Client) -> None:
    assert default_version(anybody) == "2"


@pytest.fixture
def replace_token(anybody: httpx.Client, token_file: Path) -> Iterator[Callable[[str], None]]:
    """Puts another token into the file, as a whole; at the end the usual one is back."""

    def replace(content: str) -> None:
        fresh = token_file.with_name("fresh")
        fresh.write_text(content)
        fresh.replace(token_file)

    yield replace
    replace(TOKEN)
    assert soon(lambda: is_let_in(anybody, TOKEN))


def is_let_in(client: httpx.Client, token: str) -> bool:
    headers = {"authorization": f"Bearer {token}"}
    return client.get("/admin/log-level", headers=headers).status_code == 200


def test_token_is_replaced_with_its_file(
    anybody: httpx.Client, replace_token: Callable[[str], None]
) -> None:
    new = "the-next-token-0123456789abcdef"
    assert is_let_in(anybody, TOKEN)
    assert not is_let_in(anybody, new)
    replace_token(new)
    assert soon(lambda: is_let_in(anybody, new))
    assert not is_let_in(anybody, TOKEN)


def test_token_stays_when_the_new_one_is_too_short(
    anybody: httpx.Client, with_token: Served, replace_token: Callable[[str], None]
) -> None:
    replace_token("short")
    # The file is looked at when somebody asks.
    assert soon(
        lambda: is_let_in(anybody, TOKEN) and "at least 16 are needed" in with_token.lines[-1]
    )
    assert is_let_in(anybody, TOKEN)
    assert not is_let_in(anybody, "short")
