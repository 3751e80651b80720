"""langchain-cohere: CohereEmbeddings, which calls version 1 of Cohere's API."""

import asyncio
from importlib.metadata import version
from typing import Any

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
)  # fmt: skip
from langchain_cohere import CohereEmbeddings


def make(**others: Any) -> Any:
    options = {"model": MODEL, "base_url": URL, "cohere_api_key": KEY, "max_retries": 0}
    return CohereEmbeddings(**options | others)


client = Client("langchain-cohere", version("langchain-cohere"))
with client.check("embed_query"):
    same([make().embed_query(TEXTS[0])], VECTORS[:1])
with client.check("embed_documents"):
    same(make().embed_documents(TEXTS), VECTORS)
with client.check("asynchronous"):
    same(asyncio.run(make().aembed_documents(TEXTS)), VECTORS)
with client.check("too long a text is cut (truncate END)"):
    same(make(truncate="END").embed_documents([LONG]), [LONG_VECTOR])
with client.check("empty text"):
    same(make().embed_documents([""]), [EMPTY_VECTOR])
client.refused(
    "too long a text, truncate NONE",
    lambda: make(truncate="NONE").embed_documents([LONG]),
    "tokens",
)
client.refused("wrong model", lambda: make(model=UNKNOWN).embed_query("a"), UNKNOWN)
client.refused("wrong key", lambda: make(cohere_api_key=WRONG_KEY).embed_query("a"), "key")
client.report()
