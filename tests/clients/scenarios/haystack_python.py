"""Haystack: its embedders for OpenAI's API."""

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
from haystack import Document
from haystack.components.embedders import OpenAIDocumentEmbedder, OpenAITextEmbedder
from haystack.utils import Secret


def options(key: str = KEY, **others: Any) -> dict[str, Any]:
    fixed = {"model": MODEL, "api_base_url": f"{URL}/v1", "max_retries": 0}
    return {"api_key": Secret.from_token(key)} | fixed | others


def text(content: str, **others: Any) -> Any:
    return OpenAITextEmbedder(**options(**others)).run(content)["embedding"]


def documents(contents: list[str], **others: Any) -> Any:
    embedder = OpenAIDocumentEmbedder(**options(progress_bar=False, **others))
    answer = embedder.run([Document(content=content) for content in contents])
    return [document.embedding for document in answer["documents"]]


client = Client("haystack-ai", version("haystack-ai"))
with client.check("text embedder"):
    same([text(TEXTS[0])], VECTORS[:1])
with client.check("document embedder"):
    same(documents(TEXTS), VECTORS)
with client.check("dimensions"):
    same(documents(TEXTS, dimensions=64), shortened(64))
with client.check("too long a text is cut"):
    same([text(LONG)], [LONG_VECTOR])
with client.check("empty text"):
    same([text("")], [EMPTY_VECTOR])
client.refused("wrong model", lambda: text("a", model=UNKNOWN), UNKNOWN)
client.refused("wrong key", lambda: text("a", key=WRONG_KEY), "key")
client.report()
