"""Cohere's v2 embed, as Cohere's own client speaks it: several embedding types at once."""

from collections.abc import Iterator
from typing import Any

import cohere
import httpx
import numpy as np
import pytest

from tests.contract.helpers import (
    CAT_THEN_DOG,
    DIMENSIONS,
    LONG,
    MAX_TOKENS,
    MODEL,
    TEXTS,
    UNKNOWN,
    Reference,
    cosines,
    from_base64,
    norms,
    openai_vectors,
)
from tests.deadlines import DEADLINE_S
from tests.serving import Server

ALL_TYPES = ["float", "int8", "uint8", "binary", "ubinary", "base64"]


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[Any]:
    with httpx.Client(timeout=DEADLINE_S) as http_client:
        yield cohere.ClientV2(api_key="none", base_url=server.url, httpx_client=http_client)


def embed(client: Any, texts: list[str], **options: Any) -> Any:
    arguments = {"model": MODEL, "input_type": "search_document"} | options
    return client.embed(texts=texts, **arguments)


@pytest.fixture(scope="module")
def every_type(client: Any) -> Any:
    """The embeddings of TEXTS in all types, by one request."""
    return embed(client, TEXTS, embedding_types=ALL_TYPES).embeddings


# Types


def test_float_is_the_default(client: Any, reference: Reference) -> None:
    embeddings = embed(client, TEXTS).embeddings
    reference.check(embeddings.float_, TEXTS)
    assert embeddings.int8 is None


def test_float(every_type: Any, reference: Reference) -> None:
    reference.check(every_type.float_, TEXTS)


def test_int8_points_the_same_way(every_type: Any) -> None:
    rows = np.array(every_type.int8)
    assert rows.shape == (3, DIMENSIONS)
    assert rows.min() >= -128
    assert rows.max() <= 127
    assert cosines(rows, every_type.float_).min() > 0.9999


def test_uint8_is_int8_shifted(every_type: Any) -> None:
    rows = np.array(every_type.uint8)
    assert rows.min() >= 0
    assert rows.max() <= 255
    np.testing.assert_array_equal(rows - 128, every_type.int8)
    assert cosines(rows - 128, every_type.float_).min() > 0.9999


def test_ubinary_packs_the_signs(every_type: Any) -> None:
    expected = np.packbits(np.array(every_type.float_) > 0, axis=1)
    np.testing.assert_array_equal(every_type.ubinary, expected)


def test_binary_is_ubinary_shifted(every_type: Any) -> None:
    np.testing.assert_array_equal(every_type.binary, np.array(every_type.ubinary) - 128)


def test_base64_is_the_float_vector(every_type: Any) -> None:
    decoded = [from_base64(row) for row in every_type.base64]
    np.testing.assert_array_equal(decoded, np.array(every_type.float_, np.float32))


@pytest.mark.parametrize("kind", ALL_TYPES)
def test_only_what_was_asked_for_is_sent(http: httpx.Client, kind: str) -> None:
    body = {"model": MODEL, "texts": ["a"], "embedding_types": [kind]}
    assert set(http.post("/v2/embed", json=body).json()["embeddings"]) == {kind}


# Options


def test_output_dimension(client: Any, reference: Reference) -> None:
    vectors = embed(client, TEXTS, output_dimension=64).embeddings.float_
    assert np.shape(vectors) == (3, 64)
    np.testing.assert_allclose(norms(vectors), 1.0, atol=1e-6)
    assert cosines(vectors, reference.vectors_of(TEXTS)[:, :64]).min() > 0.99999


def test_output_dimension_cuts_before_packing(client: Any) -> None:
    types = ["float", "ubinary"]
    embeddings = embed(client, TEXTS, output_dimension=64, embedding_types=types).embeddings
    expected = np.packbits(np.array(embeddings.float_) > 0, axis=1)
    np.testing.assert_array_equal(embeddings.ubinary, expected)


@pytest.mark.parametrize(
    "input_type", ["search_query", "search_document", "classification", "clustering"]
)
def test_input_type_of_a_model_without_prompts_changes_nothing(
    client: Any, reference: Reference, input_type: str
) -> None:
    reference.check(embed(client, TEXTS, input_type=input_type).embeddings.float_, TEXTS)


@pytest.mark.parametrize(("truncate", "kept"), [("END", "cat "), ("START", "dog ")])
def test_truncate_from_either_side(
    client: Any, http: httpx.Client, truncate: str, kept: str
) -> None:
    vectors = embed(client, [CAT_THEN_DOG], truncate=truncate).embeddings.float_
    expected = openai_vectors(http, [kept * (MAX_TOKENS - 2)])
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_truncation_is_reported(http: httpx.Client) -> None:
    response = http.post("/v2/embed", json={"model": MODEL, "texts": ["a", LONG]})
    assert response.headers["x-truncated-inputs"] == "1"
    assert response.headers["x-model-version"] == "1"
    assert response.headers["x-model-revision"] == http.get("/info").json()["model_sha"]


def test_empty_string_has_a_vector(client: Any, reference: Reference) -> None:
    reference.check(embed(client, [""]).embeddings.float_, [""])


# The rest of the answer


def test_answer_repeats_the_texts(client: Any) -> None:
    answer = embed(client, TEXTS)
    assert answer.id
    assert answer.texts == TEXTS
    assert answer.response_type == "embeddings_by_type"


def test_tokens_are_billed(client: Any, reference: Reference) -> None:
    meta = embed(client, TEXTS).meta
    assert meta.api_version.version == "2"
    assert meta.billed_units.input_tokens == reference.tokens_of(TEXTS)


# Errors


def test_truncate_none_refuses_a_long_text(client: Any) -> None:
    with pytest.raises(cohere.BadRequestError) as caught:
        embed(client, ["a", LONG], truncate="NONE")
    assert "402 tokens" in caught.value.body["message"]


def test_unknown_model(client: Any) -> None:
    with pytest.raises(cohere.NotFoundError) as caught:
        embed(client, ["a"], model=UNKNOWN)
    assert UNKNOWN in caught.value.body["message"]


BAD_REQUESTS: dict[str, dict[str, Any]] = {
    "no texts": {"texts": []},
    "unknown type": {"texts": ["a"], "embedding_types": ["int4"]},
    "no types": {"texts": ["a"], "embedding_types": []},
    "unknown input type": {"texts": ["a"], "input_type": "poem"},
    "unknown truncate": {"texts": ["a"], "truncate": "MIDDLE"},
    "no dimension": {"texts": ["a"], "output_dimension": 0},
    "a dimension too many": {"texts": ["a"], "output_dimension": DIMENSIONS + 1},
}


@pytest.mark.parametrize("options", BAD_REQUESTS.values(), ids=BAD_REQUESTS)
def test_bad_request(client: Any, options: dict[str, Any]) -> None:
    with pytest.raises(cohere.BadRequestError) as caught:
        embed(client, **options)
    assert set(caught.value.body) == {"message", "id"}


def test_images_are_refused_by_name(client: Any) -> None:
    with pytest.raises(cohere.BadRequestError) as caught:
        client.embed(model=MODEL, input_type="image", images=["data:image/png;base64,iVBORw0KGgo="])
    assert "images" in caught.value.body["message"]


# Version 1


@pytest.fixture(scope="module")
def client_v1(server: Server) -> Iterator[Any]:
    with httpx.Client(timeout=DEADLINE_S) as http_client:
        yield cohere.Client(api_key="none", base_url=server.url, httpx_client=http_client)


def test_version_1(client_v1: Any, reference: Reference) -> None:
    answer = client_v1.embed(texts=TEXTS, model=MODEL, input_type="search_document")
    assert answer.response_type == "embeddings_floats"
    reference.check(answer.embeddings, TEXTS)


# Cohere's client does what the library under it calls deprecated.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_version_1_by_types(client_v1: Any, reference: Reference) -> None:
    answer = client_v1.embed(texts=TEXTS, model=MODEL, embedding_types=["float", "int8"])
    reference.check(answer.embeddings.float_, TEXTS)
    assert len(answer.embeddings.int8[0]) == DIMENSIONS
