"""A server under a path prefix, called by pages of another origin."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest

from tests.contract.helpers import DIMENSIONS, MODEL
from tests.deadlines import DEADLINE_S
from tests.serving import Server

ORIGIN = "https://app.example.com"
PREFLIGHT = {"origin": ORIGIN, "access-control-request-method": "POST"}


@pytest.fixture(scope="module")
def behind(bundle_dir: Path) -> Iterator[Server]:
    running = Server(
        f"--model-dir={bundle_dir}",
        f"--model_name={MODEL}",
        "--root-path=team/embeddings/",
        f"--cors-origin={ORIGIN}",
        "--null-engine",
        "--drain-delay-s=0",
    )
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def client(behind: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=behind.url, timeout=DEADLINE_S) as client:
        yield client


@pytest.mark.parametrize("prefix", ["", "/team/embeddings"])
def test_paths_with_and_without_the_prefix(client: httpx.Client, prefix: str) -> None:
    page = client.get(f"{prefix}/docs")
    assert page.status_code == 200
    assert 'href="docs/swagger-ui.css' in page.text
    assert client.get(f"{prefix}/docs/swagger-ui.css").status_code == 200
    document = client.get(f"{prefix}/openapi.json").json()
    assert document["servers"] == [{"url": "/team/embeddings"}]
    assert client.get(f"{prefix}/v2/models/{MODEL}/ready").status_code == 200
    assert client.get(f"{prefix}/").status_code == 200


def test_openai_with_the_prefix(behind: Server) -> None:
    with openai.OpenAI(
        base_url=f"{behind.url}/team/embeddings/v1", api_key="none", max_retries=0
    ) as client:
        answer = client.embeddings.create(model=MODEL, input="hello")
    assert len(answer.data[0].embedding) == DIMENSIONS


def test_admin_routes_are_closed_with_the_prefix_too(client: httpx.Client) -> None:
    for prefix in ("", "/team/embeddings"):
        for path in ("/v2/repository/index", f"/v2/repository/models/{MODEL}/unload"):
            response = client.post(prefix + path, headers={"origin": ORIGIN})
            assert response.status_code == 404
            assert "repository" in response.json()["error"]
            assert "access-control-allow-origin" not in response.headers
            response = client.options(prefix + path, headers=PREFLIGHT)
            assert response.status_code == 404
            assert "access-control-allow-origin" not in response.headers


def test_headers_of_a_proxy_are_not_believed(client: httpx.Client, http: httpx.Client) -> None:
    forwarded = {
        "x-forwarded-prefix": "/evil", "x-forwarded-host": "evil.test", "forwarded": "host=evil",
        "x-forwarded-proto": "https", "x-forwarded-for": "10.0.0.1",
    }  # fmt: skip
    for each in (client, http):
        assert "evil" not in each.get("/openapi.json", headers=forwarded).text
        assert "evil" not in each.get("/docs", headers=forwarded).text
    assert "servers" not in http.get("/openapi.json", headers=forwarded).json()


def test_a_page_of_an_allowed_origin(client: httpx.Client) -> None:
    allowed = client.options("/v1/embeddings", headers=PREFLIGHT)
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == ORIGIN
    for content, status in (({"model": MODEL, "input": "a"}, 200), ({}, 400)):
        answer = client.post("/v1/embeddings", json=content, headers={"origin": ORIGIN})
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == ORIGIN
    refused = client.options("/v1/embeddings", headers=PREFLIGHT | {"origin": "https://evil.test"})
    assert (refused.status_code, "--cors-origin" in refused.text) == (403, True)


def test_without_the_option_a_preflight_says_so(http: httpx.Client) -> None:
    response = http.options("/v1/embeddings", headers=PREFLIGHT)
    assert response.status_code == 405
    assert "--cors-origin" in response.json()["error"]["message"]
    answer = http.post("/v1/embeddings", json={}, headers={"origin": ORIGIN})
    assert "access-control-allow-origin" not in answer.headers
