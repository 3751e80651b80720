"""LiteLLM: its OpenAI, hosted vLLM and Cohere providers."""

import asyncio
from importlib.metadata import version
from typing import Any

import litellm
from checks import (
    EMPTY_VECTOR,
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

VERSION = version("litellm")


def options(**others: Any) -> dict[str, Any]:
    return {
        "model": f"openai/{MODEL}", "input": TEXTS, "api_base": f"{URL}/v1", "api_key": KEY,
        "max_retries": 0,
    } | others  # fmt: skip


def embed(**others: Any) -> Any:
    return litellm.embedding(**options(**others))


def rows(answer: Any) -> list[list[float]]:
    return [item["embedding"] for item in answer.data]


client = Client("litellm", VERSION)
with client.check("a batch"):
    same(rows(embed()), VECTORS)
with client.check("encoding_format float"):
    same(rows(embed(encoding_format="float")), VECTORS)
with client.check("dimensions"):
    same(rows(embed(dimensions=64, allowed_openai_params=["dimensions"])), shortened(64))
with client.check("too long a text is cut"):
    same(rows(embed(input=[LONG])), [LONG_VECTOR])
with client.check("empty text"):
    same(rows(embed(input=[""])), [EMPTY_VECTOR])
with client.check("asynchronous"):
    same(rows(asyncio.run(litellm.aembedding(**options()))), VECTORS)
with client.check("provider hosted_vllm"):
    same(rows(embed(model=f"hosted_vllm/{MODEL}")), VECTORS)
with client.check("provider cohere"):
    answer = embed(model=f"cohere/{MODEL}", api_base=f"{URL}/v2/embed")
    same(rows(answer), VECTORS)
client.refused("no texts", lambda: embed(input=[]), "input")
client.refused("wrong model", lambda: embed(model=f"openai/{UNKNOWN}"), UNKNOWN)
client.refused("wrong key", lambda: embed(api_key=WRONG_KEY), "key")
client.report()
