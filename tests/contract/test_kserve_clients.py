"""KServe's own inference clients, REST (V1 and V2) and gRPC, as its transformers use them."""

from collections.abc import AsyncIterator, Sequence
from types import ModuleType
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from tests.contract.helpers import LONG, MODEL, TEXTS, UNKNOWN, Reference, cosines
from tests.serving import Server


@pytest.fixture
async def v1(kserve: ModuleType) -> AsyncIterator[Any]:
    async with kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v1")) as client:
        yield client


@pytest.fixture
async def v2(kserve: ModuleType) -> AsyncIterator[Any]:
    async with kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v2")) as client:
        yield client


@pytest.fixture
async def grpc_client(kserve: ModuleType, server: Server) -> AsyncIterator[Any]:
    async with kserve.InferenceGRPCClient(server.grpc) as client:
        yield client


def infer_request(
    kserve: ModuleType,
    texts: Sequence[str],
    *,
    model: str = MODEL,
    binary: bool = False,
    parameters: dict[str, Any] | None = None,
    binary_output: bool | None = None,
) -> Any:
    tensor = kserve.InferInput("text", [len(texts)], "BYTES", data=list(texts))
    if binary:
        tensor.set_data_from_numpy(np.array(texts, dtype=object), binary_data=True)
    outputs = None
    if binary_output is not None:
        from kserve.protocol.infer_type import RequestedOutput

        outputs = [RequestedOutput("embedding", {"binary_data": binary_output})]
    return kserve.InferRequest(
        model_name=model, infer_inputs=[tensor], parameters=parameters, request_outputs=outputs
    )


def vectors_of(response: Any) -> Any:
    (output,) = response.outputs
    assert output.name == "embedding"
    return output.as_numpy()


# V1


async def test_v1_predict(v1: Any, server: Server, reference: Reference) -> None:
    answer = await v1.infer(server.url, {"instances": TEXTS}, model_name=MODEL)
    reference.check(answer["predictions"], TEXTS)


async def test_v1_is_server_live(v1: Any, server: Server) -> None:
    assert await v1.is_server_live(server.url) is True


async def test_v1_is_model_ready(v1: Any, server: Server) -> None:
    assert await v1.is_model_ready(server.url, MODEL) is True


async def test_v1_unknown_model(v1: Any, server: Server) -> None:
    with pytest.raises(httpx.HTTPStatusError, match=UNKNOWN) as caught:
        await v1.infer(server.url, {"instances": ["a"]}, model_name=UNKNOWN)
    assert caught.value.response.status_code == 404


async def test_v1_readiness_of_unknown_model(v1: Any, server: Server) -> None:
    with pytest.raises(httpx.HTTPStatusError) as caught:
        await v1.is_model_ready(server.url, UNKNOWN)
    assert caught.value.response.status_code == 404


# V2 over REST


async def test_v2_server_is_live_and_ready(v2: Any, server: Server) -> None:
    assert await v2.is_server_live(server.url) is True
    assert await v2.is_server_ready(server.url) is True


async def test_v2_is_model_ready(v2: Any, server: Server) -> None:
    assert await v2.is_model_ready(server.url, MODEL) is True
    assert await v2.is_model_ready(server.url, UNKNOWN) is False


@pytest.mark.parametrize("binary_output", [None, False, True], ids=["default", "JSON", "binary"])
@pytest.mark.parametrize("binary", [False, True], ids=["in JSON", "in binary"])
async def test_v2_infer(
    v2: Any,
    kserve: ModuleType,
    server: Server,
    reference: Reference,
    binary: bool,
    binary_output: bool | None,
) -> None:
    request = infer_request(kserve, TEXTS, binary=binary, binary_output=binary_output)
    response = await v2.infer(server.url, request, model_name=MODEL)
    assert response.model_name == MODEL
    reference.check(vectors_of(response), TEXTS)


async def test_v2_parameters(
    v2: Any, kserve: ModuleType, server: Server, reference: Reference
) -> None:
    request = infer_request(kserve, TEXTS, parameters={"dimensions": 64})
    vectors = vectors_of(await v2.infer(server.url, request, model_name=MODEL))
    assert cosines(vectors, reference.vectors_of(TEXTS)[:, :64]).min() > 0.99999


async def test_v2_truncation_is_reported(v2: Any, kserve: ModuleType, server: Server) -> None:
    headers: dict[str, str] = {}
    response = await v2.infer(
        server.url,
        infer_request(kserve, ["a", LONG]),
        model_name=MODEL,
        response_headers=headers,
    )
    assert headers["x-truncated-inputs"] == "1"
    assert response.outputs[0].parameters["truncated_inputs"] == "1"


async def test_v2_unknown_model(v2: Any, kserve: ModuleType, server: Server) -> None:
    with pytest.raises(httpx.HTTPStatusError, match=UNKNOWN) as caught:
        await v2.infer(server.url, infer_request(kserve, ["a"]), model_name=UNKNOWN)
    assert caught.value.response.status_code == 404


# V2 over gRPC


async def test_grpc_server_is_live_and_ready(grpc_client: Any) -> None:
    assert await grpc_client.is_server_live() is True
    assert await grpc_client.is_server_ready() is True


async def test_grpc_is_model_ready(grpc_client: Any) -> None:
    assert await grpc_client.is_model_ready(MODEL) is True


async def test_grpc_readiness_of_unknown_model(grpc_client: Any) -> None:
    assert await grpc_client.is_model_ready(UNKNOWN) is False


@pytest.mark.parametrize("binary", [False, True], ids=["typed contents", "raw contents"])
async def test_grpc_infer(
    grpc_client: Any, kserve: ModuleType, reference: Reference, binary: bool
) -> None:
    response = await grpc_client.infer(infer_request(kserve, TEXTS, binary=binary))
    assert (response.model_name, response.model_version) == (MODEL, "1")
    reference.check(vectors_of(response), TEXTS)


async def test_grpc_parameters(grpc_client: Any, kserve: ModuleType, reference: Reference) -> None:
    request = infer_request(kserve, TEXTS, parameters={"dimensions": 64, "normalize": True})
    vectors = vectors_of(await grpc_client.infer(request))
    assert cosines(vectors, reference.vectors_of(TEXTS)[:, :64]).min() > 0.99999


async def test_grpc_unknown_model(grpc_client: Any, kserve: ModuleType) -> None:
    with pytest.raises(grpc.RpcError, match=UNKNOWN) as caught:
        await grpc_client.infer(infer_request(kserve, ["a"], model=UNKNOWN))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
