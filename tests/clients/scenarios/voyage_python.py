"""voyageai (Python)."""

import asyncio
from importlib.metadata import version
from typing import Any

import voyageai
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


def embed(texts: Any = TEXTS, key: str = KEY, **options: Any) -> Any:
    api = voyageai.Client(api_key=key, base_url=f"{URL}/v1", max_retries=0)
    return api.embed(texts, **{"model": MODEL} | options)


async def asynchronous() -> Any:
    api = voyageai.AsyncClient(api_key=KEY, base_url=f"{URL}/v1", max_retries=0)
    return await api.embed(TEXTS, model=MODEL)


client = Client("voyageai", version("voyageai"))
with client.check("a batch"):
    same(embed().embeddings, VECTORS)
with client.check("asynchronous"):
    same(asyncio.run(asynchronous()).embeddings, VECTORS)
with client.check("input_type document"):
    same(embed(input_type="document").embeddings, VECTORS)
with client.check("output_dimension"):
    same(embed(output_dimension=64).embeddings, shortened(64))
with client.check("output_dtype float"):
    same(embed(output_dtype="float").embeddings, VECTORS)
with client.check("too long a text is cut (truncation=True)"):
    same(embed([LONG], truncation=True).embeddings, [LONG_VECTOR])
with client.check("empty text"):
    same(embed([""]).embeddings, [EMPTY_VECTOR])
with client.check("output_dtype int8: right numbers, or refused by name"):
    try:
        same(embed(output_dtype="int8").embeddings, VECTORS, 0.999)
    except voyageai.error.InvalidRequestError as error:
        assert "output_dtype" in str(error), str(error)
client.refused(
    "too long a text, truncation=False", lambda: embed([LONG], truncation=False), "tokens"
)
client.refused("wrong model", lambda: embed(model=UNKNOWN), UNKNOWN)
client.refused("wrong key", lambda: embed(key=WRONG_KEY), "key")
client.report()
