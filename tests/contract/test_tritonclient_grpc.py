"""V2 over gRPC, as Triton's own gRPC client speaks it.

The client hides trailing metadata, so where that is looked at its generated stub is used alone.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from tritonclient.utils import InferenceServerException, serialize_byte_tensor

from tests.contract.helpers import (
    DIMENSIONS,
    LONG,
    MODEL,
    TEXTS,
    UNKNOWN,
    Reference,
    cosines,
    counted,
    norms,
    texts_embedded,
)
from tests.serving import Server


@pytest.fixture(scope="module")
def triton(server: Server, tritonclient_grpc: Any) -> Iterator[Any]:
    with tritonclient_grpc.InferenceServerClient(server.grpc) as client:
        yield client


@pytest.fixture(scope="module")
def stub(server: Server, tritonclient_grpc: Any) -> Iterator[Any]:
    with grpc.insecure_channel(server.grpc) as channel:
        yield tritonclient_grpc.service_pb2_grpc.GRPCInferenceServiceStub(channel)


class Tensors:
    """Makes requests from texts, with the client's own types."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def infer(self, texts: Sequence[str], *, column: bool = False) -> list[Any]:
        """Inputs for `infer`: one tensor, [N] or [N, 1], in raw bytes."""
        shape = [len(texts), 1] if column else [len(texts)]
        return [self.tensor(np.array(texts, dtype=object).reshape(shape))]

    def tensor(self, array: Any, name: str = "text", datatype: str = "BYTES") -> Any:
        tensor = self._module.InferInput(name, list(array.shape), datatype)
        tensor.set_data_from_numpy(array)
        return tensor

    def message(self, texts: Sequence[str], **fields: Any) -> Any:
        """A ModelInferRequest with typed contents instead of raw bytes."""
        types = self._module.service_pb2
        tensor = types.ModelInferRequest.InferInputTensor(
            name="text",
            datatype="BYTES",
            shape=[len(texts)],
            contents=types.InferTensorContents(bytes_contents=[text.encode() for text in texts]),
        )
        return types.ModelInferRequest(model_name=MODEL, inputs=[tensor], **fields)


@pytest.fixture(scope="module")
def tensors(tritonclient_grpc: Any) -> Tensors:
    return Tensors(tritonclient_grpc)


def vectors_of(result: Any) -> Any:
    return result.as_numpy("embedding")


def vectors_in(response: Any) -> Any:
    """The vectors of a bare ModelInferResponse."""
    (output,) = response.outputs
    return np.frombuffer(response.raw_output_contents[0], "<f4").reshape(output.shape)


# Health and metadata


def test_server_is_live_and_ready(triton: Any) -> None:
    assert triton.is_server_live()
    assert triton.is_server_ready()


@pytest.mark.parametrize("version", ["", "1"])
def test_model_is_ready(triton: Any, version: str) -> None:
    assert triton.is_model_ready(MODEL, version)


@pytest.mark.parametrize(("model", "version"), [(UNKNOWN, ""), (MODEL, "2")])
def test_readiness_of_what_is_not_served(triton: Any, model: str, version: str) -> None:
    assert not triton.is_model_ready(model, version)


def test_server_metadata_announces_binary_tensors(triton: Any) -> None:
    metadata = triton.get_server_metadata()
    assert metadata.name == "predictor"
    assert "binary_tensor_data" in metadata.extensions


@pytest.mark.parametrize("version", ["", "1"])
def test_model_metadata(triton: Any, version: str) -> None:
    metadata = triton.get_model_metadata(MODEL, version)
    assert (metadata.name, list(metadata.versions)) == (MODEL, ["1"])
    (tensor,), (output,) = metadata.inputs, metadata.outputs
    assert (tensor.name, tensor.datatype, list(tensor.shape)) == ("text", "BYTES", [-1])
    assert (output.name, output.datatype, list(output.shape)) == (
        "embedding", "FP32", [-1, DIMENSIONS],
    )  # fmt: skip


# Tensors


@pytest.mark.parametrize("column", [False, True], ids=["[N]", "[N, 1]"])
def test_infer(triton: Any, tensors: Tensors, reference: Reference, column: bool) -> None:
    result = triton.infer(MODEL, tensors.infer(TEXTS, column=column))
    output = result.get_output("embedding")
    assert (output.datatype, list(output.shape)) == ("FP32", [len(TEXTS), DIMENSIONS])
    assert vectors_of(result).dtype == np.float32
    reference.check(vectors_of(result), TEXTS)


def test_typed_contents(stub: Any, tensors: Tensors, reference: Reference) -> None:
    reference.check(vectors_in(stub.ModelInfer(tensors.message(TEXTS))), TEXTS)


def test_empty_string_has_a_vector(triton: Any, tensors: Tensors, reference: Reference) -> None:
    texts = ["", TEXTS[0]]
    reference.check(vectors_of(triton.infer(MODEL, tensors.infer(texts))), texts)


def test_output_may_be_named(
    triton: Any, tritonclient_grpc: Any, tensors: Tensors, reference: Reference
) -> None:
    outputs = [tritonclient_grpc.InferRequestedOutput("embedding")]
    result = triton.infer(MODEL, tensors.infer(TEXTS), outputs=outputs)
    reference.check(vectors_of(result), TEXTS)


def test_answer_names_model_version_and_request(triton: Any, tensors: Tensors) -> None:
    answer = triton.infer(MODEL, tensors.infer(["hello"]), request_id="mine-1").get_response()
    assert (answer.model_name, answer.model_version, answer.id) == (MODEL, "1", "mine-1")


def test_version_in_the_request(triton: Any, tensors: Tensors, reference: Reference) -> None:
    result = triton.infer(MODEL, tensors.infer(TEXTS), model_version="1")
    reference.check(vectors_of(result), TEXTS)


def test_compression(triton: Any, tensors: Tensors, reference: Reference) -> None:
    result = triton.infer(MODEL, tensors.infer(TEXTS), compression_algorithm="gzip")
    reference.check(vectors_of(result), TEXTS)


# Parameters


def test_dimensions(triton: Any, tensors: Tensors, reference: Reference) -> None:
    result = triton.infer(MODEL, tensors.infer(TEXTS), parameters={"dimensions": 64})
    vectors = vectors_of(result)
    assert vectors.shape == (3, 64)
    np.testing.assert_allclose(norms(vectors), 1.0, atol=1e-6)
    assert cosines(vectors, reference.vectors_of(TEXTS)[:, :64]).min() > 0.99999


def test_normalize_false(triton: Any, tensors: Tensors, reference: Reference) -> None:
    result = triton.infer(MODEL, tensors.infer(TEXTS), parameters={"normalize": False})
    vectors = vectors_of(result)
    assert np.abs(norms(vectors) - 1.0).min() > 0.01
    assert cosines(vectors, reference.vectors_of(TEXTS)).min() > 0.99999


def test_truncate_false_refuses_a_long_text(triton: Any, tensors: Tensors) -> None:
    with pytest.raises(InferenceServerException, match="402 tokens") as caught:
        triton.infer(MODEL, tensors.infer(["a", LONG]), parameters={"truncate": False})
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"


# `priority` is sent as an unsigned integer, a type that KServe's own proto does not know.
@pytest.mark.parametrize(("priority", "lane"), [(1, "query"), (2, "ingest")])
def test_priority_chooses_the_lane(
    triton: Any, tensors: Tensors, http: httpx.Client, priority: int, lane: str
) -> None:
    before = texts_embedded(http, lane)
    triton.infer(MODEL, tensors.infer(TEXTS), priority=priority)
    assert texts_embedded(http, lane) == before + len(TEXTS)


@pytest.mark.parametrize("lane", ["query", "ingest"])
def test_priority_metadata_chooses_the_lane(
    triton: Any, tensors: Tensors, http: httpx.Client, lane: str
) -> None:
    before = texts_embedded(http, lane)
    triton.infer(MODEL, tensors.infer(TEXTS), headers={"x-priority": lane})
    assert texts_embedded(http, lane) == before + len(TEXTS)


def test_timeout_ends_a_long_request(triton: Any, tensors: Tensors) -> None:
    with pytest.raises(InferenceServerException) as caught:
        triton.infer(MODEL, tensors.infer([LONG] * 40), timeout=1000)  # µs
    assert caught.value.status() == "StatusCode.DEADLINE_EXCEEDED"


# A float is sent as a double, a type that KServe's own proto does not know.
@pytest.mark.parametrize("milliseconds", [1, 1.5], ids=["integer", "float"])
def test_timeout_ms_ends_a_long_request(triton: Any, tensors: Tensors, milliseconds: float) -> None:
    with pytest.raises(InferenceServerException) as caught:
        triton.infer(MODEL, tensors.infer([LONG] * 40), parameters={"timeout_ms": milliseconds})
    assert caught.value.status() == "StatusCode.DEADLINE_EXCEEDED"


def test_deadline_of_the_call_ends_the_work_too(
    triton: Any, tensors: Tensors, http: httpx.Client
) -> None:
    def given_up() -> float:
        return sum(
            counted(http, "predictor_rejected_total", reason=reason)
            for reason in ("deadline", "client_gone")
        )

    before = given_up()
    with pytest.raises(InferenceServerException) as caught:
        triton.infer(MODEL, tensors.infer([LONG] * 40), client_timeout=0.05)
    assert caught.value.status() == "StatusCode.DEADLINE_EXCEEDED"
    # The client does not wait for the server, which may notice a moment later.
    assert any(given_up() == before + 1 for _ in range(400))


# Truncation is never silent


def test_truncated_texts_are_reported_in_the_output(triton: Any, tensors: Tensors) -> None:
    output = triton.infer(MODEL, tensors.infer(["a", LONG, "b", LONG])).get_output("embedding")
    assert output.parameters["truncated_inputs"].string_param == "1,3"


def test_truncated_texts_are_reported_in_trailing_metadata(stub: Any, tensors: Tensors) -> None:
    _, call = stub.ModelInfer.with_call(tensors.message(["a", LONG]))
    assert dict(call.trailing_metadata())["x-truncated-inputs"] == "1"


def test_no_truncation_no_report(stub: Any, tensors: Tensors) -> None:
    response, call = stub.ModelInfer.with_call(tensors.message(TEXTS))
    assert "x-truncated-inputs" not in dict(call.trailing_metadata())
    assert "truncated_inputs" not in response.outputs[0].parameters


def test_trailing_metadata_names_version_and_revision(
    stub: Any, tensors: Tensors, http: httpx.Client
) -> None:
    _, call = stub.ModelInfer.with_call(tensors.message(["hello"]))
    trailing = dict(call.trailing_metadata())
    assert trailing["x-model-version"] == "1"
    assert trailing["x-model-revision"] == http.get("/info").json()["model_sha"]


def test_request_id_comes_back(stub: Any, tensors: Tensors) -> None:
    _, call = stub.ModelInfer.with_call(
        tensors.message(["hello"]), metadata=[("x-request-id", "mine-1")]
    )
    assert dict(call.trailing_metadata())["x-request-id"] == "mine-1"


# Errors


@pytest.mark.parametrize(("model", "version"), [(UNKNOWN, ""), (MODEL, "2"), (UNKNOWN, "1")])
def test_unknown_model_or_version(triton: Any, tensors: Tensors, model: str, version: str) -> None:
    with pytest.raises(InferenceServerException) as caught:
        triton.infer(model, tensors.infer(["hello"]), model_version=version)
    assert caught.value.status() == "StatusCode.NOT_FOUND"
    assert (UNKNOWN if model == UNKNOWN else "'2'") in caught.value.message()


@pytest.mark.parametrize(("model", "version"), [(UNKNOWN, ""), (MODEL, "2")])
def test_metadata_of_unknown_model_or_version(triton: Any, model: str, version: str) -> None:
    with pytest.raises(InferenceServerException) as caught:
        triton.get_model_metadata(model, version)
    assert caught.value.status() == "StatusCode.NOT_FOUND"


@pytest.mark.parametrize(
    ("array", "name", "datatype"),
    [
        (np.array(["a"], dtype=object), "TEXT", "BYTES"),
        (np.array([1], dtype=np.int32), "text", "INT32"),
        (np.array([["a", "b"]], dtype=object), "text", "BYTES"),
        (np.array([b"\xff\xfe"], dtype=object), "text", "BYTES"),
        (np.array([], dtype=object), "text", "BYTES"),
    ],
    ids=["another name", "another type", "another shape", "not UTF-8", "no texts"],
)
def test_bad_input(triton: Any, tensors: Tensors, array: Any, name: str, datatype: str) -> None:
    with pytest.raises(InferenceServerException) as caught:
        triton.infer(MODEL, [tensors.tensor(array, name, datatype)])
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_two_inputs(triton: Any, tensors: Tensors) -> None:
    with pytest.raises(InferenceServerException, match="2 inputs") as caught:
        triton.infer(MODEL, [*tensors.infer(["a"]), *tensors.infer(["b"])])
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_raw_and_typed_contents_at_once(stub: Any, tensors: Tensors) -> None:
    raw = serialize_byte_tensor(np.array(["b"], dtype=object)).item()
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(tensors.message(["a"], raw_input_contents=[raw]))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_unknown_output(triton: Any, tritonclient_grpc: Any, tensors: Tensors) -> None:
    outputs = [tritonclient_grpc.InferRequestedOutput("logits")]
    with pytest.raises(InferenceServerException, match="logits") as caught:
        triton.infer(MODEL, tensors.infer(["a"]), outputs=outputs)
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"


@pytest.mark.parametrize(
    "parameters",
    [{"dimensions": 0}, {"dimensions": DIMENSIONS + 1}, {"normalize": "yes"}, {"prompt_name": "q"}],
    ids=str,
)
def test_bad_parameter(triton: Any, tensors: Tensors, parameters: dict[str, Any]) -> None:
    with pytest.raises(InferenceServerException, match=next(iter(parameters))) as caught:
        triton.infer(MODEL, tensors.infer(["a"]), parameters=parameters)
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
