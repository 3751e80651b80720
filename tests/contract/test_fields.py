"""Fields of other servers on a real server: null, and fields that change vectors."""

import base64
from typing import Any

import httpx
import numpy as np
import pytest

from tests.contract.helpers import MODEL, TEXTS, TOLERANCE, Reference


def _post(http: httpx.Client, path: str, **body: Any) -> Any:
    response = http.post(path, json=body)
    assert response.status_code == 200, response.text
    return response.json()


def test_what_litellm_sends(http: httpx.Client, reference: Reference) -> None:
    answer = _post(
        http,
        "/v1/embeddings",
        model=None,
        input=TEXTS,
        encoding_format=None,
        dimensions=None,
        user=None,
    )
    reference.check([item["embedding"] for item in answer["data"]], TEXTS)


def test_a_text_is_cut_to_the_tokens_that_the_request_names(http: httpx.Client) -> None:
    whole = _post(http, "/embed", inputs="hello world")
    # [CLS], two words and [SEP]
    cut = _post(http, "/v1/embeddings", input="hello world again", truncate_prompt_tokens=4)
    np.testing.assert_allclose(cut["data"][0]["embedding"], whole[0], rtol=0, atol=TOLERANCE)
    left = _post(
        http,
        "/v1/embeddings",
        input="again hello world",
        truncate_prompt_tokens=4,
        truncation_side="left",
    )
    np.testing.assert_allclose(left["data"][0]["embedding"], whole[0], rtol=0, atol=TOLERANCE)
    of_cohere = _post(http, "/v2/embed", texts=["hello world again"], max_tokens=4)
    rows = of_cohere["embeddings"]["float"]
    np.testing.assert_allclose(rows[0], whole[0], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("kind", ["int8", "uint8", "binary", "ubinary"])
def test_voyages_output_dtype_gives_the_numbers_of_coheres_type(
    http: httpx.Client, kind: str
) -> None:
    rows = _post(http, "/v2/embed", texts=TEXTS, embedding_types=[kind])["embeddings"][kind]
    answer = _post(http, "/v1/embeddings", input=TEXTS, output_dtype=kind, encoding_format="base64")
    dtype = np.int8 if kind in ("int8", "binary") else np.uint8
    for item, row in zip(answer["data"], rows, strict=True):
        assert np.frombuffer(base64.b64decode(item["embedding"]), dtype).tolist() == row


def test_a_refused_field_is_named(http: httpx.Client) -> None:
    body = {"model": MODEL, "input": "a", "late_chunking": True}
    response = http.post("/v1/embeddings", json=body)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "late_chunking"


def test_too_few_tokens_to_cut_to(http: httpx.Client) -> None:
    response = http.post("/v1/embeddings", json={"input": "hello", "truncate_prompt_tokens": 2})
    assert response.status_code == 400
    assert "at least 3" in response.json()["error"]["message"]
