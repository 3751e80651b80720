"""langchain-openai: OpenAIEmbeddings and AzureOpenAIEmbeddings."""

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
    shortened,
)  # fmt: skip
from langchain_openai import AzureOpenAIEmbeddings, OpenAIEmbeddings

VERSION = version("langchain-openai")


def plain(**others: Any) -> Any:
    # Otherwise it sends ids of OpenAI's own tokenizer.
    options = {"model": MODEL, "base_url": f"{URL}/v1", "api_key": KEY, "max_retries": 0}
    return OpenAIEmbeddings(**options | {"check_embedding_ctx_length": False} | others)


def azure(**others: Any) -> Any:
    options = {
        "model": MODEL, "azure_endpoint": URL, "api_key": KEY, "api_version": "2024-10-21",
        "max_retries": 0, "check_embedding_ctx_length": False,
    }  # fmt: skip
    return AzureOpenAIEmbeddings(**options | others)


def scenario(name: str, make: Any) -> None:
    client = Client(name, VERSION)
    with client.check("embed_query"):
        same([make().embed_query(TEXTS[0])], VECTORS[:1])
    with client.check("embed_documents"):
        same(make().embed_documents(TEXTS), VECTORS)
    with client.check("asynchronous"):
        same(asyncio.run(make().aembed_documents(TEXTS)), VECTORS)
    with client.check("dimensions"):
        same(make(dimensions=64).embed_documents(TEXTS), shortened(64))
    with client.check("too long a text is cut"):
        same(make().embed_documents([LONG]), [LONG_VECTOR])
    with client.check("empty text"):
        same(make().embed_documents([""]), [EMPTY_VECTOR])
    client.refused("wrong model", lambda: make(model=UNKNOWN).embed_query("a"), UNKNOWN)
    client.refused("wrong key", lambda: make(api_key=WRONG_KEY).embed_query("a"), "key")
    client.report()


scenario("langchain-openai, OpenAIEmbeddings", plain)
scenario("langchain-openai, AzureOpenAIEmbeddings", azure)
