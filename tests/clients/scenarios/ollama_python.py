"""ollama (Python)."""

import asyncio
from importlib.metadata import version
from typing import Any

import ollama
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


def api(key: str = KEY) -> ollama.Client:
    return ollama.Client(host=URL, headers={"Authorization": f"Bearer {key}"})


async def asynchronous() -> Any:
    headers = {"Authorization": f"Bearer {KEY}"}
    return await ollama.AsyncClient(host=URL, headers=headers).embed(MODEL, TEXTS)


client = Client("ollama (Python)", version("ollama"))
with client.check("embed of a text"):
    same(api().embed(MODEL, TEXTS[0]).embeddings, VECTORS[:1])
with client.check("embed of a batch"):
    same(api().embed(MODEL, TEXTS).embeddings, VECTORS)
with client.check("dimensions"):
    same(api().embed(MODEL, TEXTS, dimensions=64).embeddings, shortened(64))
with client.check("embeddings (old)"):
    same([api().embeddings(MODEL, TEXTS[0]).embedding], VECTORS[:1])
with client.check("list"):
    assert [model.model.removesuffix(":latest") for model in api().list().models] == [MODEL]
with client.check("asynchronous"):
    same(asyncio.run(asynchronous()).embeddings, VECTORS)
with client.check("too long a text is cut (truncate=True)"):
    same(api().embed(MODEL, LONG, truncate=True).embeddings, [LONG_VECTOR])
with client.check("empty text"):
    same(api().embed(MODEL, [""]).embeddings, [EMPTY_VECTOR])
client.refused(
    "too long a text, truncate=False", lambda: api().embed(MODEL, LONG, truncate=False), "tokens"
)
client.refused("wrong model", lambda: api().embed(UNKNOWN, "a"), UNKNOWN)
client.refused("wrong key", lambda: api(WRONG_KEY).embed(MODEL, "a"), "key")
client.report()
