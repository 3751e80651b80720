"""Several models and versions at once: every protocol asks for one of them, and is told which.

Version 1 of minilm has a prompt of its own, so its vectors differ from version 2's, and whoever is
answered by the wrong one gets a wrong vector, not only a wrong name.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import cohere
import grpc
import httpx
import numpy as np
import openai
import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError
from tritonclient import http as triton_http
from tritonclient.utils import InferenceServerException

from tests.contract.helpers import TEXTS, UNKNOWN, Floats, Reference, from_base64
from tests.deadlines import DEADLINE_S
from tests.serving import Server

WHOLE = TEXTS[0]
LEAD, TAIL = WHOLE[:10], WHOLE[10:]

# What is asked for (model, version), and the version that answers.
SERVED = [
    ("minilm", "", "2"),
    ("minilm", "1", "1"),
    ("minilm", "2", "2"),
    ("other", "", "7"),
    ("other", "7", "7"),
]
each_served = pytest.mark.parametrize(
    ("model", "version", "answering"), SERVED, ids=["m", "m:1", "m:2", "other", "other:7"]
)
UNSERVED = [(UNKNOWN, ""), (UNKNOWN, "1"), ("minilm", "3"), ("minilm", "01"), ("other", "1")]
each_unserved = pytest.mark.parametrize(("model", "version"), UNSERVED, ids=map(":".join, UNSERVED))


def make_repository(bundle: Path, root: Path) -> Path:
    """minilm/1 (with a prompt, and thus another revision), minilm/2, other/7."""
    for version in ("minilm/1", "minilm/2", "other/7"):
        shutil.copytree(bundle, root / version, copy_function=os.link)
    manifest = root / "minilm/1/bundle.json"
    content = json.loads(manifest.read_bytes()) | {
        "prompts": {"lead": LEAD},
        "default_prompt_name": "lead",
        "source_digest": "1" * 64,
    }
    manifest.unlink()  # a hard link, as all files here
    manifest.write_text(json.dumps(content))
    return root


@pytest.fixture(scope="module")
def repository(bundle_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_repository(bundle_dir, tmp_path_factory.mktemp("versions"))


@pytest.fixture(scope="module")
def served(repository: Path) -> Iterator[Server]:
    """All versions, and no model for who names none."""
    flags = ("--version-policy=all", "--cache-mb=0", "--drain-delay-s=0")
    running = Server(f"--model-dir={repository}", *flags)
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def with_default(repository: Path) -> Iterator[Server]:
    """All versions, and a model for who names none; no engine, so names are all that counts."""
    running = Server(
        f"--model-dir={repository}",
        "--version-policy=all",
        "--default-model=other",
        "--model_name=minilm",
        "--null-engine",
        "--drain-delay-s=0",
    )
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def client(served: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, timeout=DEADLINE_S) as client:
        yield client


@pytest.fixture(scope="module")
def openai_client(served: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def cohere_client(served: Server) -> Iterator[Any]:
    with httpx.Client(timeout=DEADLINE_S) as http_client:
        yield cohere.ClientV2(api_key="none", base_url=served.url, httpx_client=http_client)


@pytest.fixture(scope="module")
def over_http(served: Server) -> Iterator[triton_http.InferenceServerClient]:
    with triton_http.InferenceServerClient(served.url.removeprefix("http://")) as client:
        yield client


@pytest.fixture(scope="module")
def over_grpc(served: Server, tritonclient_grpc: Any) -> Iterator[Any]:
    with tritonclient_grpc.InferenceServerClient(served.grpc) as client:
        yield client


@pytest.fixture(scope="module")
def stub(served: Server, tritonclient_grpc: Any) -> Iterator[Any]:
    with grpc.insecure_channel(served.grpc) as channel:
        yield tritonclient_grpc.service_pb2_grpc.GRPCInferenceServiceStub(channel)


@pytest.fixture(scope="module")
def revisions(client: httpx.Client) -> dict[str, str]:
    """The revision of each version, by TEI's /info."""
    names = {"1": "minilm:1", "2": "minilm:2", "7": "other"}
    return {
        version: client.get("/info", headers={"x-model": name}).json()["model_sha"]
        for version, name in names.items()
    }


def name_of(model: str, version: str) -> str:
    """As protocols without a place for the version name it."""
    return f"{model}:{version}" if version else model


def text_for(answering: str) -> str:
    """What to send, for the vector of WHOLE to come back."""
    return TAIL if answering == "1" else WHOLE


def tensor_of(text: str) -> dict[str, Any]:
    return {"name": "text", "shape": [1], "datatype": "BYTES", "data": [text]}


def triton_input(module: Any, text: str) -> list[Any]:
    tensor = module.InferInput("text", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([text], dtype=object))
    return [tensor]


def test_versions_differ(client: httpx.Client, revisions: dict[str, str]) -> None:
    assert revisions["1"] != revisions["2"] == revisions["7"]
    first, second = (
        _v2(client, "minilm", version, TAIL).json()["outputs"][0]["data"] for version in "12"
    )
    assert np.dot(first, second) < 0.99


# Plain HTTP: vectors, and who gave them, in the header and in the body


def _v2(client: httpx.Client, model: str, version: str, text: str) -> httpx.Response:
    path = f"/v2/models/{model}/versions/{version}" if version else f"/v2/models/{model}"
    return client.post(f"{path}/infer", json={"inputs": [tensor_of(text)]})


def _v2_by_name(client: httpx.Client, model: str, version: str, text: str) -> httpx.Response:
    path = f"/v2/models/{name_of(model, version)}/infer"
    return client.post(path, json={"inputs": [tensor_of(text)]})


def _v1(client: httpx.Client, model: str, version: str, text: str) -> httpx.Response:
    path = f"/v1/models/{name_of(model, version)}:predict"
    return client.post(path, json={"instances": [text]})


def _openai(client: httpx.Client, model: str, version: str, text: str) -> httpx.Response:
    body = {"model": name_of(model, version), "input": [text]}
    return client.post("/v1/embeddings", json=body)


def _cohere(client: httpx.Client, model: str, version: str, text: str) -> httpx.Response:
    body = {"model": name_of(model, version), "texts": [text]}
    return client.post("/v2/embed", json=body)


def _tei(client: httpx.Client, model: str, version: str, text: str) -> httpx.Response:
    headers = {"X-Model": name_of(model, version)}
    return client.post("/embed", json={"inputs": [text]}, headers=headers)


class Way(NamedTuple):
    """post: asks one model for one text; vectors, version: what the answer's body says."""

    post: Callable[[httpx.Client, str, str, str], httpx.Response]
    vectors: Callable[[Any], Any]
    version: Callable[[Any], str | None]


def _v2_vectors(body: Any) -> Any:
    (output,) = body["outputs"]
    return np.reshape(output["data"], output["shape"])


def _model_version(body: Any) -> str:
    return str(body["model_version"])


WAYS = {
    "v2": Way(_v2, _v2_vectors, _model_version),
    "v2 by name": Way(_v2_by_name, _v2_vectors, _model_version),
    "v1": Way(_v1, lambda body: body["predictions"], _model_version),
    "openai": Way(
        _openai, lambda body: [item["embedding"] for item in body["data"]], _model_version
    ),
    "cohere": Way(
        _cohere,
        lambda body: body["embeddings"]["float"],
        lambda body: str(body["meta"]["model_version"]),
    ),
    "tei": Way(_tei, lambda body: body, lambda body: None),
}
ways = pytest.mark.parametrize("way", WAYS)


@each_served
@ways
def test_http(
    client: httpx.Client,
    reference: Reference,
    revisions: dict[str, str],
    way: str,
    model: str,
    version: str,
    answering: str,
) -> None:
    response = WAYS[way].post(client, model, version, text_for(answering))
    assert response.status_code == 200, response.text
    reference.check(WAYS[way].vectors(response.json()), [WHOLE])
    assert WAYS[way].version(response.json()) == (None if way == "tei" else answering)
    assert response.headers["x-model-version"] == answering
    assert response.headers["x-model-revision"] == revisions[answering]


def assert_error(way: str, response: httpx.Response) -> str:
    """Check the shape of the protocol's own error; the message."""
    body = response.json()
    if way == "openai":
        assert set(body["error"]) == {"message", "type", "param", "code"}
        assert (body["error"]["type"], body["error"]["code"]) == (
            "invalid_request_error",
            "model_not_found",
        )
        return str(body["error"]["message"])
    if way == "cohere":
        assert set(body) == {"message", "id"}
        return str(body["message"])
    assert set(body) == ({"error", "error_type"} if way == "tei" else {"error"})
    return str(body["error"])


@each_unserved
@ways
def test_http_of_what_is_not_served(
    client: httpx.Client, way: str, model: str, version: str
) -> None:
    response = WAYS[way].post(client, model, version, WHOLE)
    assert response.status_code == 404
    message = assert_error(way, response)
    assert (UNKNOWN if model == UNKNOWN else repr(version)) in message
    # What there is instead: the models, or the versions of this one.
    assert {UNKNOWN: "minilm, other", "minilm": "1, 2", "other": "7"}[model] in message
    assert "x-model-version" not in response.headers


@pytest.mark.parametrize("action", ["infer", "ready", ""])
def test_empty_version_in_a_path_is_not_the_default(client: httpx.Client, action: str) -> None:
    path = f"/v2/models/minilm/versions//{action}" if action else "/v2/models/minilm/versions/"
    body = {"inputs": [tensor_of(WHOLE)]}
    response = client.post(path, json=body) if action == "infer" else client.get(path)
    assert response.status_code == 404


# The official clients


@each_served
def test_openai_client(
    openai_client: openai.OpenAI, reference: Reference, model: str, version: str, answering: str
) -> None:
    raw = openai_client.embeddings.with_raw_response.create(
        model=name_of(model, version), input=[text_for(answering)]
    )
    (item,) = raw.http_response.json()["data"]
    reference.check([from_base64(item["embedding"])], [WHOLE])
    answer: Any = raw.parse()
    assert (answer.model, answer.model_version) == (model, answering)
    assert raw.headers["x-model-version"] == answering


@each_unserved
def test_openai_client_and_what_is_not_served(
    openai_client: openai.OpenAI, model: str, version: str
) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        openai_client.embeddings.create(model=name_of(model, version), input="a")
    assert caught.value.code == "model_not_found"


@each_served
def test_cohere_client(
    cohere_client: Any, reference: Reference, model: str, version: str, answering: str
) -> None:
    answer = cohere_client.embed(
        model=name_of(model, version), texts=[text_for(answering)], input_type="search_document"
    )
    reference.check(answer.embeddings.float_, [WHOLE])
    assert answer.meta.model_version == answering


@each_unserved
def test_cohere_client_and_what_is_not_served(cohere_client: Any, model: str, version: str) -> None:
    with pytest.raises(cohere.NotFoundError) as caught:
        cohere_client.embed(model=name_of(model, version), texts=["a"], input_type="search_query")
    assert "served" in caught.value.body["message"]


@each_served
def test_hugging_face_client(
    served: Server, reference: Reference, model: str, version: str, answering: str
) -> None:
    headers = {"X-Model": name_of(model, version)}
    with InferenceClient(model=served.url, headers=headers) as hugging_face:
        reference.check(hugging_face.feature_extraction(text_for(answering)), [WHOLE])


@each_served
def test_tritonclient_over_http(
    over_http: triton_http.InferenceServerClient,
    reference: Reference,
    model: str,
    version: str,
    answering: str,
) -> None:
    tensor = triton_input(triton_http, text_for(answering))
    result = over_http.infer(model, tensor, model_version=version)
    reference.check(result.as_numpy("embedding"), [WHOLE])
    answer = result.get_response()
    assert (answer["model_name"], answer["model_version"]) == (model, answering)


@each_served
def test_tritonclient_over_grpc(
    over_grpc: Any,
    tritonclient_grpc: Any,
    reference: Reference,
    model: str,
    version: str,
    answering: str,
) -> None:
    tensor = triton_input(tritonclient_grpc, text_for(answering))
    result = over_grpc.infer(model, tensor, model_version=version)
    reference.check(result.as_numpy("embedding"), [WHOLE])
    answer = result.get_response()
    assert (answer.model_name, answer.model_version) == (model, answering)


@each_unserved
def test_tritonclients_and_what_is_not_served(
    over_http: triton_http.InferenceServerClient,
    over_grpc: Any,
    tritonclient_grpc: Any,
    model: str,
    version: str,
) -> None:
    with pytest.raises(InferenceServerException) as caught:
        over_http.infer(model, triton_input(triton_http, "a"), model_version=version)
    assert caught.value.status() == "404"
    with pytest.raises(InferenceServerException) as caught:
        over_grpc.infer(model, triton_input(tritonclient_grpc, "a"), model_version=version)
    assert caught.value.status() == "StatusCode.NOT_FOUND"


@pytest.mark.parametrize("by_name", [False, True], ids=["version field", "name:version"])
@each_served
def test_grpc_trailing_metadata(
    stub: Any,
    tritonclient_grpc: Any,
    revisions: dict[str, str],
    by_name: bool,
    model: str,
    version: str,
    answering: str,
) -> None:
    types = tritonclient_grpc.service_pb2
    request = types.ModelInferRequest(
        model_name=name_of(model, version) if by_name else model,
        model_version="" if by_name else version,
    )
    tensor = request.inputs.add(name="text", datatype="BYTES", shape=[1])
    tensor.contents.bytes_contents.append(text_for(answering).encode())
    response, call = stub.ModelInfer.with_call(request)
    trailing = dict(call.trailing_metadata())
    assert response.model_version == trailing["x-model-version"] == answering
    assert trailing["x-model-revision"] == revisions[answering]


def kserve_request(kserve: ModuleType, model: str, text: str, version: str = "") -> Any:
    tensor = kserve.InferInput("text", [1], "BYTES", data=[text])
    return kserve.InferRequest(
        model_name=model, infer_inputs=[tensor], model_version=version or None
    )


# KServe's REST client asks no path with a version, so `name:version` is all it can give.


@each_served
async def test_kserve_rest_clients(
    kserve: ModuleType,
    served: Server,
    reference: Reference,
    model: str,
    version: str,
    answering: str,
) -> None:
    name, text = name_of(model, version), text_for(answering)
    headers: dict[str, str] = {}
    async with kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v2")) as v2:
        response = await v2.infer(
            served.url,
            kserve_request(kserve, name, text),
            model_name=name,
            response_headers=headers,
        )
        assert await v2.is_model_ready(served.url, name) is True
    reference.check(response.outputs[0].as_numpy(), [WHOLE])
    assert response.model_name == model  # the client does not read the version
    assert headers["x-model-version"] == answering
    async with kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v1")) as v1:
        answer = await v1.infer(served.url, {"instances": [text]}, model_name=name)
        assert await v1.is_model_ready(served.url, name) is True
    reference.check(answer["predictions"], [WHOLE])
    assert answer["model_version"] == answering


@each_served
async def test_kserve_grpc_client(
    kserve: ModuleType,
    served: Server,
    reference: Reference,
    model: str,
    version: str,
    answering: str,
) -> None:
    name, text = name_of(model, version), text_for(answering)
    async with kserve.InferenceGRPCClient(served.grpc) as client:
        assert await client.is_model_ready(name) is True
        for request in (
            kserve_request(kserve, model, text, version),
            kserve_request(kserve, name, text),
        ):
            response = await client.infer(request)
            reference.check(response.outputs[0].as_numpy(), [WHOLE])
            assert (response.model_name, response.model_version) == (model, answering)


async def test_kserve_grpc_client_and_what_is_not_served(
    kserve: ModuleType, served: Server
) -> None:
    async with kserve.InferenceGRPCClient(served.grpc) as client:
        with pytest.raises(grpc.RpcError, match="'3'") as caught:
            await client.infer(kserve_request(kserve, "minilm", "a", "3"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


# Who names no model


TEI_POSTS: dict[str, dict[str, Any]] = {
    "/embed": {"inputs": "a"},
    "/": {"inputs": "a"},
    "/tokenize": {"inputs": "a"},
    "/decode": {"ids": [7592]},
}


@pytest.mark.parametrize("path", [*TEI_POSTS, "/info"])
def test_without_a_default_the_answer_says_how_to_name_one(client: httpx.Client, path: str) -> None:
    body = TEI_POSTS.get(path)
    response = client.post(path, json=body) if body else client.get(path)
    assert response.status_code == 404
    message = assert_error("tei", response)
    assert all(word in message for word in ("minilm, other", "X-Model", "--default-model"))


def test_hugging_face_client_without_a_default(served: Server) -> None:
    with InferenceClient(model=served.url) as client, pytest.raises(HfHubHTTPError) as caught:
        client.feature_extraction("a")
    assert caught.value.response.status_code == 404


@pytest.mark.parametrize("path", TEI_POSTS)
def test_named_model_answers_every_route_of_tei(client: httpx.Client, path: str) -> None:
    headers = {"x-model": "minilm:1"}
    assert client.post(path, json=TEI_POSTS[path], headers=headers).status_code == 200
    missing = client.post(path, json=TEI_POSTS[path], headers={"x-model": "minilm:3"})
    assert missing.status_code == 404


def identity(response: httpx.Response) -> str:
    return response.headers["x-model-version"]


def test_default_model(with_default: Server) -> None:
    with httpx.Client(base_url=with_default.url, timeout=DEADLINE_S) as client:
        assert identity(client.post("/embed", json={"inputs": "a"})) == "7"
        assert client.get("/info").json()["model_id"] == "other"
        assert client.post("/tokenize", json={"inputs": "a"}).status_code == 200
        named = client.post("/embed", json={"inputs": "a"}, headers={"X-Model": "minilm:1"})
        assert identity(named) == "1"
    with InferenceClient(model=with_default.url) as hugging_face:
        assert hugging_face.feature_extraction("a").shape == (1, 384)


def test_default_model_is_for_those_who_name_none(with_default: Server) -> None:
    with httpx.Client(base_url=with_default.url, timeout=DEADLINE_S) as client:
        unknown = client.post("/embed", json={"inputs": "a"}, headers={"X-Model": UNKNOWN})
        assert unknown.status_code == 404
        assert _openai(client, UNKNOWN, "", "a").status_code == 404
        assert identity(_openai(client, "minilm", "", "a")) == "2"


# What is served


def test_list_of_models(openai_client: openai.OpenAI, client: httpx.Client) -> None:
    ids = [model.id for model in openai_client.models.list().data]
    assert ids == ["minilm", "minilm:1", "minilm:2", "other"]
    assert client.get("/v1/models").json()["models"] == ["minilm", "other"]
    assert client.get("/v2/models").json() == {"models": ["minilm", "other"]}


@pytest.mark.parametrize("prefix", ["/v1", "/openai/v1"])
def test_each_listed_model_can_be_retrieved(served: Server, prefix: str) -> None:
    with openai.OpenAI(base_url=served.url + prefix, api_key="none", max_retries=0) as client:
        for listed in client.models.list().data:
            assert client.models.retrieve(listed.id).id == listed.id


@each_unserved
def test_retrieving_what_is_not_served(
    openai_client: openai.OpenAI, model: str, version: str
) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        openai_client.models.retrieve(name_of(model, version))
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("model", "version", "versions"),
    [
        ("minilm", "", ["1", "2"]),
        ("minilm", "1", ["1"]),
        ("minilm", "2", ["2"]),
        ("other", "", ["7"]),
    ],
)
def test_metadata_lists_versions(
    client: httpx.Client,
    over_http: triton_http.InferenceServerClient,
    over_grpc: Any,
    model: str,
    version: str,
    versions: Sequence[str],
) -> None:
    path = f"/v2/models/{model}/versions/{version}" if version else f"/v2/models/{model}"
    answers: list[Mapping[str, Any]] = [
        client.get(path).json(),
        over_http.get_model_metadata(model, version),
        over_grpc.get_model_metadata(model, version, as_json=True),
    ]
    for answer in answers:
        assert (answer["name"], answer["versions"]) == (model, versions)


@each_served
def test_readiness(
    client: httpx.Client,
    over_http: triton_http.InferenceServerClient,
    over_grpc: Any,
    model: str,
    version: str,
    answering: str,
) -> None:
    path = (
        f"/v2/models/{model}/versions/{version}/ready" if version else f"/v2/models/{model}/ready"
    )
    answer = client.get(path).json()
    assert answer == {"name": model, "version": answering, "ready": True, "unavailable": []}
    assert over_http.is_model_ready(model, version)
    assert over_grpc.is_model_ready(model, version)


@each_unserved
def test_readiness_and_metadata_of_what_is_not_served(
    client: httpx.Client,
    over_http: triton_http.InferenceServerClient,
    over_grpc: Any,
    model: str,
    version: str,
) -> None:
    path = f"/v2/models/{model}/versions/{version}" if version else f"/v2/models/{model}"
    for route in (path, f"{path}/ready"):
        response = client.get(route)
        assert response.status_code == 404
        assert set(response.json()) == {"error"}
    assert not over_http.is_model_ready(model, version)
    assert not over_grpc.is_model_ready(model, version)
    with pytest.raises(InferenceServerException) as caught:
        over_grpc.get_model_metadata(model, version)
    assert caught.value.status() == "StatusCode.NOT_FOUND"


def test_vectors_of_two_versions_at_once(client: httpx.Client, reference: Reference) -> None:
    """Rows of two versions asked for in turn do not get into each other's batches."""
    rows: list[Floats] = []
    for _ in range(5):
        for version in "12":
            rows.append(_v2_vectors(_v2(client, "minilm", version, text_for(version)).json())[0])
    reference.check(rows, [WHOLE] * len(rows))
