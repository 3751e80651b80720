"""Paths that clients of other servers use: base URLs without /v1, Azure, SageMaker, Ollama."""

from collections.abc import Iterator

import httpx
import numpy as np
import openai
import pytest

from tests.contract.helpers import MODEL, TEXTS, UNKNOWN, Reference, from_base64
from tests.serving import Server


@pytest.fixture(scope="module")
def azure(server: Server) -> Iterator[openai.AzureOpenAI]:
    with openai.AzureOpenAI(
        azure_endpoint=server.url, api_key="none", api_version="2024-10-21", max_retries=0
    ) as client:
        yield client


def test_openai_without_v1(server: Server, reference: Reference) -> None:
    with openai.OpenAI(base_url=server.url, api_key="none", max_retries=0) as client:
        answer = client.embeddings.create(model=MODEL, input=TEXTS)
        reference.check([item.embedding for item in answer.data], TEXTS)
        assert [model.id for model in client.models.list()] == [MODEL]
        assert client.models.retrieve(MODEL).id == MODEL
        with pytest.raises(openai.NotFoundError, match=UNKNOWN):
            client.embeddings.create(model=UNKNOWN, input="a")


def test_azure(azure: openai.AzureOpenAI, reference: Reference) -> None:
    answer = azure.embeddings.create(model=MODEL, input=TEXTS)
    reference.check([item.embedding for item in answer.data], TEXTS)
    with pytest.raises(openai.NotFoundError, match=UNKNOWN):
        azure.embeddings.create(model=UNKNOWN, input="a")


@pytest.mark.parametrize("model", [{}, {"model": "text-embedding-3-small"}])
def test_the_deployment_is_the_model(
    http: httpx.Client, reference: Reference, model: dict[str, str]
) -> None:
    response = http.post(
        f"/openai/deployments/{MODEL}/embeddings?api-version=2023-05-15",
        json={"input": TEXTS[0], "encoding_format": "base64"} | model,
    )
    reference.check([from_base64(response.json()["data"][0]["embedding"])], TEXTS[:1])
    assert response.json()["model"] == MODEL


def test_sagemaker(http: httpx.Client, reference: Reference) -> None:
    assert (http.get("/ping").status_code, http.get("/ping").content) == (200, b"")
    reference.check(http.post("/invocations", json={"inputs": TEXTS}).json(), TEXTS)
    error = http.post("/invocations", json={"inputs": ""})
    assert (error.status_code, error.json()["error_type"]) == (400, "Empty")


@pytest.mark.parametrize("name", [MODEL, f"{MODEL}:latest", f"{MODEL}:1"])
def test_ollama(http: httpx.Client, reference: Reference, name: str) -> None:
    answer = http.post("/api/embed", json={"model": name, "input": TEXTS}).json()
    assert set(answer) == {"model", "embeddings", "prompt_eval_count"}
    assert (answer["model"], answer["prompt_eval_count"]) == (name, reference.tokens_of(TEXTS))
    reference.check(answer["embeddings"], TEXTS)
    answer = http.post("/api/embeddings", json={"model": name, "prompt": TEXTS[0]}).json()
    reference.check([answer["embedding"]], TEXTS[:1])


def test_ollama_lists_the_models(http: httpx.Client) -> None:
    (model,) = http.get("/api/tags").json()["models"]
    assert model["name"] == model["model"] == f"{MODEL}:latest"
    assert np.datetime64(model["modified_at"].removesuffix("+00:00")) > np.datetime64("2025-01-01")
    assert model["size"] > 1_000_000
    assert len(bytes.fromhex(model["digest"])) == 32
    assert model["details"]["family"] == "bert"
    answer = http.post("/api/embed", json={"model": model["name"], "input": "a"})
    assert answer.status_code == 200


def test_ollama_errors(http: httpx.Client) -> None:
    unknown = http.post("/api/embed", json={"model": UNKNOWN, "input": "a"})
    assert (unknown.status_code, set(unknown.json())) == (404, {"error"})
    assert UNKNOWN in unknown.json()["error"]
    wrong = http.post("/api/embeddings", json={"model": MODEL})
    assert (wrong.status_code, "prompt" in wrong.json()["error"]) == (400, True)
