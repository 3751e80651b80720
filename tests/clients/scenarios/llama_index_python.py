"""LlamaIndex: its embeddings for TEI and for servers like OpenAI's."""

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
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.embeddings.text_embeddings_inference import TextEmbeddingsInference


def openai_like(**others: Any) -> Any:
    options = {"model_name": MODEL, "api_base": f"{URL}/v1", "api_key": KEY, "max_retries": 0}
    return OpenAILikeEmbedding(**options | others)


def tei(key: str = KEY) -> Any:
    return TextEmbeddingsInference(model_name=MODEL, base_url=URL, auth_token=key)


def common(client: Client, make: Any) -> None:
    with client.check("get_text_embedding_batch"):
        same(make().get_text_embedding_batch(TEXTS), VECTORS)
    with client.check("get_query_embedding"):
        same([make().get_query_embedding(TEXTS[0])], VECTORS[:1])
    with client.check("asynchronous"):
        same(asyncio.run(make().aget_text_embedding_batch(TEXTS)), VECTORS)
    with client.check("too long a text is cut"):
        same(make().get_text_embedding_batch([LONG]), [LONG_VECTOR])


client = Client("llama-index, OpenAILikeEmbedding", version("llama-index-embeddings-openai-like"))
common(client, openai_like)
with client.check("empty text"):
    same(openai_like().get_text_embedding_batch([""]), [EMPTY_VECTOR])
with client.check("dimensions"):
    same(openai_like(dimensions=64).get_text_embedding_batch(TEXTS), shortened(64))
client.refused(
    "wrong model", lambda: openai_like(model_name=UNKNOWN).get_text_embedding("a"), UNKNOWN
)
client.refused("wrong key", lambda: openai_like(api_key=WRONG_KEY).get_text_embedding("a"), "key")
client.report()

client = Client(
    "llama-index, TextEmbeddingsInference",
    version("llama-index-embeddings-text-embeddings-inference"),
)
common(client, tei)
client.refused("wrong key", lambda: tei(WRONG_KEY).get_text_embedding("a"))
client.report()
