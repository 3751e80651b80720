"""V2 over REST, as Triton's own HTTP client speaks it: JSON and binary tensors, both directions."""

from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import numpy as np
import pytest
from tritonclient.http import (
    InferenceServerClient,
    InferInput,
    InferRequestedOutput,
    InferResult,
)
from tritonclient.utils import InferenceServerException

from tests.contract.helpers import (
    DIMENSIONS,
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
from tests.serving import Server

INFER = f"/v2/models/{MODEL}/infer"


@pytest.fixture(scope="module")
def triton(server: Server) -> Iterator[InferenceServerClient]:
    client = InferenceServerClient(server.url.removeprefix("http://"))
    yield client
    client.close()


def text_input(texts: Sequence[str], *, binary: bool = True, column: bool = False) -> InferInput:
    """The input tensor, [N] or [N, 1]."""
    shape = [len(texts), 1] if column else [len(texts)]
    tensor = InferInput("text", shape, "BYTES")
    tensor.set_data_from_numpy(np.array(texts, dtype=object).reshape(shape), binary_data=binary)
    return tensor


def vectors_of(result: InferResult) -> Any:
    return result.as_numpy("embedding")


# Health and metadata


def test_server_is_live_and_ready(triton: InferenceServerClient) -> None:
    assert triton.is_server_live()
    assert triton.is_server_ready()


@pytest.mark.parametrize("version", ["", "1"])
def test_model_is_ready(triton: InferenceServerClient, version: str) -> None:
    assert triton.is_model_ready(MODEL, version)


@pytest.mark.parametrize(("model", "version"), [(UNKNOWN, ""), (MODEL, "2")])
def test_what_is_not_served_is_not_ready(
    triton: InferenceServerClient, model: str, version: str
) -> None:
    assert not triton.is_model_ready(model, version)


def test_server_metadata_announces_binary_tensors(triton: InferenceServerClient) -> None:
    metadata = triton.get_server_metadata()
    assert metadata["name"] == "predictor"
    assert "binary_tensor_data" in metadata["extensions"]


@pytest.mark.parametrize("version", ["", "1"])
def test_model_metadata(triton: InferenceServerClient, version: str) -> None:
    metadata = triton.get_model_metadata(MODEL, version)
    assert metadata["name"] == MODEL
    assert metadata["versions"] == ["1"]
    assert metadata["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
    assert metadata["outputs"] == [
        {"name": "embedding", "datatype": "FP32", "shape": [-1, DIMENSIONS]}
    ]


# Tensors


@pytest.mark.parametrize("binary_out", [False, True], ids=["out JSON", "out binary"])
@pytest.mark.parametrize("binary_in", [False, True], ids=["in JSON", "in binary"])
@pytest.mark.parametrize("column", [False, True], ids=["[N]", "[N, 1]"])
def test_infer(
    triton: InferenceServerClient,
    reference: Reference,
    column: bool,
    binary_in: bool,
    binary_out: bool,
) -> None:
    result = triton.infer(
        MODEL,
        [text_input(TEXTS, binary=binary_in, column=column)],
        outputs=[InferRequestedOutput("embedding", binary_data=binary_out)],
    )
    output = result.get_output("embedding")
    assert ("data" in output) is not binary_out
    assert (output["datatype"], output["shape"]) == ("FP32", [len(TEXTS), DIMENSIONS])
    assert vectors_of(result).dtype == np.float32
    reference.check(vectors_of(result), TEXTS)


def test_output_is_binary_if_the_request_says_so_for_all(
    triton: InferenceServerClient, reference: Reference
) -> None:
    # Without outputs the client sets the request's parameter binary_data_output.
    result = triton.infer(MODEL, [text_input(TEXTS)])
    assert result.get_output("embedding")["parameters"] == {
        "binary_data_size": len(TEXTS) * DIMENSIONS * 4
    }
    reference.check(vectors_of(result), TEXTS)


def test_column_as_nested_json_lists(http: httpx.Client, reference: Reference) -> None:
    tensor = {"name": "text", "shape": [3, 1], "datatype": "BYTES", "data": [[t] for t in TEXTS]}
    answer = http.post(INFER, json={"inputs": [tensor]}).json()
    (output,) = answer["outputs"]
    reference.check(np.reshape(output["data"], output["shape"]), TEXTS)


def test_output_is_json_unless_asked_otherwise(http: httpx.Client) -> None:
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["hello"]}
    response = http.post(INFER, json={"inputs": [tensor]})
    assert response.headers["content-type"] == "application/json"
    assert len(response.json()["outputs"][0]["data"]) == DIMENSIONS


def test_empty_string_has_a_vector(triton: InferenceServerClient, reference: Reference) -> None:
    texts = ["", TEXTS[0]]
    reference.check(vectors_of(triton.infer(MODEL, [text_input(texts)])), texts)


def test_text_outside_of_ascii_survives_binary_and_json(triton: InferenceServerClient) -> None:
    texts = ["Größe 東京 🎸"]
    binary = triton.infer(MODEL, [text_input(texts, binary=True)])
    plain = triton.infer(MODEL, [text_input(texts, binary=False)])
    np.testing.assert_allclose(vectors_of(binary), vectors_of(plain), atol=1e-6)


def test_answer_names_model_version_and_request(triton: InferenceServerClient) -> None:
    result = triton.infer(MODEL, [text_input(["hello"])], request_id="mine-1").get_response()
    assert (result["model_name"], result["model_version"], result["id"]) == (MODEL, "1", "mine-1")


def test_version_in_the_path(triton: InferenceServerClient, reference: Reference) -> None:
    result = triton.infer(MODEL, [text_input(TEXTS)], model_version="1")
    reference.check(vectors_of(result), TEXTS)


def test_compressed_answer_may_be_asked_for(
    triton: InferenceServerClient, reference: Reference
) -> None:
    result = triton.infer(MODEL, [text_input(TEXTS)], response_compression_algorithm="gzip")
    reference.check(vectors_of(result), TEXTS)


# Parameters


def test_dimensions(triton: InferenceServerClient, reference: Reference) -> None:
    vectors = vectors_of(triton.infer(MODEL, [text_input(TEXTS)], parameters={"dimensions": 64}))
    assert vectors.shape == (3, 64)
    np.testing.assert_allclose(norms(vectors), 1.0, atol=1e-6)
    assert cosines(vectors, reference.vectors_of(TEXTS)[:, :64]).min() > 0.99999


def test_normalize_false(triton: InferenceServerClient, reference: Reference) -> None:
    result = triton.infer(MODEL, [text_input(TEXTS)], parameters={"normalize": False})
    vectors = vectors_of(result)
    assert np.abs(norms(vectors) - 1.0).min() > 0.01
    assert cosines(vectors, reference.vectors_of(TEXTS)).min() > 0.99999


def test_truncate_false_refuses_a_long_text(triton: InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="402 tokens") as caught:
        triton.infer(MODEL, [text_input(["a", LONG])], parameters={"truncate": False})
    assert caught.value.status() == "400"


@pytest.mark.parametrize(("priority", "lane"), [(1, "query"), (2, "ingest")])
def test_priority_chooses_the_lane(
    triton: InferenceServerClient, http: httpx.Client, priority: int, lane: str
) -> None:
    before = texts_embedded(http, lane)
    triton.infer(MODEL, [text_input(TEXTS)], priority=priority)
    assert texts_embedded(http, lane) == before + len(TEXTS)


def test_timeout_ends_a_long_request(triton: InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException) as caught:
        triton.infer(MODEL, [text_input([LONG] * 40)], timeout=1000)  # µs
    assert caught.value.status() == "504"


def test_timeout_ms_ends_a_long_request(triton: InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException) as caught:
        triton.infer(MODEL, [text_input([LONG] * 40)], parameters={"timeout_ms": 1.5})
    assert caught.value.status() == "504"


def test_long_enough_timeout_changes_nothing(
    triton: InferenceServerClient, reference: Reference
) -> None:
    result = triton.infer(MODEL, [text_input(TEXTS)], timeout=30_000_000)
    reference.check(vectors_of(result), TEXTS)


def test_parameter_of_another_server_is_ignored(
    triton: InferenceServerClient, reference: Reference
) -> None:
    result = triton.infer(MODEL, [text_input(TEXTS)], parameters={"temperature": 5})
    reference.check(vectors_of(result), TEXTS)


# Truncation is never silent


@pytest.mark.parametrize("binary_out", [False, True], ids=["JSON", "binary"])
def test_truncated_texts_are_reported_in_the_output(
    triton: InferenceServerClient, binary_out: bool
) -> None:
    result = triton.infer(
        MODEL,
        [text_input(["a", LONG, "b", LONG])],
        outputs=[InferRequestedOutput("embedding", binary_data=binary_out)],
    )
    assert result.get_output("embedding")["parameters"]["truncated_inputs"] == "1,3"
    assert vectors_of(result).shape == (4, DIMENSIONS)


def test_truncated_texts_are_reported_in_a_header(http: httpx.Client) -> None:
    # The client keeps response headers to itself: its body is sent and its reader used without it.
    body, json_size = InferenceServerClient.generate_request_body([text_input(["a", LONG])])
    response = http.post(
        INFER, content=body, headers={"Inference-Header-Content-Length": str(json_size)}
    )
    assert response.headers["x-truncated-inputs"] == "1"
    assert response.headers["x-model-version"] == "1"
    assert response.headers["x-model-revision"]
    result = InferenceServerClient.parse_response_body(
        response.content,
        header_length=int(response.headers["inference-header-content-length"]),
    )
    np.testing.assert_allclose(vectors_of(result), openai_vectors(http, ["a", LONG]), atol=1e-5)


def test_no_truncation_no_report(http: httpx.Client) -> None:
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["hello"]}
    response = http.post(INFER, json={"inputs": [tensor]})
    assert "x-truncated-inputs" not in response.headers
    assert "parameters" not in response.json()["outputs"][0]


# Errors


@pytest.mark.parametrize(("model", "version"), [(UNKNOWN, ""), (MODEL, "2"), (UNKNOWN, "1")])
def test_unknown_model_or_version(triton: InferenceServerClient, model: str, version: str) -> None:
    with pytest.raises(InferenceServerException) as caught:
        triton.infer(model, [text_input(["hello"])], model_version=version)
    assert caught.value.status() == "404"
    assert (UNKNOWN if model == UNKNOWN else "'2'") in caught.value.message()


@pytest.mark.parametrize(("model", "version"), [(UNKNOWN, ""), (MODEL, "2")])
def test_metadata_of_unknown_model_or_version(
    triton: InferenceServerClient, model: str, version: str
) -> None:
    with pytest.raises(InferenceServerException) as caught:
        triton.get_model_metadata(model, version)
    assert caught.value.status() == "404"


def _bad_inputs() -> dict[str, list[InferInput]]:
    another_name = InferInput("TEXT", [1], "BYTES")
    another_name.set_data_from_numpy(np.array(["a"], dtype=object))
    another_type = InferInput("text", [1], "INT32")
    another_type.set_data_from_numpy(np.array([1], dtype=np.int32))
    another_shape = InferInput("text", [1, 2], "BYTES")
    another_shape.set_data_from_numpy(np.array([["a", "b"]], dtype=object))
    not_utf8 = InferInput("text", [1], "BYTES")
    not_utf8.set_data_from_numpy(np.array([b"\xff\xfe"], dtype=object))
    return {
        "another name": [another_name],
        "another type": [another_type],
        "another shape": [another_shape],
        "not UTF-8": [not_utf8],
        "no texts": [text_input([])],
        "two inputs": [text_input(["a"]), text_input(["b"])],
    }


@pytest.mark.parametrize("inputs", _bad_inputs().values(), ids=_bad_inputs())
def test_bad_input(triton: InferenceServerClient, inputs: list[InferInput]) -> None:
    with pytest.raises(InferenceServerException) as caught:
        triton.infer(MODEL, inputs)
    assert caught.value.status() == "400"


def test_unknown_output(triton: InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="logits") as caught:
        triton.infer(MODEL, [text_input(["a"])], outputs=[InferRequestedOutput("logits")])
    assert caught.value.status() == "400"


@pytest.mark.parametrize(
    "parameters",
    [{"dimensions": 0}, {"dimensions": DIMENSIONS + 1}, {"normalize": "yes"}, {"prompt_name": "q"}],
    ids=str,
)
def test_bad_parameter(triton: InferenceServerClient, parameters: dict[str, Any]) -> None:
    with pytest.raises(InferenceServerException, match=next(iter(parameters))) as caught:
        triton.infer(MODEL, [text_input(["a"])], parameters=parameters)
    assert caught.value.status() == "400"


def test_a_request_in_gzip(triton: InferenceServerClient) -> None:
    answer = triton.infer(MODEL, [text_input(["a"])], request_compression_algorithm="gzip")
    assert answer.as_numpy("embedding").shape == (1, DIMENSIONS)


def test_a_request_in_deflate_is_refused_by_name(triton: InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="deflate") as caught:
        triton.infer(MODEL, [text_input(["a"])], request_compression_algorithm="deflate")
    assert caught.value.status() == "415"


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (b"\x05\x00\x00\x00hello", 5),
        (b"\xff\x00\x00\x00hello", 9),
        (b"\x05\x00\x00\x00helloab", 11),
    ],
    ids=["another size", "a length past the end", "a rest"],
)
def test_binary_tensor_that_does_not_add_up(http: httpx.Client, data: bytes, size: int) -> None:
    header = (
        '{"inputs":[{"name":"text","shape":[1],"datatype":"BYTES","parameters":'
        f'{{"binary_data_size":{size}}}}}]}}'
    ).encode()
    response = http.post(
        INFER,
        content=header + data,
        headers={"Inference-Header-Content-Length": str(len(header))},
    )
    assert response.status_code == 400
    assert "binary" in response.json()["error"]


@pytest.mark.parametrize("length", [b"9999", b"-1", b"ten", b"\xb2"])
def test_bad_json_length(http: httpx.Client, length: bytes) -> None:
    # \xb2 is a superscript 2: a digit to Python, but no number.
    response = http.post(
        INFER, content=b"{}", headers=[(b"Inference-Header-Content-Length", length)]
    )
    assert response.status_code == 400
    assert "Inference-Header-Content-Length" in response.json()["error"]


def test_malformed_json(http: httpx.Client) -> None:
    response = http.post(INFER, content=b'{"inputs": [')
    assert response.status_code == 400
    assert set(response.json()) == {"error"}
