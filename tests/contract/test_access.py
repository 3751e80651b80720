"""API keys and limits, as the official clients see them: accepted, refused, and told to wait."""

import contextlib
import http.client
import json
import math
import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import cohere
import grpc
import httpx
import numpy as np
import openai
import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError
from langchain_openai import OpenAIEmbeddings
from tritonclient.http import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException

from tests.contract.helpers import counted, soon
from tests.deadlines import DEADLINE_S
from tests.serving import Server
from tests.unit.access.files import Mount, entry, listing

# Keys by name. Those with limits belong to one test each: what is used up stays so for a minute.
SEARCH, OTHER, EXPIRED = "sk-search-0123456789", "sk-other-0123456789", "sk-expired-0123456789"
LIMITED = {
    name: f"sk-{name.replace(' ', '-')}-0123456789"
    for name in (
        *(f"requests {way}" for way in ("v1", "v2", "openai", "tei", "cohere", "ollama", "kept")),
        *(f"client {way}" for way in ("openai", "cohere", "triton", "grpc")),
        "tokens", "tokens grpc", "fraction", "both",
    )
}  # fmt: skip
UNKNOWN_KEY = "sk-nobody-knows-this-one-0123456789"
REPLACED, ADDED = "sk-replaced-0123456789", "sk-added-0123456789"
REQUESTS = 2
TOKENS = 60


def entries() -> list[dict[str, Any]]:
    keys = [
        entry("search", SEARCH, models=["minilm"]),
        entry("other", OTHER, models=["other"]),
        entry("expired", EXPIRED, expires="2020-01-01T00:00:00Z"),
        entry("both", LIMITED["both"], requests_per_minute=600, tokens_per_minute=6000),
        entry("fraction", LIMITED["fraction"], tokens_per_minute=250),
    ]
    for name, key in LIMITED.items():
        if name.startswith("tokens"):
            keys.append(entry(name.replace(" ", "-"), key, tokens_per_minute=TOKENS))
        elif name.startswith(("requests", "client")):
            keys.append(entry(name.replace(" ", "-"), key, requests_per_minute=REQUESTS))
    return keys


@pytest.fixture(scope="module")
def mount(tmp_path_factory: pytest.TempPathFactory) -> Mount:
    """The file of keys as Kubernetes mounts a Secret."""
    folder = tmp_path_factory.mktemp("keys") / "mount"
    return Mount(folder, "keys.json", listing(*entries(), entry("replaced", REPLACED)))


@pytest.fixture(scope="module")
def guarded(
    bundle_dir: Path, tmp_path_factory: pytest.TempPathFactory, mount: Mount
) -> Iterator[Server]:
    """Needs keys, logs all it can, and has no engine: what counts here is who gets an answer."""
    root = tmp_path_factory.mktemp("access")
    for version in ("minilm/1", "minilm/2", "other/7"):
        shutil.copytree(bundle_dir, root / version, copy_function=os.link)
    running = Server(
        f"--model-dir={root}",
        f"--api-keys-file={mount.path}",
        "--model_name=minilm",
        "--version-policy=all",
        "--null-engine",
        "--drain-delay-s=0",
        "--access-log",
        "--log-level=debug",
    )
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def client(guarded: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=guarded.url, timeout=DEADLINE_S) as client:
        yield client


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


_TENSOR = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["hello"]}
# A request of three tokens in each protocol.
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "v1": ("/v1/models/minilm:predict", {"instances": ["hello"]}),
    "v2": ("/v2/models/minilm/infer", {"inputs": [_TENSOR]}),
    "openai": ("/v1/embeddings", {"model": "minilm", "input": "hello"}),
    "tei": ("/embed", {"inputs": "hello"}),
    "cohere": ("/v2/embed", {"model": "minilm", "texts": ["hello"]}),
    "ollama": ("/api/embed", {"model": "minilm", "input": "hello"}),
}
TOOLS: dict[str, tuple[str, dict[str, Any]]] = {
    "tokenize": ("/tokenize", {"inputs": "hello"}),
    "decode": ("/decode", {"ids": [101, 7592, 102]}),
}
ways = pytest.mark.parametrize("way", WAYS)
SHAPES = {
    "v1": {"error"},
    "v2": {"error"},
    "openai": {"error"},
    "tei": {"error", "error_type"},
    "cohere": {"message", "id"},
    "ollama": {"error"},
}


def post(client: httpx.Client, way: str, headers: Mapping[str, str]) -> httpx.Response:
    path, body = (WAYS | TOOLS)[way]
    return client.post(path, json=body, headers=headers)


def message_of(way: str, response: httpx.Response) -> str:
    """The text of an error in the protocol's own shape."""
    body = response.json()
    assert set(body) == SHAPES[way]
    if way == "openai":
        assert set(body["error"]) == {"message", "type", "param", "code"}
        return str(body["error"]["message"])
    return str(body["message"] if way == "cohere" else body["error"])


def rejected(client: httpx.Client, reason: str) -> float:
    """Requests that were refused for that reason so far."""
    try:
        return counted(client, "predictor_rejected_total", reason=reason)
    except LookupError:
        return 0.0


# 401

WRONG = {
    "no key": {},
    "unknown": bearer(UNKNOWN_KEY),
    "expired": bearer(EXPIRED),
    "empty": {"authorization": "Bearer"},
    "Basic": {"authorization": f"Basic {SEARCH}"},
    "no scheme": {"authorization": SEARCH},
    "shorter": bearer(SEARCH[:-1]),
    "digest": bearer(entry("search", SEARCH)["sha256"]),
    "unknown in x-api-key": {"x-api-key": UNKNOWN_KEY},
    "unknown in api-key": {"api-key": UNKNOWN_KEY},
    "not UTF-8": {"authorization": "Bearer \xff\xfe"},
}


@pytest.mark.parametrize("headers", WRONG.values(), ids=WRONG)
@ways
def test_without_a_good_key(client: httpx.Client, way: str, headers: dict[str, str]) -> None:
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    path, body = WAYS[way]
    before = rejected(client, "unauthorized")
    response = client.post(path, json=body, headers=encoded)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.headers["x-request-id"]
    assert "API key" in message_of(way, response)
    assert rejected(client, "unauthorized") == before + 1


@pytest.mark.parametrize(
    "headers",
    [bearer(SEARCH), {"x-api-key": SEARCH}, {"api-key": SEARCH}],
    ids=["Bearer", "x", "Azure"],
)
@ways
def test_with_a_good_key(client: httpx.Client, way: str, headers: dict[str, str]) -> None:
    assert post(client, way, headers).status_code == 200


def test_x_api_key_counts_where_a_gateway_has_the_other(client: httpx.Client) -> None:
    gateway = bearer("a-token-of-the-mesh")
    assert post(client, "openai", gateway | {"x-api-key": SEARCH}).status_code == 200
    assert post(client, "openai", bearer(SEARCH) | {"x-api-key": UNKNOWN_KEY}).status_code == 401


def test_azure_openai(guarded: Server) -> None:
    def client(key: str) -> openai.AzureOpenAI:
        return openai.AzureOpenAI(
            azure_endpoint=guarded.url, api_key=key, api_version="2024-10-21", max_retries=0
        )

    with client(SEARCH) as azure:
        assert len(azure.embeddings.create(model="minilm", input="hello").data) == 1
    with client(UNKNOWN_KEY) as azure, pytest.raises(openai.AuthenticationError, match="API key"):
        azure.embeddings.create(model="minilm", input="hello")
    with client(OTHER) as azure, pytest.raises(openai.PermissionDeniedError, match="minilm"):
        azure.embeddings.create(model="minilm", input="hello")


def test_an_expired_key_is_named_as_expired(client: httpx.Client) -> None:
    response = post(client, "openai", bearer(EXPIRED))
    assert "expired" in response.json()["error"]["message"]


@contextlib.contextmanager
def openai_client(server: Server, key: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0) as client:
        yield client


@pytest.mark.parametrize("key", [UNKNOWN_KEY, EXPIRED], ids=["unknown", "expired"])
def test_openai_client_without_a_good_key(guarded: Server, key: str) -> None:
    with openai_client(guarded, key) as client:
        with pytest.raises(openai.AuthenticationError) as caught:
            client.embeddings.create(model="minilm", input="hello")
        assert (caught.value.type, caught.value.code) == ("invalid_request_error", "unauthorized")


def test_openai_client(guarded: Server) -> None:
    with openai_client(guarded, SEARCH) as client:
        answer = client.embeddings.create(model="minilm:1", input="hello")
        assert len(answer.data[0].embedding) == 384
        assert client.models.list().data


def test_langchain(guarded: Server) -> None:
    with httpx.Client(timeout=DEADLINE_S) as http_client:
        for key, good in ((SEARCH, True), (UNKNOWN_KEY, False)):
            embeddings = OpenAIEmbeddings(
                model="minilm",
                base_url=f"{guarded.url}/v1",
                api_key=lambda key=key: key,
                check_embedding_ctx_length=False,
                http_client=http_client,
            )
            outcome = (
                contextlib.nullcontext() if good else pytest.raises(openai.AuthenticationError)
            )
            with outcome:
                assert len(embeddings.embed_query("hello")) == 384


@contextlib.contextmanager
def cohere_client(server: Server, key: str) -> Iterator[Any]:
    with httpx.Client(timeout=DEADLINE_S) as http_client:
        yield cohere.ClientV2(api_key=key, base_url=server.url, httpx_client=http_client)


def cohere_embed(client: Any) -> Any:
    return client.embed(model="minilm", texts=["hello"], input_type="search_query")


def test_cohere_client(guarded: Server) -> None:
    with cohere_client(guarded, SEARCH) as client:
        assert len(cohere_embed(client).embeddings.float_[0]) == 384
    with cohere_client(guarded, UNKNOWN_KEY) as client:
        with pytest.raises(cohere.UnauthorizedError) as caught:
            cohere_embed(client)
        assert "API key" in caught.value.body["message"]
    with cohere_client(guarded, OTHER) as client, pytest.raises(cohere.ForbiddenError):
        cohere_embed(client)


def test_hugging_face_client(guarded: Server) -> None:
    with InferenceClient(model=guarded.url, token=SEARCH) as client:
        assert client.feature_extraction("hello").shape == (1, 384)
    for token, status in ((UNKNOWN_KEY, 401), (OTHER, 403)):
        with InferenceClient(model=guarded.url, token=token) as client:
            with pytest.raises(HfHubHTTPError) as caught:
                client.feature_extraction("hello")
            assert caught.value.response.status_code == status


def triton_infer(triton: Any, kind: Any, headers: dict[str, str] | None) -> Any:
    tensor = kind("text", [1], "BYTES")
    tensor.set_data_from_numpy(np.array(["hello"], dtype=object))
    return triton.infer("minilm", [tensor], headers=headers).as_numpy("embedding")


TRITON = [(None, 401), (bearer(UNKNOWN_KEY), 401), (bearer(EXPIRED), 401), (bearer(OTHER), 403)]


def test_tritonclient_over_http(guarded: Server) -> None:
    with InferenceServerClient(guarded.url.removeprefix("http://")) as triton:
        assert triton_infer(triton, InferInput, bearer(SEARCH)).shape == (1, 384)
        for headers, status in TRITON:
            with pytest.raises(InferenceServerException, match="API key") as caught:
                triton_infer(triton, InferInput, headers)
            assert caught.value.status() == str(status)


@pytest.mark.parametrize("name", ["authorization", "x-api-key", "api-key"])
def test_tritonclient_over_grpc(
    guarded: Server, client: httpx.Client, tritonclient_grpc: Any, name: str
) -> None:
    def headers(key: str) -> dict[str, str]:
        return bearer(key) if name == "authorization" else {name: key}

    kind = tritonclient_grpc.InferInput
    before = rejected(client, "unauthorized"), rejected(client, "forbidden")
    with tritonclient_grpc.InferenceServerClient(guarded.grpc) as triton:
        assert triton_infer(triton, kind, headers(SEARCH)).shape == (1, 384)
        for metadata, status in (
            (None, "UNAUTHENTICATED"),
            (headers(UNKNOWN_KEY), "UNAUTHENTICATED"),
            (headers(EXPIRED), "UNAUTHENTICATED"),
            (headers(OTHER), "PERMISSION_DENIED"),
        ):
            with pytest.raises(InferenceServerException, match="API key") as caught:
                triton_infer(triton, kind, metadata)
            assert caught.value.status() == f"StatusCode.{status}"
        # What is no inference needs no key.
        assert triton.is_server_live()
        assert triton.is_server_ready()
        assert triton.is_model_ready("minilm", "1")
        assert triton.get_server_metadata().name == "predictor"
        assert list(triton.get_model_metadata("minilm").versions) == ["1", "2"]
    after = rejected(client, "unauthorized"), rejected(client, "forbidden")
    assert (after[0] - before[0], after[1] - before[1]) == (3, 1)


async def test_clients_of_kserve(guarded: Server, kserve: ModuleType) -> None:
    tensor = kserve.InferInput("text", [1], "BYTES", data=["hello"])
    request = kserve.InferRequest(model_name="minilm", infer_inputs=[tensor])
    async with kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v2")) as v2:
        answer = await v2.infer(guarded.url, request, model_name="minilm", headers=bearer(SEARCH))
        assert answer.outputs[0].shape == [1, 384]
        for headers, status in ((None, 401), (bearer(OTHER), 403)):
            with pytest.raises(httpx.HTTPStatusError, match="API key") as caught:
                await v2.infer(guarded.url, request, model_name="minilm", headers=headers)
            assert caught.value.response.status_code == status
    async with kserve.InferenceGRPCClient(guarded.grpc) as client:
        metadata = list(bearer(SEARCH).items())
        answer = await client.infer(request, headers=metadata)
        assert answer.outputs[0].shape == [1, 384]
        with pytest.raises(grpc.RpcError) as refused:
            await client.infer(request)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


# 403


@ways
def test_key_is_not_for_this_model(client: httpx.Client, way: str) -> None:
    before = rejected(client, "forbidden")
    response = post(client, way, bearer(OTHER))
    assert response.status_code == 403
    assert "www-authenticate" not in response.headers
    message = message_of(way, response)
    assert "'other'" in message
    assert "'minilm'" in message
    assert rejected(client, "forbidden") == before + 1


def test_key_of_a_model_is_for_all_its_versions(client: httpx.Client) -> None:
    for model, status in (("minilm:1", 200), ("minilm:2", 200), ("other", 403), ("other:7", 403)):
        body = {"model": model, "input": "hello"}
        response = client.post("/v1/embeddings", json=body, headers=bearer(SEARCH))
        assert response.status_code == status
    answer = client.post(
        "/embed", json={"inputs": "a"}, headers=bearer(OTHER) | {"x-model": "other"}
    )
    assert answer.headers["x-model-version"] == "7"


def test_openai_client_with_a_key_for_another_model(guarded: Server) -> None:
    with openai_client(guarded, OTHER) as client:
        with pytest.raises(openai.PermissionDeniedError) as caught:
            client.embeddings.create(model="minilm", input="hello")
        assert (caught.value.type, caught.value.code) == ("invalid_request_error", "forbidden")
        assert client.embeddings.create(model="other", input="hello").data


# TEI's tools embed nothing, but they work for whoever asks, and show the model's vocabulary.


@pytest.mark.parametrize("tool", TOOLS)
def test_tools_need_a_key(client: httpx.Client, tool: str) -> None:
    before = rejected(client, "unauthorized")
    for headers in ({}, bearer(UNKNOWN_KEY), bearer(EXPIRED)):
        response = post(client, tool, headers)
        assert response.status_code == 401
        assert set(response.json()) == {"error", "error_type"}
        assert response.headers["www-authenticate"] == "Bearer"
    assert post(client, tool, bearer(SEARCH)).status_code == 200
    assert rejected(client, "unauthorized") == before + 3


@pytest.mark.parametrize("tool", TOOLS)
def test_tools_of_a_model_that_the_key_is_not_for(client: httpx.Client, tool: str) -> None:
    before = rejected(client, "forbidden")
    assert post(client, tool, bearer(OTHER)).status_code == 403
    assert post(client, tool, bearer(OTHER) | {"x-model": "other"}).status_code == 200
    assert rejected(client, "forbidden") == before + 1


# What needs no key, and what is no way around it


@pytest.mark.parametrize(
    "path",
    [
        "/", "/health", "/v2/health/live", "/v2/health/ready", "/metrics", "/info", "/docs",
        "/docs/swagger-ui.css", "/openapi.json", "/v1/models", "/v1/models/minilm",
        "/openai/v1/models", "/v2",
        "/v2/models", "/v2/models/minilm", "/v2/models/minilm/versions/1",
        "/v2/models/minilm/ready", "/v2/models/minilm/versions/1/ready",
    ],
)  # fmt: skip
def test_open_to_everybody(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 200
    # A key that is no good does not matter there.
    assert client.get(path, headers=bearer(UNKNOWN_KEY)).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "GET"])
@pytest.mark.parametrize(
    "target",
    [
        *(f"/v2/models/minilm/infer{end}" for end in ("/", "%0A", "%20", "%2F", "//", ";x", "%00")),
        *(f"/v1/models/minilm:predict{end}" for end in ("/", "%0A", "%20", "%2F", "//")),
        "/v1/models/minilm:explain%0A",
        "/v2/models/minilm/versions/2/infer%0A",
        "//v2/models/minilm/infer",
        "/V2/models/minilm/infer",
        "/v2/models/minilm%2Finfer",
        "/%76%31/models/minilm:predict",
        "/v1/models/minilm%3Apredict",
        "/v1/embeddings/",
        "/v1/embeddings%0A",
        "/openai/v1/embeddings%0A",
        "//v1/embeddings",
        "/embed%0A",
        "/v2/embed%0A",
        "http://localhost/v1/embeddings",
    ],
)
def test_no_way_around_the_key(guarded: Server, method: str, target: str) -> None:
    """None of these may reach the model, or KServe's own routes, which ask for no key."""
    body = json.dumps(WAYS["v1"][1] | WAYS["v2"][1] | WAYS["openai"][1])
    connection = http.client.HTTPConnection("127.0.0.1", guarded.http_port, timeout=DEADLINE_S)
    try:
        connection.request(method, target, body=body)
        assert connection.getresponse().status in (401, 404, 405, 307)
    finally:
        connection.close()


@pytest.mark.parametrize(
    "path", ["/v1/embeddings", "/embed", "/v2/models/minilm/infer", "/tokenize"]
)
@pytest.mark.parametrize("more", ["", "expect: 100-continue\r\n"], ids=["", "expect"])
def test_refused_body_is_not_read(guarded: Server, path: str, more: str) -> None:
    with socket.create_connection(
        ("127.0.0.1", guarded.http_port), timeout=DEADLINE_S
    ) as connection:
        head = f"POST {path} HTTP/1.1\r\nhost: test\r\ncontent-length: {8 << 20}\r\n{more}\r\n"
        connection.sendall(head.encode())
        # Nothing of the body is sent, and the answer comes all the same; then the server hangs up.
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"connection: close" in answer.lower()


def test_openai_client_with_a_large_body_learns_that_its_key_is_invalid(guarded: Server) -> None:
    with openai_client(guarded, UNKNOWN_KEY) as client:
        for _ in range(3):
            with pytest.raises(openai.AuthenticationError):
                client.embeddings.create(model="minilm", input="a " * (4 << 20))


# 429


def limits_of(headers: Mapping[str, str], what: str) -> tuple[int, int]:
    """Limit and what is left; raises KeyError if they are missing."""
    assert re.fullmatch(
        r"(\d+h)?(\d+m)?(\d+(\.\d+)?s)?|\d+ms", headers[f"x-ratelimit-reset-{what}"]
    )
    return (
        int(headers[f"x-ratelimit-limit-{what}"]),
        int(headers[f"x-ratelimit-remaining-{what}"]),
    )


@ways
def test_request_limit(client: httpx.Client, way: str) -> None:
    headers = bearer(LIMITED[f"requests {way}"])
    before = rejected(client, "rate_limited")
    for left in range(REQUESTS - 1, -1, -1):
        response = post(client, way, headers)
        assert response.status_code == 200
        assert limits_of(response.headers, "requests") == (REQUESTS, left)
        assert "x-ratelimit-limit-tokens" not in response.headers
    response = post(client, way, headers)
    assert response.status_code == 429
    assert limits_of(response.headers, "requests") == (REQUESTS, 0)
    assert 25 <= int(response.headers["retry-after"]) <= 31
    assert "requests" in message_of(way, response)
    assert rejected(client, "rate_limited") == before + 1
    # Others go on.
    assert post(client, way, bearer(SEARCH)).status_code == 200


def test_key_without_limits_has_no_headers_of_them(client: httpx.Client) -> None:
    response = post(client, "openai", bearer(SEARCH))
    assert not [name for name in response.headers if name.startswith("x-ratelimit")]


def test_both_limits(client: httpx.Client) -> None:
    response = post(client, "openai", bearer(LIMITED["both"]))
    assert limits_of(response.headers, "requests") == (600, 599)
    assert limits_of(response.headers, "tokens") == (6000, 5997)
    assert response.headers["x-ratelimit-reset-tokens"].endswith("ms")


def openai_post(client: httpx.Client, key: str, text: str) -> httpx.Response:
    body = {"model": "minilm", "input": text}
    return client.post("/v1/embeddings", json=body, headers=bearer(key))


def test_token_limit(client: httpx.Client) -> None:
    key = LIMITED["tokens"]
    response = openai_post(client, key, "word " * 48)  # 50 with [CLS] and [SEP]
    assert response.status_code == 200
    assert limits_of(response.headers, "tokens") == (TOKENS, 10)
    refused = openai_post(client, key, "word " * 28)
    assert refused.status_code == 429
    limit, left = limits_of(refused.headers, "tokens")
    assert (limit, left) in ((TOKENS, 10), (TOKENS, 11))
    assert 18 <= int(refused.headers["retry-after"]) <= 21
    # What is refused takes no tokens, so less may still pass.
    assert openai_post(client, key, "hello").status_code == 200


def test_retry_after_is_not_before_the_limit_lets_pass(client: httpx.Client) -> None:
    """A client that waits as long as the hint says must not be refused again."""
    key = LIMITED["fraction"]
    assert openai_post(client, key, "word " * 198).status_code == 200
    refused = openai_post(client, key, "word " * 248)  # 250 tokens; 50 are left, 250 come a minute
    assert refused.status_code == 429
    hint = re.search(r"retry in (\d+\.\d) s", refused.json()["error"]["message"])
    assert hint is not None
    assert 0.0 < float(hint[1]) <= 48.0
    assert int(refused.headers["retry-after"]) == math.ceil(float(hint[1]))


def test_openai_client_over_its_limit(guarded: Server) -> None:
    with openai_client(guarded, LIMITED["client openai"]) as client:
        for left in (1, 0):
            raw = client.embeddings.with_raw_response.create(model="minilm", input="hello")
            assert limits_of(raw.headers, "requests") == (REQUESTS, left)
        with pytest.raises(openai.RateLimitError) as caught:
            client.embeddings.create(model="minilm", input="hello")
    headers = caught.value.response.headers
    assert limits_of(headers, "requests") == (REQUESTS, 0)
    assert int(headers["retry-after"]) > 1
    assert caught.value.type == "rate_limit_error"


def test_cohere_client_over_its_limit(guarded: Server) -> None:
    with httpx.Client(timeout=DEADLINE_S) as http_client:
        client = cohere.ClientV2(
            api_key=LIMITED["client cohere"], base_url=guarded.url, httpx_client=http_client
        )
        for _ in range(REQUESTS):
            cohere_embed(client)
        with pytest.raises(cohere.TooManyRequestsError) as caught:
            client.embed(
                model="minilm",
                texts=["hello"],
                input_type="search_query",
                request_options={"max_retries": 0},
            )
    assert "requests" in caught.value.body["message"]


def test_tritonclient_over_its_limit(guarded: Server) -> None:
    headers = bearer(LIMITED["client triton"])
    with InferenceServerClient(guarded.url.removeprefix("http://")) as triton:
        for _ in range(REQUESTS):
            triton_infer(triton, InferInput, headers)
        with pytest.raises(InferenceServerException, match="requests a minute") as caught:
            triton_infer(triton, InferInput, headers)
    assert caught.value.status() == "429"


GrpcCall = Callable[[str, str], Any]


@pytest.fixture(scope="module")
def grpc_call(guarded: Server, tritonclient_grpc: Any) -> Iterator[GrpcCall]:
    """Sends a text with a key; the trailing metadata."""
    types = tritonclient_grpc.service_pb2
    with grpc.insecure_channel(guarded.grpc) as channel:
        stub = tritonclient_grpc.service_pb2_grpc.GRPCInferenceServiceStub(channel)

        def call(text: str, key: str) -> dict[str, str]:
            request = types.ModelInferRequest(model_name="minilm")
            tensor = request.inputs.add(name="text", datatype="BYTES", shape=[1])
            tensor.contents.bytes_contents.append(text.encode())
            _, done = stub.ModelInfer.with_call(request, metadata=list(bearer(key).items()))
            return dict(done.trailing_metadata())

        yield call


def test_grpc_over_its_request_limit(grpc_call: GrpcCall, client: httpx.Client) -> None:
    key, before = LIMITED["client grpc"], rejected(client, "rate_limited")
    for left in (1, 0):
        trailing = grpc_call("hello", key)
        assert limits_of(trailing, "requests") == (REQUESTS, left)
        assert trailing["x-model-version"] == "2"
    with pytest.raises(grpc.RpcError) as caught:
        grpc_call("hello", key)
    error: Any = caught.value
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    trailing = dict(error.trailing_metadata())
    assert limits_of(trailing, "requests") == (REQUESTS, 0)
    assert 25 <= int(trailing["retry-after"]) <= 31
    assert trailing["x-request-id"]
    assert rejected(client, "rate_limited") == before + 1


def test_grpc_over_its_token_limit(grpc_call: GrpcCall) -> None:
    key = LIMITED["tokens grpc"]
    assert limits_of(grpc_call("word " * 48, key), "tokens") == (TOKENS, 10)
    with pytest.raises(grpc.RpcError) as caught:
        grpc_call("word " * 28, key)
    error: Any = caught.value
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert limits_of(dict(error.trailing_metadata()), "tokens")[0] == TOKENS


def test_grpc_without_limits(grpc_call: GrpcCall) -> None:
    assert not [name for name in grpc_call("hello", SEARCH) if name.startswith("x-ratelimit")]


# The file of keys


def test_keys_are_replaced_without_a_restart(
    client: httpx.Client, guarded: Server, mount: Mount
) -> None:
    def is_let_in(key: str) -> bool:
        return post(client, "openai", bearer(key)).status_code == 200

    assert is_let_in(REPLACED)
    assert not is_let_in(ADDED)
    used_up = LIMITED["requests kept"]
    assert [is_let_in(used_up) for _ in range(REQUESTS + 1)] == [True] * REQUESTS + [False]
    mount.swap(listing(*entries(), entry("added", ADDED)))
    assert soon(lambda: is_let_in(ADDED))
    assert not is_let_in(REPLACED)
    assert is_let_in(SEARCH)
    assert not is_let_in(used_up)  # a new file fills nobody's limits
    mount.swap(b'{"keys": [')
    assert soon(
        lambda: is_let_in(ADDED) and any("not valid JSON" in line for line in guarded.lines)
    )
    assert is_let_in(SEARCH)
    assert not is_let_in(REPLACED)


# Last, when all keys have been used.


def test_no_key_is_in_logs_or_metrics(client: httpx.Client, guarded: Server) -> None:
    digests = {entry("x", key)["sha256"] for key in (SEARCH, UNKNOWN_KEY)}
    secrets = {SEARCH, OTHER, EXPIRED, UNKNOWN_KEY, REPLACED, ADDED, *LIMITED.values(), *digests}
    for key in (SEARCH, UNKNOWN_KEY):
        post(client, "openai", bearer(key))
        post(client, "tokenize", {"x-api-key": key})
    guarded.wait_for_log('"message": "request"')
    log, metrics = "\n".join(guarded.lines), client.get("/metrics").text
    assert not [secret for secret in secrets if secret in log or secret in metrics]


def test_no_request_failed_for_a_reason_of_ours(guarded: Server) -> None:
    assert not [event for event in guarded.events if "exception" in event]
