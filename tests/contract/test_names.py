"""A model with a slash in its name on every protocol, over IPv6 and over IPv4."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cohere
import grpc
import httpx
import numpy as np
import openai
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from tritonclient.http import InferenceServerClient, InferInput

from tests.contract.helpers import DIMENSIONS
from tests.deadlines import DEADLINE_S
from tests.serving import Server

NAME = "BAAI/bge-m3"
TENSOR = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["hello"]}
names = pytest.mark.parametrize("name", [NAME, NAME.replace("/", "%2F")])


@pytest.fixture(scope="module")
def served(bundle_dir: Path) -> Iterator[Server]:
    running = Server(
        f"--model-dir={bundle_dir}",
        f"--model_name={NAME}",
        f"--default-model={NAME}",
        "--host=::",
        "--null-engine",
        "--drain-delay-s=0",
    )
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def client(served: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, timeout=DEADLINE_S) as client:
        yield client


@names
@pytest.mark.parametrize("version", ["", "/versions/1"])
def test_v2(client: httpx.Client, name: str, version: str) -> None:
    path = f"/v2/models/{name}{version}"
    assert client.get(f"{path}/ready").json()["ready"] is True
    assert client.get(path).json()["name"] == NAME
    answer = client.post(f"{path}/infer", json={"inputs": [TENSOR]}).json()
    assert (answer["model_name"], answer["outputs"][0]["shape"]) == (NAME, [1, DIMENSIONS])


@names
def test_v1_and_azure(client: httpx.Client, name: str) -> None:
    v1 = client.post(f"/v1/models/{name}:predict", json={"instances": ["hello"]})
    assert len(v1.json()["predictions"][0]) == DIMENSIONS
    azure = client.post(f"/openai/deployments/{name}/embeddings", json={"input": "hello"})
    assert azure.json()["model"] == NAME


def infer(triton: Any, kind: Any) -> Any:
    tensor = kind("text", [1], "BYTES")
    tensor.set_data_from_numpy(np.array(["hello"], dtype=object))
    return triton.infer(NAME, [tensor]).as_numpy("embedding")


def test_tritonclient_over_http(served: Server) -> None:
    with InferenceServerClient(served.url.removeprefix("http://")) as triton:
        assert triton.is_model_ready(NAME)
        assert triton.is_model_ready(NAME, "1")
        assert triton.get_model_metadata(NAME)["name"] == NAME
        assert infer(triton, InferInput).shape == (1, DIMENSIONS)


def test_tritonclient_over_grpc(served: Server, tritonclient_grpc: Any) -> None:
    with tritonclient_grpc.InferenceServerClient(served.grpc) as triton:
        assert triton.is_model_ready(NAME)
        assert infer(triton, tritonclient_grpc.InferInput).shape == (1, DIMENSIONS)


def test_openai_and_cohere(served: Server) -> None:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as client:
        assert client.models.retrieve(NAME).id == NAME
        assert client.embeddings.create(model=NAME, input="hello").model == NAME
    with httpx.Client(timeout=DEADLINE_S) as http_client:
        answer = cohere.ClientV2(
            api_key="none", base_url=served.url, httpx_client=http_client
        ).embed(model=NAME, texts=["hello"], input_type="search_query", embedding_types=["float"])
    assert answer.embeddings.float_ is not None
    assert len(answer.embeddings.float_[0]) == DIMENSIONS


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_both_families_are_served_on_both_ports(served: Server, host: str) -> None:
    response = httpx.get(f"http://{host}:{served.http_port}/v2/health/ready", timeout=DEADLINE_S)
    assert response.status_code == 200
    with grpc.insecure_channel(f"{host}:{served.grpc_port}") as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check", StringValue.SerializeToString, None
        )
        assert check(StringValue(), timeout=DEADLINE_S) == b"\x08\x01"
