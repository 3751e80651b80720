"""Text Embeddings Inference's routes, by Hugging Face's own client and over plain HTTP."""

from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError

from tests.contract.helpers import (
    CAT_THEN_DOG,
    DIMENSIONS,
    HELLO_WORLD,
    LONG,
    MAX_TOKENS,
    MODEL,
    TEXTS,
    WRAPPED_HELLO_WORLD,
    Reference,
    cosines,
    norms,
    openai_vectors,
)
from tests.serving import Server


@pytest.fixture(scope="module")
def hugging_face(server: Server) -> Iterator[InferenceClient]:
    with InferenceClient(model=server.url) as client:
        yield client


def assert_error(response: Any, status: int, error_type: str) -> None:
    """`response` is httpx's, or that of the HTTP library that huggingface_hub brings along."""
    assert response.status_code == status
    assert set(response.json()) == {"error", "error_type"}
    assert response.json()["error_type"] == error_type
    assert response.json()["error"]


# huggingface_hub


def test_client_embeds_a_text(hugging_face: InferenceClient, reference: Reference) -> None:
    vectors = hugging_face.feature_extraction(TEXTS[0])
    assert vectors.shape == (1, DIMENSIONS)
    reference.check(vectors, TEXTS[:1])


def test_client_embeds_a_list(hugging_face: InferenceClient, reference: Reference) -> None:
    reference.check(hugging_face.feature_extraction(TEXTS), TEXTS)


def test_client_normalize(hugging_face: InferenceClient, reference: Reference) -> None:
    unit = hugging_face.feature_extraction(TEXTS[0], normalize=True)
    raw = hugging_face.feature_extraction(TEXTS[0], normalize=False)
    reference.check(unit, TEXTS[:1])
    assert abs(norms(raw)[0] - 1.0) > 0.01
    assert cosines(unit, raw)[0] > 0.99999


def test_client_truncate(hugging_face: InferenceClient, http: httpx.Client) -> None:
    vectors = hugging_face.feature_extraction(LONG, truncate=True)
    np.testing.assert_allclose(vectors, openai_vectors(http, [LONG]), atol=1e-5)


def test_client_truncate_false(hugging_face: InferenceClient) -> None:
    with pytest.raises(HfHubHTTPError) as caught:
        hugging_face.feature_extraction(LONG, truncate=False)
    assert_error(caught.value.response, 422, "Validation")


@pytest.mark.parametrize(("direction", "kept"), [("right", "cat "), ("left", "dog ")])
def test_client_truncation_direction(
    hugging_face: InferenceClient, http: httpx.Client, direction: Any, kept: str
) -> None:
    vectors = hugging_face.feature_extraction(
        CAT_THEN_DOG, truncate=True, truncation_direction=direction
    )
    expected = openai_vectors(http, [kept * (MAX_TOKENS - 2)])
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_client_dimensions(hugging_face: InferenceClient, reference: Reference) -> None:
    vectors = hugging_face.feature_extraction(TEXTS, dimensions=64)
    assert vectors.shape == (3, 64)
    np.testing.assert_allclose(norms(vectors), 1.0, atol=1e-6)
    assert cosines(vectors, reference.vectors_of(TEXTS)[:, :64]).min() > 0.99999


def test_client_unknown_prompt_name(hugging_face: InferenceClient) -> None:
    with pytest.raises(HfHubHTTPError) as caught:
        hugging_face.feature_extraction("hello", prompt_name="query")
    assert_error(caught.value.response, 422, "Validation")


# /embed


@pytest.mark.parametrize("path", ["/embed", "/"])
def test_embed_a_string(http: httpx.Client, reference: Reference, path: str) -> None:
    response = http.post(path, json={"inputs": TEXTS[0]})
    assert response.status_code == 200
    reference.check(response.json(), TEXTS[:1])


def test_embed_a_list(http: httpx.Client, reference: Reference) -> None:
    reference.check(http.post("/embed", json={"inputs": TEXTS}).json(), TEXTS)


@pytest.mark.parametrize(
    "inputs",
    [HELLO_WORLD, [HELLO_WORLD], [WRAPPED_HELLO_WORLD]],
    ids=["one list", "list of lists", "with special tokens"],
)
def test_embed_token_ids(http: httpx.Client, inputs: Any) -> None:
    vectors = http.post("/embed", json={"inputs": inputs}).json()
    np.testing.assert_allclose(vectors, openai_vectors(http, ["hello world"]), atol=1e-5)


@pytest.mark.parametrize(("direction", "kept"), [("Right", "cat "), ("Left", "dog ")])
def test_embed_truncation_direction_in_capitals(
    http: httpx.Client, direction: str, kept: str
) -> None:
    body = {"inputs": CAT_THEN_DOG, "truncate": True, "truncation_direction": direction}
    expected = openai_vectors(http, [kept * (MAX_TOKENS - 2)])
    np.testing.assert_allclose(http.post("/embed", json=body).json(), expected, atol=1e-5)


def test_embed_normalizes_unless_told_otherwise(http: httpx.Client) -> None:
    assert norms(http.post("/embed", json={"inputs": "hello"}).json())[0] == pytest.approx(1.0)


def test_embed_takes_explicit_nulls(http: httpx.Client, reference: Reference) -> None:
    body = {"inputs": TEXTS[0], "truncate": None, "prompt_name": None, "dimensions": None}
    reference.check(http.post("/embed", json=body).json(), TEXTS[:1])


def test_embed_headers(http: httpx.Client) -> None:
    headers = http.post("/embed", json={"inputs": ["a", LONG]}).headers
    assert headers["x-truncated-inputs"] == "1"
    assert headers["x-model-version"] == "1"
    assert headers["x-model-revision"] == http.get("/info").json()["model_sha"]


# /tokenize and /decode


def test_tokenize(http: httpx.Client) -> None:
    answer = http.post("/tokenize", json={"inputs": "hello world"}).json()
    assert answer == [
        [
            {"id": 101, "text": "[CLS]", "special": True, "start": None, "stop": None},
            {"id": 7592, "text": "hello", "special": False, "start": 0, "stop": 5},
            {"id": 2088, "text": "world", "special": False, "start": 6, "stop": 11},
            {"id": 102, "text": "[SEP]", "special": True, "start": None, "stop": None},
        ]
    ]


def test_tokenize_a_list_without_special_tokens(http: httpx.Client) -> None:
    body = {"inputs": ["hello", "world hello"], "add_special_tokens": False}
    answer = http.post("/tokenize", json=body).json()
    assert [[token["id"] for token in text] for text in answer] == [[7592], [2088, 7592]]


def test_tokenize_gives_the_text_as_it_was_written(http: httpx.Client) -> None:
    # Not as the vocabulary has it: "em", "##bed", "##ding", "##s".
    body = {"inputs": "EMBEDDINGS", "add_special_tokens": False}
    (pieces,) = http.post("/tokenize", json=body).json()
    assert [piece["text"] for piece in pieces] == ["EM", "BED", "DING", "S"]


def test_tokenize_counts_places_in_bytes(http: httpx.Client) -> None:
    # As TEI does, which counts in UTF-8.
    body = {"inputs": "Größe zwei", "add_special_tokens": False}
    (pieces,) = http.post("/tokenize", json=body).json()
    assert pieces[-1]["stop"] == len("Größe zwei".encode())


def test_tokenize_does_not_truncate(http: httpx.Client) -> None:
    (tokens,) = http.post("/tokenize", json={"inputs": LONG}).json()
    assert len(tokens) == 402


def test_decode_one_list(http: httpx.Client) -> None:
    assert http.post("/decode", json={"ids": WRAPPED_HELLO_WORLD}).json() == ["hello world"]


def test_decode_several_lists_with_special_tokens(http: httpx.Client) -> None:
    body = {"ids": [WRAPPED_HELLO_WORLD, [7592]], "skip_special_tokens": False}
    answer = http.post("/decode", json=body).json()
    assert answer == ["[CLS] hello world [SEP]", "hello"]


# /info and /health


def test_info(http: httpx.Client) -> None:
    info = http.get("/info").json()
    assert info["model_id"] == MODEL
    assert info["model_dtype"] == "float32"
    assert info["model_type"] == {"embedding": {"pooling": "mean"}}
    assert info["max_input_length"] == MAX_TOKENS
    assert info["auto_truncate"] is True


def test_info_has_all_fields_of_tei(http: httpx.Client) -> None:
    assert set(http.get("/info").json()) >= {
        "model_id", "model_sha", "model_dtype", "model_type", "max_concurrent_requests",
        "max_input_length", "max_batch_tokens", "max_batch_requests", "max_client_batch_size",
        "auto_truncate", "tokenization_workers", "version", "sha", "docker_label",
    }  # fmt: skip


def test_health(http: httpx.Client) -> None:
    response = http.get("/health")
    assert (response.status_code, response.content) == (200, b"")


# Errors


@pytest.mark.parametrize("inputs", ["", [], ["a", ""], [[]]], ids=repr)
def test_empty_input(http: httpx.Client, inputs: Any) -> None:
    assert_error(http.post("/embed", json={"inputs": inputs}), 400, "Empty")


@pytest.mark.parametrize("inputs", ["", [], ["a", ""]], ids=repr)
def test_tokenize_empty_input(http: httpx.Client, inputs: Any) -> None:
    assert_error(http.post("/tokenize", json={"inputs": inputs}), 400, "Empty")


@pytest.mark.parametrize("ids", [[], [[]]], ids=repr)
def test_decode_empty_input(http: httpx.Client, ids: Any) -> None:
    assert_error(http.post("/decode", json={"ids": ids}), 400, "Empty")


def test_text_over_the_limit_without_truncation(http: httpx.Client) -> None:
    response = http.post("/embed", json={"inputs": ["a", LONG], "truncate": False})
    assert_error(response, 422, "Validation")
    assert str(MAX_TOKENS) in response.json()["error"]


def test_too_many_inputs(http: httpx.Client) -> None:
    response = http.post("/embed", json={"inputs": ["a"] * 2049})
    assert_error(response, 422, "Validation")


@pytest.mark.parametrize("path", ["/", "/embed", "/tokenize", "/decode"])
def test_malformed_json(http: httpx.Client, path: str) -> None:
    assert http.post(path, content=b'{"inputs": "hel').status_code == 400


WRONG_TYPES: dict[str, tuple[str, dict[str, Any]]] = {
    "inputs": ("/embed", {"inputs": 5}),
    "mixed inputs": ("/embed", {"inputs": ["a", 5]}),
    "no inputs": ("/embed", {}),
    "normalize": ("/embed", {"inputs": "a", "normalize": "yes"}),
    "truncate": ("/embed", {"inputs": "a", "truncate": 1}),
    "truncation_direction": ("/embed", {"inputs": "a", "truncation_direction": "up"}),
    "dimensions": ("/embed", {"inputs": "a", "dimensions": "64"}),
    "dimension 0": ("/embed", {"inputs": "a", "dimensions": 0}),
    "token id": ("/embed", {"inputs": [[30522]]}),
    "tokenize": ("/tokenize", {"inputs": 5}),
    "tokenize token ids": ("/tokenize", {"inputs": [5]}),
    "decode": ("/decode", {"ids": "hello"}),
    "decode mixed": ("/decode", {"ids": [5, [5]]}),
    "decode negative id": ("/decode", {"ids": [-1]}),
    "decode id over 32 bits": ("/decode", {"ids": [1 << 32]}),
}


@pytest.mark.parametrize(("path", "body"), WRONG_TYPES.values(), ids=WRONG_TYPES)
def test_wrong_type(http: httpx.Client, path: str, body: dict[str, Any]) -> None:
    assert_error(http.post(path, json=body), 422, "Validation")
