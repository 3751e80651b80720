"""The log, and a cache that is not there."""

import httpx
import pytest


def test_flush_says_that_there_is_no_cache(operator: httpx.Client) -> None:
    response = operator.post("/admin/cache/flush")
    assert response.status_code == 404
    assert "--cache-mb" in response.json()["error"]


def test_log_level(operator: httpx.Client) -> None:
    assert operator.get("/admin/log-level").json() == {"level": "debug"}
    for method, level in (("PUT", "error"), ("POST", "warning"), ("PUT", "debug")):
        response = operator.request(method, "/admin/log-level", json={"level": level})
        assert (response.status_code, response.json()) == (200, {"level": level})
        assert operator.get("/admin/log-level").json() == {"level": level}


@pytest.mark.parametrize(
    "body", [{"level": "verbose"}, {"level": "INFO"}, {"level": 10}, {"level": None}, {}, [], None]
)
def test_bad_log_level(operator: httpx.Client, body: object) -> None:
    response = operator.put("/admin/log-level", json=body)
    assert response.status_code == 400
    assert operator.get("/admin/log-level").json() == {"level": "debug"}
