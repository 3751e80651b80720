"""A task that is added by new files and one line is served over V2, REST and gRPC."""

import grpc
import numpy as np
import pytest

from predictor.errors import BadModel
from predictor.kserve_sdk import messages, services
from predictor.server.application import put_together
from tests.integration.spine.conftest import Speak

TEXTS = ["hello", "hello world"]
INPUT = {"name": "text", "shape": [2], "datatype": "BYTES", "data": TEXTS}
ROUTE = "/v2/models/minilm/infer"


async def test_the_output_asked_for_says_which_task_is_meant(speak: Speak) -> None:
    spine = await speak()
    body = {"inputs": [INPUT], "outputs": [{"name": "length"}]}
    answer = (await spine.http.post(ROUTE, json=body)).json()
    assert answer["outputs"] == [
        {"name": "length", "datatype": "INT64", "shape": [2], "data": [3, 4]}
    ]
    body["outputs"] = [{"name": "embedding"}]
    answer = (await spine.http.post(ROUTE, json=body)).json()
    assert answer["outputs"][0]["shape"] == [2, 384]


async def test_the_first_task_of_the_model_is_meant_where_no_output_is_named(speak: Speak) -> None:
    lengths_first = await speak(tasks=("length", "embed"))
    answer = (await lengths_first.http.post(ROUTE, json={"inputs": [INPUT]})).json()
    assert answer["outputs"][0]["name"] == "length"


async def test_binary_output_is_little_endian_int64(speak: Speak) -> None:
    spine = await speak()
    output = {"name": "length", "parameters": {"binary_data": True}}
    response = await spine.http.post(ROUTE, json={"inputs": [INPUT], "outputs": [output]})
    start = int(response.headers["inference-header-content-length"])
    assert np.frombuffer(response.content[start:], dtype="<i8").tolist() == [3, 4]


async def test_it_is_spoken_over_grpc(speak: Speak) -> None:
    spine = await speak()
    port = await spine.grpc_server.start()
    try:
        message = messages.ModelInferRequest(model_name="minilm", id="7")
        tensor = message.inputs.add(name="text", datatype="BYTES", shape=[2])
        tensor.contents.bytes_contents.extend(text.encode() for text in TEXTS)
        message.outputs.add(name="length")
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = services.GRPCInferenceServiceStub(channel)
            response = await stub.ModelInfer(message)
        assert response.id == "7"
        assert np.frombuffer(response.raw_output_contents[0], dtype="<i8").tolist() == [3, 4]
    finally:
        await spine.grpc_server.stop(0.0)


async def test_the_metadata_lists_the_tensors_of_both_tasks(speak: Speak) -> None:
    spine = await speak()
    metadata = (await spine.http.get("/v2/models/minilm")).json()
    assert [tensor["name"] for tensor in metadata["inputs"]] == ["text"]
    assert [tensor["name"] for tensor in metadata["outputs"]] == ["embedding", "length"]


async def test_a_task_that_the_model_does_not_do_is_refused_by_name(speak: Speak) -> None:
    spine = await speak(tasks=("length",))
    response = await spine.http.post("/embed", json={"inputs": "a"})
    assert response.status_code == 424
    assert response.json() == {
        "error": "model 'minilm' does not support the task embed; it supports length, tokenize, "
        "decode",
        "error_type": "Backend",
    }


async def test_a_bundle_without_a_task_of_this_server_is_a_bad_model(speak: Speak) -> None:
    with pytest.raises(BadModel, match="the tasks length; this server supports embed"):
        await speak(put_together(), tasks=("length",))
