"""kserve: its inference clients for V1, V2 and gRPC."""

import asyncio
from importlib.metadata import version
from typing import Any

import kserve
from checks import (
    EMPTY_VECTOR,
    GRPC,
    KEY,
    LONG,
    LONG_VECTOR,
    MODEL,
    TEXTS,
    UNKNOWN,
    URL,
    VECTORS,
    WRONG_KEY,
    Client,
    same,
)  # fmt: skip


def request(texts: list[str], model: str = MODEL) -> Any:
    tensor = kserve.InferInput("text", [len(texts)], "BYTES", data=texts)
    return kserve.InferRequest(model_name=model, infer_inputs=[tensor])


async def rest(protocol: str, data: Any, *, key: str = KEY, model: str = MODEL) -> Any:
    config = kserve.RESTConfig(protocol=protocol)
    async with kserve.InferenceRESTClient(config) as api:
        headers = {"Authorization": f"Bearer {key}"}
        return await api.infer(URL, data, model_name=model, headers=headers)


async def grpc(data: Any, key: str = KEY) -> Any:
    async with kserve.InferenceGRPCClient(GRPC) as api:
        return await api.infer(data, headers=[("authorization", f"Bearer {key}")])


def v1(texts: list[str], **options: Any) -> Any:
    return asyncio.run(rest("v1", {"instances": texts}, **options))["predictions"]


def v2(texts: list[str], *, model: str = MODEL, **options: Any) -> Any:
    answer = asyncio.run(rest("v2", request(texts, model), model=model, **options))
    return answer.outputs[0].as_numpy()


def v2_grpc(texts: list[str], *, model: str = MODEL, **options: Any) -> Any:
    return asyncio.run(grpc(request(texts, model), **options)).outputs[0].as_numpy()


for name, infer in {"V1": v1, "V2": v2, "gRPC": v2_grpc}.items():
    client = Client(f"kserve, {name}", version("kserve"))
    with client.check("a batch"):
        same(infer(TEXTS), VECTORS)
    with client.check("too long a text is cut"):
        same(infer([LONG]), [LONG_VECTOR])
    with client.check("empty text"):
        same(infer([""]), [EMPTY_VECTOR])
    client.refused("wrong model", lambda infer=infer: infer(["a"], model=UNKNOWN), UNKNOWN)
    client.refused("wrong key", lambda infer=infer: infer(["a"], key=WRONG_KEY))
    client.report()
