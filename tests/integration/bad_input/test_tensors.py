"""Shapes and datatypes of V2."""

from typing import Any

import grpc
import httpx
import pytest

from predictor.kserve_sdk import messages
from tests.integration.bad_input.asking import (
    INFER,
    body,
    infer_message,
    message_of,
    refused,
)

WRONG_TENSORS = [
    ({"shape": [2]}, "input 'text' has shape [2] but 1 texts"),
    ({"shape": [0]}, "input 'text' is empty"),
    ({"shape": []}, "input 'text' has shape []; it must be [N] or [N, 1]"),
    ({"shape": [1, 2]}, "input 'text' has shape [1, 2]; it must be [N] or [N, 1]"),
    ({"shape": [1, 1, 1]}, "input 'text' has shape [1, 1, 1]; it must be [N] or [N, 1]"),
    ({"shape": [-1]}, "input 'text' has shape [-1]; it must be [N] or [N, 1]"),
    ({"shape": [2**63 - 1]}, f"input 'text' has shape [{2**63 - 1}] but 1 texts"),
    ({"datatype": "FP32"}, "input 'text' has datatype FP32; it must be BYTES"),
    ({"datatype": ""}, "datatype"),
    ({"name": "input_ids"}, "input 'input_ids' is unknown; this model takes 'text' (BYTES)"),
]


@pytest.mark.parametrize(("changes", "sentence"), WRONG_TENSORS)
def test_wrong_tensors_over_rest(
    http: httpx.Client, changes: dict[str, Any], sentence: str
) -> None:
    tensor = body("v2", ["a"])["inputs"][0] | changes
    response = http.post(INFER, json={"inputs": [tensor]})
    assert response.status_code == 400
    assert sentence in message_of("v2", response)


@pytest.mark.parametrize(("changes", "sentence"), WRONG_TENSORS)
def test_wrong_tensors_over_grpc(stub: Any, changes: dict[str, Any], sentence: str) -> None:
    refusal = refused(stub, infer_message(b"a", **changes))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert sentence in refusal.message


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "n" * 100_000},
        {"datatype": "d" * 100_000},
        {"shape": [1] * 100_000},
        {"model": "m" * 100_000},
        {"version": "v" * 100_000},
    ],
    ids=["name", "datatype", "shape", "model", "version"],
)
def test_a_long_value_does_not_hide_the_error_over_grpc(stub: Any, changes: dict[str, Any]) -> None:
    # gRPC puts the sentence into a header, and a client drops headers of more than 8 KiB.
    refusal = refused(stub, infer_message(b"a", **changes))
    named = "model" in changes or "version" in changes
    expected = grpc.StatusCode.NOT_FOUND if named else grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.code is expected
    assert len(refusal.message) < 500


@pytest.mark.parametrize("count", [0, 2])
def test_another_number_of_tensors(http: httpx.Client, stub: Any, count: int) -> None:
    tensors = body("v2", ["a"])["inputs"] * count
    response = http.post(INFER, json={"inputs": tensors})
    assert response.status_code == 400
    assert message_of("v2", response) == f"{count} inputs; this model takes one, 'text'"
    message = infer_message(b"a")
    tensor = messages.ModelInferRequest.InferInputTensor()
    tensor.CopyFrom(message.inputs[0])
    message.ClearField("inputs")
    message.inputs.extend([tensor] * count)
    refusal = refused(stub, message)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.message == f"{count} inputs; this model takes one, 'text'"


def test_an_unknown_output(http: httpx.Client, stub: Any) -> None:
    sentence = "output 'logits' is unknown; this model gives 'embedding' (FP32)"
    response = http.post(INFER, json=body("v2", ["a"]) | {"outputs": [{"name": "logits"}]})
    assert response.status_code == 400
    assert message_of("v2", response) == sentence
    message = infer_message(b"a")
    message.outputs.add(name="logits")
    refusal = refused(stub, message)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.message == sentence
