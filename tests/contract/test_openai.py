"""OpenAI's API, as OpenAI's own client and langchain speak it."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from langchain_openai import OpenAIEmbeddings

from tests.contract.helpers import (
    DIMENSIONS,
    HELLO_WORLD,
    LONG,
    MAX_TOKENS,
    MODEL,
    TEXTS,
    UNKNOWN,
    WRAPPED_HELLO_WORLD,
    Reference,
    cosines,
    from_base64,
    norms,
    openai_vectors,
    texts_embedded,
)
from tests.deadlines import DEADLINE_S
from tests.serving import Server


def _client(base_url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=base_url, api_key="none", max_retries=0)


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[openai.OpenAI]:
    with _client(f"{server.url}/v1") as client:
        yield client


@pytest.fixture(scope="module")
def langchain(server: Server) -> Iterator[OpenAIEmbeddings]:
    # Without check_embedding_ctx_length=False langchain sends ids of OpenAI's own tokenizer.
    with httpx.Client(timeout=DEADLINE_S) as http_client:
        yield OpenAIEmbeddings(
            model=MODEL,
            base_url=f"{server.url}/v1",
            api_key=lambda: "none",
            check_embedding_ctx_length=False,
            http_client=http_client,
        )


# Inputs


def test_string(client: openai.OpenAI, reference: Reference) -> None:
    answer = client.embeddings.create(model=MODEL, input=TEXTS[0])
    reference.check([item.embedding for item in answer.data], TEXTS[:1])


def test_list_of_strings_keeps_its_order(client: openai.OpenAI, reference: Reference) -> None:
    answer = client.embeddings.create(model=MODEL, input=TEXTS)
    assert [item.index for item in answer.data] == [0, 1, 2]
    reference.check([item.embedding for item in answer.data], TEXTS)


@pytest.mark.parametrize("ids", [HELLO_WORLD, WRAPPED_HELLO_WORLD], ids=["bare", "wrapped"])
def test_token_ids_are_one_text(client: openai.OpenAI, http: httpx.Client, ids: list[int]) -> None:
    answer = client.embeddings.create(model=MODEL, input=ids)
    expected = openai_vectors(http, ["hello world"])
    np.testing.assert_allclose([item.embedding for item in answer.data], expected, atol=1e-5)
    assert answer.usage.prompt_tokens == len(WRAPPED_HELLO_WORLD)


def test_list_of_token_ids(client: openai.OpenAI, http: httpx.Client) -> None:
    answer = client.embeddings.create(model=MODEL, input=[[7592], [2088], HELLO_WORLD])
    expected = openai_vectors(http, ["hello", "world", "hello world"])
    np.testing.assert_allclose([item.embedding for item in answer.data], expected, atol=1e-5)


def test_token_id_outside_of_the_vocabulary_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="30522"):
        client.embeddings.create(model=MODEL, input=[[7592, 30522]])


def test_empty_string_has_a_vector(client: openai.OpenAI, reference: Reference) -> None:
    answer = client.embeddings.create(model=MODEL, input=["", TEXTS[0]])
    reference.check([item.embedding for item in answer.data], ["", TEXTS[0]])


# Answers


def test_client_asks_for_base64_by_itself_and_gets_it(
    client: openai.OpenAI, reference: Reference
) -> None:
    raw = client.embeddings.with_raw_response.create(model=MODEL, input=TEXTS)
    assert json.loads(raw.http_request.content)["encoding_format"] == "base64"
    vectors = [from_base64(item["embedding"]) for item in raw.http_response.json()["data"]]
    reference.check(vectors, TEXTS)


def test_float(client: openai.OpenAI, reference: Reference) -> None:
    raw = client.embeddings.with_raw_response.create(
        model=MODEL, input=TEXTS, encoding_format="float"
    )
    data = raw.http_response.json()["data"]
    assert all(isinstance(number, float) for number in data[0]["embedding"])
    reference.check([item["embedding"] for item in data], TEXTS)


def test_floats_are_the_same_numbers_as_base64(client: openai.OpenAI) -> None:
    encoded = client.embeddings.create(model=MODEL, input=TEXTS)
    floats = client.embeddings.create(model=MODEL, input=TEXTS, encoding_format="float")
    np.testing.assert_allclose(
        [item.embedding for item in encoded.data],
        [item.embedding for item in floats.data],
        atol=1e-6,
    )


def test_default_without_encoding_format_is_float(http: httpx.Client) -> None:
    answer = http.post("/v1/embeddings", json={"model": MODEL, "input": "hello"}).json()
    assert isinstance(answer["data"][0]["embedding"], list)


@pytest.mark.parametrize("dimensions", [1, 64, DIMENSIONS])
def test_dimensions_cut_and_normalise_again(
    client: openai.OpenAI, reference: Reference, dimensions: int
) -> None:
    answer = client.embeddings.create(model=MODEL, input=TEXTS, dimensions=dimensions)
    vectors = np.array([item.embedding for item in answer.data])
    assert vectors.shape == (3, dimensions)
    np.testing.assert_allclose(norms(vectors), 1.0, atol=1e-6)
    assert cosines(vectors, reference.vectors_of(TEXTS)[:, :dimensions]).min() > 0.99999


def test_usage_counts_special_tokens_too(client: openai.OpenAI, reference: Reference) -> None:
    usage = client.embeddings.create(model=MODEL, input=TEXTS).usage
    assert usage.prompt_tokens == usage.total_tokens == reference.tokens_of(TEXTS)


def test_answer_names_the_model(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model=MODEL, input="hello")
    assert (answer.object, answer.model) == ("list", MODEL)
    assert answer.data[0].object == "embedding"


def test_headers_name_version_and_revision(client: openai.OpenAI, http: httpx.Client) -> None:
    raw = client.embeddings.with_raw_response.create(model=MODEL, input="hello")
    assert raw.headers["x-model-version"] == "1"
    assert raw.headers["x-model-revision"] == http.get("/info").json()["model_sha"]


def test_request_id_comes_back(client: openai.OpenAI) -> None:
    raw = client.embeddings.with_raw_response.create(
        model=MODEL, input="hello", extra_headers={"X-Request-Id": "mine-1"}
    )
    assert raw.headers["x-request-id"] == "mine-1"


def test_truncation_is_reported(client: openai.OpenAI) -> None:
    raw = client.embeddings.with_raw_response.create(model=MODEL, input=["a", LONG, "b", LONG])
    assert raw.headers["x-truncated-inputs"] == "1,3"
    assert raw.parse().usage.prompt_tokens == 3 + MAX_TOKENS + 3 + MAX_TOKENS


def test_no_truncation_no_header(client: openai.OpenAI) -> None:
    raw = client.embeddings.with_raw_response.create(model=MODEL, input=["a", "b"])
    assert "x-truncated-inputs" not in raw.headers


@pytest.mark.parametrize("lane", ["query", "ingest"])
def test_priority_header_chooses_the_lane(
    client: openai.OpenAI, http: httpx.Client, lane: str
) -> None:
    before = texts_embedded(http, lane)
    client.embeddings.create(model=MODEL, input=TEXTS, extra_headers={"X-Priority": lane})
    assert texts_embedded(http, lane) == before + len(TEXTS)


# Errors


def test_unknown_model(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.embeddings.create(model=UNKNOWN, input="hello")
    error = caught.value
    assert (error.type, error.code) == ("invalid_request_error", "model_not_found")
    assert UNKNOWN in error.message


def test_error_object_has_all_of_its_fields(http: httpx.Client) -> None:
    response = http.post("/v1/embeddings", json={"model": UNKNOWN, "input": "hello"})
    assert set(response.json()) == {"error"}
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}


# The default of --max-client-batch-size.
MAX_INPUTS = 2048
BAD_REQUESTS: dict[str, dict[str, Any]] = {
    "empty list": {"input": []},
    "empty list of token ids": {"input": [[]]},
    "number": {"input": 5},
    "mixed list": {"input": ["a", 1]},
    "no dimension": {"input": "a", "dimensions": 0},
    "a dimension too many": {"input": "a", "dimensions": DIMENSIONS + 1},
    "unknown encoding": {"input": "a", "encoding_format": "int8"},
    "too many": {"input": ["a"] * (MAX_INPUTS + 1)},
    "too many characters": {"input": ["a", "a" * 1_000_000]},
    "unknown token id": {"input": [[1, 2**31]]},
    "no token id": {"input": [[1, -1]]},
}


@pytest.mark.parametrize("request_body", BAD_REQUESTS.values(), ids=BAD_REQUESTS)
def test_bad_request(client: openai.OpenAI, request_body: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model=MODEL, **request_body)
    assert caught.value.type == "invalid_request_error"
    assert caught.value.param == (set(request_body) - {"input"} or {"input"}).pop()


def test_dimension_too_large_names_the_limit(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="384"):
        client.embeddings.create(model=MODEL, input="a", dimensions=1024)


def test_unknown_priority_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="X-Priority"):
        client.embeddings.create(model=MODEL, input="a", extra_headers={"X-Priority": "urgent"})


def test_malformed_json(http: httpx.Client) -> None:
    response = http.post("/v1/embeddings", content=b'{"model": "minilm", "input": ')
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "malformed_body"


# Models


def test_models_list(client: openai.OpenAI) -> None:
    (model,) = client.models.list().data
    assert (model.id, model.object) == (MODEL, "model")


def test_models_list_serves_kserve_too(http: httpx.Client) -> None:
    answer = http.get("/v1/models").json()
    assert answer["object"] == "list"
    assert answer["models"] == [MODEL]


def test_models_retrieve(client: openai.OpenAI) -> None:
    model = client.models.retrieve(MODEL)
    assert (model.id, model.object) == (MODEL, "model")
    assert model.created > 0


def test_models_retrieve_unknown(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve(UNKNOWN)
    assert caught.value.code == "model_not_found"


# KServe puts the same API under /openai.


def test_openai_prefix(server: Server, reference: Reference) -> None:
    with _client(f"{server.url}/openai/v1") as client:
        answer = client.embeddings.create(model=MODEL, input=TEXTS)
        assert [model.id for model in client.models.list()] == [MODEL]
        assert client.models.retrieve(MODEL).id == MODEL
    reference.check([item.embedding for item in answer.data], TEXTS)


# langchain


def test_langchain_embeds_documents(langchain: OpenAIEmbeddings, reference: Reference) -> None:
    reference.check(langchain.embed_documents(TEXTS), TEXTS)


def test_langchain_embeds_a_query(langchain: OpenAIEmbeddings, reference: Reference) -> None:
    reference.check([langchain.embed_query(TEXTS[1])], TEXTS[1:2])
