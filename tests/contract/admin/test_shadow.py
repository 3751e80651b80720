"""Copies for a canary."""

from typing import Any

import httpx
import pytest

from tests.contract.admin.opened import (
    Served,
)
from tests.contract.helpers import UNKNOWN

SHADOW: dict[str, Any] = {
    "url": "http://127.0.0.1:9",
    "model": "minilm",
    "share": 0.5,
    "seconds": 60,
}


def test_shadow(with_token: Served, operator: httpx.Client) -> None:
    assert operator.get("/admin/shadow").json()["active"] is False
    started = operator.put("/admin/shadow", json=SHADOW | {"key": "key-of-the-canary"})
    assert started.status_code == 200
    status = started.json()
    assert status["active"] is True
    assert (status["url"], status["model"], status["version"]) == (SHADOW["url"], "minilm", "2")
    assert status["share"] == 0.5
    assert 50 < status["left_s"] <= 60
    assert (status["totals"]["compared"], status["totals"]["smallest"]) == (0, None)
    again = operator.put("/admin/shadow", json=SHADOW | {"seconds": 600}).json()
    assert 500 < again["left_s"] <= 600
    assert 0 < again["age_s"] < 60
    assert operator.get("/admin/shadow").json()["active"] is True
    assert operator.delete("/admin/shadow").json()["active"] is False
    assert operator.get("/admin/shadow").json()["active"] is False
    assert "key-of-the-canary" not in started.text + "\n".join(with_token.lines)


@pytest.mark.parametrize(
    ("wrong", "status", "words"),
    [
        ({"url": "canary:8080"}, 400, "url: canary:8080: not a server's URL"),
        ({"url": "ftp://canary"}, 400, "url: "),
        ({"url": "http://canary/v2/models/m"}, 400, "url: give no path"),
        ({"url": "http://user:word@canary"}, 400, "url: "),
        ({"url": 5}, 400, "$.url"),
        ({"url": "http://" + "a" * 3000}, 400, "$.url"),
        ({"model": ""}, 400, "$.model"),
        ({"model": UNKNOWN}, 404, "is not served here"),
        ({"share": 0}, 400, "$.share"),
        ({"share": 1.01}, 400, "$.share"),
        ({"share": "all"}, 400, "$.share"),
        ({"seconds": 0}, 400, "$.seconds"),
        ({"seconds": 601}, 400, "$.seconds"),
        ({"key": "two words"}, 400, "$.key"),
        ({"key": "a\r\nHost: b"}, 400, "$.key"),
        ({"id": "a" * 201}, 400, "$.id"),
    ],
    ids=str,
)
def test_bad_shadow(
    operator: httpx.Client, wrong: dict[str, object], status: int, words: str
) -> None:
    response = operator.put("/admin/shadow", json=SHADOW | wrong)
    assert (response.status_code, words in response.json()["error"]) == (status, True)
    assert operator.get("/admin/shadow").json()["active"] is False


@pytest.mark.parametrize("missing", SHADOW)
def test_shadow_without(operator: httpx.Client, missing: str) -> None:
    body = {name: value for name, value in SHADOW.items() if name != missing}
    response = operator.put("/admin/shadow", json=body)
    assert response.status_code == 400
    assert missing in response.json()["error"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"share": NaN}'])
def test_shadow_of_no_json(operator: httpx.Client, body: bytes) -> None:
    assert operator.put("/admin/shadow", content=body).status_code == 400
    assert operator.get("/admin/shadow").json()["active"] is False


def test_shadow_has_three_methods(operator: httpx.Client) -> None:
    response = operator.post("/admin/shadow", json=SHADOW)
    assert (response.status_code, response.headers["allow"]) == (405, "GET, PUT, DELETE")
    assert operator.get("/admin/shadow").json()["active"] is False
