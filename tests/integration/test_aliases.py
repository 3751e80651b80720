"""Further names of a model: on every protocol, for keys and in lists; metrics have its own name."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from predictor.errors import BadSetting
from predictor.kserve_sdk import messages, services
from predictor.repository import Repository
from predictor.settings import ModelSettings, Settings
from tests.integration.test_plain_onnx import write_model
from tests.serving import Server

ALIASES = ["text-embedding-3-small", "org/m"]
HEADERS = {"Authorization": "Bearer secret-key"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("aliases")
    keys = folder / "keys.json"
    digest = hashlib.sha256(b"secret-key").hexdigest()
    keys.write_text(json.dumps({"keys": [{"name": "k", "sha256": digest, "models": ALIASES[:1]}]}))
    server = Server(
        f"--model-dir={write_model(folder / 'model')}",
        "--drain-delay-s=0",
        "--canonical-interval-s=0",
        f"--api-keys-file={keys}",
        "--served-model-name",
        "plain",
        *ALIASES,
    )
    try:
        yield server
    finally:
        assert server.stop() == 0


@pytest.mark.parametrize("name", ["plain", *ALIASES])
def test_every_protocol_knows_every_name(server: Server, name: str) -> None:
    quoted = name.replace("/", "%2F")
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"]}
    with httpx.Client(base_url=server.url, headers=HEADERS) as client:
        answers = [
            client.post("/v1/embeddings", json={"model": name, "input": "a"}),
            client.post("/v2/embed", json={"model": name, "texts": ["a"]}),
            client.post("/embed", json={"inputs": "a"}, headers={"X-Model": name}),
            client.post(f"/v2/models/{quoted}/infer", json={"inputs": [tensor]}),
            client.get(f"/v2/models/{quoted}/ready"),
        ]
    assert [answer.status_code for answer in answers] == [200] * len(answers)
    with grpc.insecure_channel(server.grpc) as channel:
        stub = services.GRPCInferenceServiceStub(channel)
        request = messages.ModelInferRequest(model_name=name)
        part = request.inputs.add(name="text", datatype="BYTES", shape=[1])
        part.contents.bytes_contents.append(b"a")
        metadata = (("authorization", "Bearer secret-key"),)
        assert stub.ModelInfer(request, metadata=metadata).model_name == "plain"


def test_lists_and_metrics(server: Server) -> None:
    listed = httpx.get(f"{server.url}/v1/models", headers=HEADERS).json()["data"]
    assert [model["id"] for model in listed] == ["plain", *ALIASES]
    metrics = httpx.get(f"{server.url}/metrics").text
    assert 'model="plain"' in metrics
    assert not any(alias in metrics for alias in ALIASES)


def test_an_alias_that_is_a_models_name_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    model = ModelSettings(
        model_dir=str(folder),
        cache_dir=str(tmp_path / "cache"),
        model_name="m",
        model_alias=("m",),
    )
    repository: Repository[Any] = Repository(Settings(model=model))
    with pytest.raises(BadSetting, match="--model-alias 'm' is the name of a model"):
        repository.preload()
