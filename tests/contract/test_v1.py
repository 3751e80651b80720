"""KServe's V1 protocol over plain HTTP: instances in, predictions out."""

from typing import Any

import httpx
import numpy as np
import pytest

from tests.contract.helpers import (
    DIMENSIONS,
    HELLO_WORLD,
    LONG,
    MODEL,
    TEXTS,
    UNKNOWN,
    Reference,
    cosines,
    norms,
    openai_vectors,
    texts_embedded,
)

PREDICT = f"/v1/models/{MODEL}:predict"


def predict(http: httpx.Client, instances: Any, **parameters: Any) -> httpx.Response:
    body = {"instances": instances} | ({"parameters": parameters} if parameters else {})
    return http.post(PREDICT, json=body)


def test_predictions_follow_the_instances(http: httpx.Client, reference: Reference) -> None:
    response = predict(http, TEXTS)
    assert response.status_code == 200
    assert set(response.json()) == {"predictions", "model_version"}
    reference.check(response.json()["predictions"], TEXTS)


def test_token_ids(http: httpx.Client) -> None:
    answer = predict(http, [HELLO_WORLD]).json()
    np.testing.assert_allclose(
        answer["predictions"], openai_vectors(http, ["hello world"]), atol=1e-5
    )


def test_empty_string_has_a_vector(http: httpx.Client, reference: Reference) -> None:
    reference.check(predict(http, [""]).json()["predictions"], [""])


def test_dimensions(http: httpx.Client, reference: Reference) -> None:
    vectors = np.array(predict(http, TEXTS, dimensions=64).json()["predictions"])
    assert vectors.shape == (3, 64)
    np.testing.assert_allclose(norms(vectors), 1.0, atol=1e-6)
    assert cosines(vectors, reference.vectors_of(TEXTS)[:, :64]).min() > 0.99999


def test_normalize_false(http: httpx.Client, reference: Reference) -> None:
    vectors = predict(http, TEXTS, normalize=False).json()["predictions"]
    assert np.abs(norms(vectors) - 1.0).min() > 0.01
    assert cosines(vectors, reference.vectors_of(TEXTS)).min() > 0.99999


def test_headers(http: httpx.Client) -> None:
    headers = predict(http, ["a", LONG]).headers
    assert headers["x-model-version"] == "1"
    assert headers["x-model-revision"] == http.get("/info").json()["model_sha"]
    assert headers["x-truncated-inputs"] == "1"


def test_request_id_comes_back(http: httpx.Client) -> None:
    response = http.post(PREDICT, json={"instances": ["a"]}, headers={"X-Request-Id": "mine-1"})
    assert response.headers["x-request-id"] == "mine-1"


def test_trace_id_is_the_request_id_if_there_is_none(http: httpx.Client) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    response = http.post(
        PREDICT,
        json={"instances": ["a"]},
        headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01"},
    )
    assert response.headers["x-request-id"] == trace


def test_priority_header_chooses_the_lane(http: httpx.Client) -> None:
    before = texts_embedded(http, "ingest")
    http.post(PREDICT, json={"instances": TEXTS}, headers={"X-Priority": "ingest"})
    assert texts_embedded(http, "ingest") == before + len(TEXTS)


def test_truncate_false_refuses_a_long_text(http: httpx.Client) -> None:
    response = predict(http, ["a", LONG], truncate=False)
    assert response.status_code == 400
    assert "402 tokens" in response.json()["error"]


@pytest.mark.parametrize("name", [UNKNOWN, "a/b", "%00"])
def test_unknown_model(http: httpx.Client, name: str) -> None:
    response = http.post(f"/v1/models/{name}:predict", json={"instances": ["a"]})
    assert response.status_code == 404
    assert MODEL in response.json()["error"]


BAD_BODIES: dict[str, bytes] = {
    "no body": b"",
    "malformed JSON": b'{"instances": ["a"',
    "not UTF-8": b'{"instances": ["\xff"]}',
    "lone surrogate": b'{"instances": ["\\ud800"]}',
    "NaN": b'{"instances": ["a"], "parameters": {"dimensions": NaN}}',
    "no instances": b"{}",
    "empty": b'{"instances": []}',
    "numbers with texts": b'{"instances": ["a", 1]}',
    "objects": b'{"instances": [{"text": "a"}]}',
    "list at the top": b'["a"]',
    "dimension 0": b'{"instances": ["a"], "parameters": {"dimensions": 0}}',
    "a dimension too many": b'{"instances": ["a"], "parameters": {"dimensions": 385}}',
    "nested too deeply": b'{"instances": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
}


@pytest.mark.parametrize("content", BAD_BODIES.values(), ids=BAD_BODIES)
def test_bad_body(http: httpx.Client, content: bytes) -> None:
    response = http.post(PREDICT, content=content)
    assert response.status_code == 400
    assert set(response.json()) == {"error"}
    assert response.headers["x-request-id"]


def test_too_many_instances_names_the_limit(http: httpx.Client) -> None:
    response = predict(http, ["a"] * 2049)
    assert response.status_code == 400
    assert "2048" in response.json()["error"]


def test_model_is_ready(http: httpx.Client) -> None:
    answer = http.get(f"/v1/models/{MODEL}").json()
    assert (answer["name"], answer["ready"]) == (MODEL, True)


def test_models_are_listed(http: httpx.Client) -> None:
    assert http.get("/v1/models").json()["models"] == [MODEL]


def test_vectors_have_as_many_components_as_the_model_says(http: httpx.Client) -> None:
    (vector,) = predict(http, ["hello"]).json()["predictions"]
    assert len(vector) == DIMENSIONS
