"""One text has one vector: over every protocol, in any company, and it is the reference's."""

import base64
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import grpc
import httpx
import numpy as np
import pytest

from tests.contract.helpers import (
    COSINE,
    DIMENSIONS,
    MODEL,
    Floats,
    Reference,
    cosines,
    from_base64,
    openai_vectors,
)
from tests.serving import Server

SAME = 1e-5
BATCH = 16
SAMPLE = 40

Embed = Callable[[Sequence[str]], Floats]

# Short and long, other scripts, what the tokenizer drops, and one over the limit.
TEXTS = [
    "A man is playing a guitar.",
    "hello",
    "Größe, 東京, Привет, مرحبا, 🎸",
    "def f(x: int) -> int:\n    return x + 1",
    "the quick brown fox jumps over the lazy dog " * 12,
    "\u200b zero width and \x07 control",
    "word " * 400,
    "x",
]


def _post(http: httpx.Client, path: str, body: dict[str, Any]) -> Any:
    response = http.post(path, json=body)
    response.raise_for_status()
    return response.json()


def _openai_float(http: httpx.Client, texts: Sequence[str]) -> Any:
    body = {"model": MODEL, "input": list(texts), "encoding_format": "float"}
    return [item["embedding"] for item in _post(http, "/v1/embeddings", body)["data"]]


def _v1(http: httpx.Client, texts: Sequence[str]) -> Any:
    return _post(http, f"/v1/models/{MODEL}:predict", {"instances": list(texts)})["predictions"]


def _v2_json(http: httpx.Client, texts: Sequence[str]) -> Any:
    tensor = {"name": "text", "shape": [len(texts)], "datatype": "BYTES", "data": list(texts)}
    (output,) = _post(http, f"/v2/models/{MODEL}/infer", {"inputs": [tensor]})["outputs"]
    return np.reshape(output["data"], output["shape"])


def _v2_binary(http: httpx.Client, texts: Sequence[str]) -> Any:
    from tritonclient.http import InferenceServerClient, InferInput

    tensor = InferInput("text", [len(texts)], "BYTES")
    tensor.set_data_from_numpy(np.array(texts, dtype=object))
    body, json_size = InferenceServerClient.generate_request_body([tensor])
    response = http.post(
        f"/v2/models/{MODEL}/infer",
        content=body,
        headers={"Inference-Header-Content-Length": str(json_size)},
    )
    response.raise_for_status()
    header_length = int(response.headers["inference-header-content-length"])
    result = InferenceServerClient.parse_response_body(
        response.content, header_length=header_length
    )
    return result.as_numpy("embedding")


def _tei(http: httpx.Client, texts: Sequence[str]) -> Any:
    return _post(http, "/embed", {"inputs": list(texts)})


def _cohere(http: httpx.Client, texts: Sequence[str], kind: str) -> Any:
    body = {"model": MODEL, "texts": list(texts), "embedding_types": [kind]}
    return _post(http, "/v2/embed", body)["embeddings"][kind]


def _cohere_float(http: httpx.Client, texts: Sequence[str]) -> Any:
    return _cohere(http, texts, "float")


def _cohere_base64(http: httpx.Client, texts: Sequence[str]) -> Any:
    return [from_base64(row) for row in _cohere(http, texts, "base64")]


OVER_HTTP: dict[str, Callable[[httpx.Client, Sequence[str]], Any]] = {
    "openai base64": openai_vectors,
    "openai float": _openai_float,
    "v1": _v1,
    "v2 JSON": _v2_json,
    "v2 binary": _v2_binary,
    "tei": _tei,
    "cohere float": _cohere_float,
    "cohere base64": _cohere_base64,
}
OVER_GRPC = ("grpc raw", "grpc typed")


def _grpc_request(types: Any, texts: Sequence[str], *, raw: bool) -> Any:
    from tritonclient.utils import serialize_byte_tensor

    request = types.ModelInferRequest(model_name=MODEL)
    tensor = request.inputs.add(name="text", datatype="BYTES", shape=[len(texts)])
    if raw:
        contents = serialize_byte_tensor(np.array(texts, dtype=object)).item()
        request.raw_input_contents.append(contents)
    else:
        tensor.contents.bytes_contents.extend(text.encode() for text in texts)
    return request


@pytest.fixture(scope="module")
def over_grpc(server: Server, tritonclient_grpc: Any) -> Iterator[Callable[..., Floats]]:
    with grpc.insecure_channel(server.grpc) as channel:
        stub = tritonclient_grpc.service_pb2_grpc.GRPCInferenceServiceStub(channel)

        def embed(texts: Sequence[str], *, raw: bool) -> Floats:
            answer = stub.ModelInfer(_grpc_request(tritonclient_grpc.service_pb2, texts, raw=raw))
            vectors = np.frombuffer(answer.raw_output_contents[0], "<f4")
            return vectors.reshape(answer.outputs[0].shape)

        yield embed


@pytest.fixture(params=[*OVER_HTTP, *OVER_GRPC])
def embed(
    request: pytest.FixtureRequest, http: httpx.Client, over_grpc: Callable[..., Floats]
) -> Embed:
    """Each way to have texts embedded."""
    name = request.param
    if name in OVER_HTTP:
        return lambda texts: np.asarray(OVER_HTTP[name](http, texts), np.float32)
    return lambda texts: over_grpc(texts, raw=name == "grpc raw")


@pytest.fixture(scope="module")
def alone(http: httpx.Client) -> Floats:
    """The vectors of TEXTS, each asked for in a request of its own."""
    return np.concatenate([openai_vectors(http, [text]) for text in TEXTS])


def assert_same(left: Floats, right: Floats) -> None:
    assert left.shape == right.shape
    assert np.abs(left - right).max() <= SAME


def test_alone(embed: Embed, alone: Floats) -> None:
    assert_same(np.concatenate([embed([text]) for text in TEXTS]), alone)


def test_in_a_batch(embed: Embed, alone: Floats) -> None:
    assert_same(embed(TEXTS), alone)


def test_in_another_order(embed: Embed, alone: Floats) -> None:
    assert_same(embed(TEXTS[::-1])[::-1], alone)


def test_beside_many_others(http: httpx.Client, alone: Floats) -> None:
    others = [f"another text, number {number}" for number in range(50)]
    mixed = openai_vectors(http, [*others, *TEXTS, *others])
    assert_same(mixed[50 : 50 + len(TEXTS)], alone)


def test_twice_in_one_request(http: httpx.Client) -> None:
    first, _, second = openai_vectors(http, [TEXTS[0], TEXTS[4], TEXTS[0]])
    assert_same(first, second)


def test_other_texts_have_other_vectors(alone: Floats) -> None:
    likeness = cosines(alone[:, None], alone[None]) - np.eye(len(TEXTS))
    assert likeness.max() < 0.99


# The reference


class Answer(NamedTuple):
    """What one request to /v1/embeddings gave."""

    vectors: Floats
    tokens: int
    truncated: list[int]


def ask(http: httpx.Client, texts: Sequence[str]) -> Answer:
    body = {"model": MODEL, "input": list(texts), "encoding_format": "base64"}
    response = http.post("/v1/embeddings", json=body)
    response.raise_for_status()
    answer = response.json()
    indices = response.headers.get("x-truncated-inputs", "")
    return Answer(
        np.stack([from_base64(item["embedding"]) for item in answer["data"]]),
        answer["usage"]["prompt_tokens"],
        [int(index) for index in indices.split(",") if index],
    )


@pytest.fixture(scope="module")
def in_batches(http: httpx.Client, reference: Reference) -> list[Answer]:
    """All reference texts, in their order, BATCH a request."""
    texts = reference.texts
    return [ask(http, texts[start : start + BATCH]) for start in range(0, len(texts), BATCH)]


@pytest.fixture(scope="module")
def sample(reference: Reference) -> list[int]:
    """Rows of all kinds, the truncated among them."""
    spread = np.linspace(0, len(reference.texts) - 1, SAMPLE - 8).round().astype(int)
    return sorted({*spread.tolist(), *np.flatnonzero(reference.truncated)[:8].tolist()})


def test_reference_is_what_it_is_taken_for(reference: Reference) -> None:
    count = len(reference.texts)
    assert count == 404
    assert reference.vectors.shape == (count, DIMENSIONS)
    assert reference.truncated.any()
    assert not reference.truncated.all()


def test_all_texts_in_batches(in_batches: list[Answer], reference: Reference) -> None:
    vectors = np.concatenate([answer.vectors for answer in in_batches])
    likeness = cosines(vectors, reference.vectors)
    worst = int(likeness.argmin())
    assert likeness[worst] >= COSINE, reference.texts[worst]


def test_all_vectors_have_length_1(in_batches: list[Answer]) -> None:
    vectors = np.concatenate([answer.vectors for answer in in_batches])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)


def test_all_token_counts(in_batches: list[Answer], reference: Reference) -> None:
    starts = range(0, len(reference.texts), BATCH)
    assert [answer.tokens for answer in in_batches] == [
        int(reference.token_counts[start : start + BATCH].sum()) for start in starts
    ]


def test_all_truncations_are_reported(in_batches: list[Answer], reference: Reference) -> None:
    reported = [
        number * BATCH + index
        for number, answer in enumerate(in_batches)
        for index in answer.truncated
    ]
    assert reported == np.flatnonzero(reference.truncated).tolist()


def test_a_text_alone_has_the_reference_vector(
    http: httpx.Client, reference: Reference, sample: list[int]
) -> None:
    for row in sample:
        text = reference.texts[row]
        answer = ask(http, [text])
        assert cosines(answer.vectors, reference.vectors[row])[0] >= COSINE, text
        assert answer.tokens == reference.token_counts[row], text
        assert answer.truncated == ([0] if reference.truncated[row] else []), text


def test_one_by_one_as_in_batches(
    http: httpx.Client, reference: Reference, sample: list[int], in_batches: list[Answer]
) -> None:
    vectors = np.concatenate([answer.vectors for answer in in_batches])
    for row in sample:
        assert_same(ask(http, [reference.texts[row]]).vectors[0], vectors[row])


def test_tokens_are_not_cut_at_the_limit_of_the_tokenizer_file(http: httpx.Client) -> None:
    # tokenizer.json of this model cuts at 128, the model itself takes 256.
    answer = ask(http, ["word " * 200])
    assert (answer.tokens, answer.truncated) == (202, [])


def test_base64_is_little_endian_float32(http: httpx.Client, alone: Floats) -> None:
    body = {"model": MODEL, "input": TEXTS[0], "encoding_format": "base64"}
    (item,) = _post(http, "/v1/embeddings", body)["data"]
    raw = base64.b64decode(item["embedding"], validate=True)
    assert len(raw) == DIMENSIONS * 4
    assert_same(np.frombuffer(raw, "<f4").astype(np.float32), alone[0])
