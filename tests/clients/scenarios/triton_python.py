"""tritonclient: http, grpc, and the asynchronous forms of both."""

import asyncio
from importlib.metadata import version
from typing import Any

import numpy as np
import tritonclient.grpc
import tritonclient.grpc.aio
import tritonclient.http
import tritonclient.http.aio
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
    shortened,
)  # fmt: skip

VERSION = version("tritonclient")
HTTP = URL.removeprefix("http://")


def inputs(module: Any, texts: list[str]) -> list[Any]:
    tensor = module.InferInput("text", [len(texts)], "BYTES")
    tensor.set_data_from_numpy(np.array([text.encode() for text in texts], dtype=object))
    return [tensor]


def arguments(module: Any, texts: list[str], *, key: str = KEY, **options: Any) -> dict[str, Any]:
    fixed = {"model_name": MODEL, "inputs": inputs(module, texts)}
    return fixed | {"headers": {"authorization": f"Bearer {key}"}} | options


def scenario(name: str, module: Any, address: str) -> None:
    client = Client(f"tritonclient.{name}", VERSION)
    api = module.InferenceServerClient(address)

    def infer(texts: list[str], **options: Any) -> Any:
        return api.infer(**arguments(module, texts, **options)).as_numpy("embedding")

    with client.check("live and ready"):
        assert api.is_server_live()
        assert api.is_server_ready()
        assert api.is_model_ready(MODEL)
    with client.check("a model that is not there is not ready"):
        assert api.is_model_ready(UNKNOWN) is False
    with client.check("a batch"):
        same(infer(TEXTS), VECTORS)
    with client.check("parameter dimensions"):
        same(infer(TEXTS, parameters={"dimensions": 64}), shortened(64))
    with client.check("too long a text is cut"):
        same(infer([LONG]), [LONG_VECTOR])
    with client.check("empty text"):
        same(infer([""]), [EMPTY_VECTOR])
    with client.check("request_compression_algorithm gzip"):
        option = "compression_algorithm" if name == "grpc" else "request_compression_algorithm"
        same(infer(TEXTS, **{option: "gzip"}), VECTORS)
    client.refused(
        "too long a text, truncate false",
        lambda: infer([LONG], parameters={"truncate": False}),
        "tokens",
    )
    client.refused("wrong model", lambda: infer(["a"], model_name=UNKNOWN), UNKNOWN)
    client.refused("wrong key", lambda: infer(["a"], key=WRONG_KEY), "key")
    api.close()
    client.report()


async def asynchronous(module: Any, address: str) -> Any:
    async with module.InferenceServerClient(address) as api:
        answer = await api.infer(**arguments(module, TEXTS))
    return answer.as_numpy("embedding")


def of_aio(name: str, module: Any, address: str) -> None:
    client = Client(f"tritonclient.{name}.aio", VERSION)
    with client.check("a batch"):
        same(asyncio.run(asynchronous(module, address)), VECTORS)
    client.report()


scenario("http", tritonclient.http, HTTP)
of_aio("http", tritonclient.http.aio, HTTP)
scenario("grpc", tritonclient.grpc, GRPC)
of_aio("grpc", tritonclient.grpc.aio, GRPC)
