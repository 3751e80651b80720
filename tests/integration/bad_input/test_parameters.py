"""Parameters of a request that cannot be met."""

import re
import struct
from typing import Any, cast

import grpc
import httpx
import pytest

from tests.integration.bad_input.asking import (
    INFER,
    PATHS,
    all_protocols,
    body,
    infer_message,
    message_of,
    refused,
    rest_protocols,
    validation_status,
    with_parameters,
)

DIMENSIONS_FIELD = {"cohere": "output_dimension"}


@all_protocols
@pytest.mark.parametrize("value", [0, -1, 385, 2**62])
def test_dimensions_that_the_model_does_not_have(
    http: httpx.Client, stub: Any, protocol: str, value: int
) -> None:
    if protocol == "grpc":
        message_ = infer_message(b"a")
        message_.parameters["dimensions"].int64_param = value
        refusal = refused(stub, message_)
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
        message = refusal.message
    else:
        field = DIMENSIONS_FIELD.get(protocol, "dimensions")
        response = http.post(
            PATHS[protocol], json=with_parameters(protocol, ["a"], **{field: value})
        )
        assert response.status_code == validation_status(protocol)
        message = message_of(protocol, response)
    assert message == f"dimensions is {value}; this model gives 1 to 384"


@rest_protocols
@pytest.mark.parametrize("value", [True, "8", 1.5, [8], {}])
def test_dimensions_of_a_wrong_type(http: httpx.Client, protocol: str, value: Any) -> None:
    field = DIMENSIONS_FIELD.get(protocol, "dimensions")
    response = http.post(PATHS[protocol], json=with_parameters(protocol, ["a"], **{field: value}))
    assert response.status_code == validation_status(protocol)
    message = message_of(protocol, response)
    assert "Expected `int | null`" in message
    assert field in message


@pytest.mark.parametrize("kind", ["bool_param", "string_param"])
def test_dimensions_of_a_wrong_type_over_grpc(stub: Any, kind: str) -> None:
    message = infer_message(b"a")
    setattr(message.parameters["dimensions"], kind, True if kind == "bool_param" else "8")
    refusal = refused(stub, message)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.message.startswith("parameter 'dimensions' is a ")


@pytest.mark.parametrize("protocol", ["v1", "v2", "tei", "grpc"])
def test_an_unknown_prompt_name(http: httpx.Client, stub: Any, protocol: str) -> None:
    name = "p" * 100
    if protocol == "grpc":
        message_ = infer_message(b"a")
        message_.parameters["prompt_name"].string_param = name
        refusal = refused(stub, message_)
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
        message = refusal.message
    else:
        content = with_parameters(protocol, ["a"], prompt_name=name)
        response = http.post(PATHS[protocol], json=content)
        assert response.status_code == validation_status(protocol)
        message = message_of(protocol, response)
    assert message == f"prompt_name {name[:80]!r} is unknown; this model has no prompts"


def test_an_unknown_prompt_name_of_tokenize(http: httpx.Client) -> None:
    response = http.post("/tokenize", json={"inputs": "a", "prompt_name": "query"})
    assert response.status_code == 422
    assert "prompt_name 'query' is unknown" in message_of("tei", response)


@all_protocols
@pytest.mark.parametrize("value", ["urgent", "3", "-1", "1.0", "x" * 1000])
def test_an_unknown_priority_header(
    http: httpx.Client, stub: Any, protocol: str, value: str
) -> None:
    if protocol == "grpc":
        refusal = refused(stub, infer_message(b"a"), metadata=[("x-priority", value)])
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
        message = refusal.message
    else:
        headers = {"x-priority": value}
        response = http.post(PATHS[protocol], json=body(protocol, ["a"]), headers=headers)
        assert response.status_code == validation_status(protocol)
        message = message_of(protocol, response)
    assert message == (
        f"header X-Priority: priority {value[:40]!r} is unknown; use query (1) or ingest (2)"
    )


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"timeout": -1}, "timeout is negative"),
        ({"timeout_ms": -1}, "timeout is negative"),
        ({"timeout": 10**400}, "timeout"),
        ({"timeout_ms": 10**400}, "timeout_ms"),
        ({"timeout": "soon"}, "Expected `int | null`"),
        ({"priority": "urgent"}, "priority 'urgent' is unknown"),
        ({"priority": 9}, "priority '9' is unknown"),
        ({"priority": True}, "Expected `int | str | null`"),
        ({"normalize": 1}, "Expected `bool | null`"),
        ({"truncate": "no"}, "Invalid enum value 'no' (allowed: true, false, "),
        ({"binary_data_output": "yes"}, "Expected `bool | null`"),
    ],
    ids=range(11),
)
def test_other_parameters_of_v2(
    http: httpx.Client, parameters: dict[str, Any], sentence: str
) -> None:
    response = http.post(INFER, json=with_parameters("v2", ["a"], **parameters))
    assert response.status_code == 400
    assert sentence in message_of("v2", response)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_a_timeout_that_is_no_time_over_grpc(stub: Any, value: float) -> None:
    message = infer_message(b"a")
    # Field 4 is double_param in Triton's proto, which its clients send.
    message.parameters["timeout_ms"].MergeFromString(b"\x21" + struct.pack("<d", value))
    refusal = refused(stub, message)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "timeout" in refusal.message


TOO_LATE = re.compile(r"not computed within \d+\.\d+ s|the deadline passed")


def test_a_deadline_that_cannot_be_met(http: httpx.Client, stub: Any) -> None:
    response = http.post(INFER, json=with_parameters("v2", ["a"], timeout=1))
    assert response.status_code == 504
    assert TOO_LATE.match(message_of("v2", response))
    message = infer_message(b"a")
    message.parameters["timeout"].int64_param = 1
    refusal = refused(stub, message)
    assert refusal.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert TOO_LATE.match(refusal.message)


def test_a_deadline_of_the_grpc_call(stub: Any) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        stub.ModelInfer(infer_message(b"a"), timeout=1e-6)
    assert cast(grpc.Call, raised.value).code() is grpc.StatusCode.DEADLINE_EXCEEDED
