"""cohere (Python): its classes for version 1 and version 2 of the API."""

import asyncio
from importlib.metadata import version
from typing import Any

import cohere
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

VERSION = version("cohere")
DOCUMENT = "search_document"


def common(client: Client, make: Any) -> None:
    api = make(KEY)

    def embed(**options: Any) -> Any:
        return api.embed(**{"model": MODEL, "input_type": DOCUMENT, "texts": TEXTS} | options)

    with client.check("embedding_types float"):
        same(embed(embedding_types=["float"]).embeddings.float_, VECTORS)
    with client.check("embedding_types int8"):
        same(embed(embedding_types=["int8"]).embeddings.int8, VECTORS, 0.999)
    with client.check("embedding_types ubinary"):
        packed = embed(embedding_types=["ubinary"]).embeddings.ubinary
        assert [len(row) for row in packed] == [48] * len(TEXTS)
        assert [bool(packed[0][i // 8] & 128 >> i % 8) for i in range(384)] == [
            number > 0 for number in VECTORS[0]
        ]
    with client.check("input_type search_query"):
        same(embed(input_type="search_query", embedding_types=["float"]).embeddings.float_, VECTORS)
    with client.check("too long a text is cut (truncate END)"):
        answer = embed(texts=[LONG], truncate="END", embedding_types=["float"])
        same(answer.embeddings.float_, [LONG_VECTOR])
    with client.check("empty text"):
        same(embed(texts=[""], embedding_types=["float"]).embeddings.float_, [EMPTY_VECTOR])
    client.refused(
        "too long a text, truncate NONE", lambda: embed(texts=[LONG], truncate="NONE"), "tokens"
    )
    client.refused("no texts", lambda: embed(texts=[]), "texts")
    client.refused("wrong model", lambda: embed(model=UNKNOWN), UNKNOWN)
    client.refused(
        "wrong key",
        lambda: make(WRONG_KEY).embed(model=MODEL, texts=TEXTS, input_type=DOCUMENT),
        "key",
    )


def first() -> None:
    client = Client("cohere (Python), Client", VERSION)
    with client.check("plain embed"):
        api = cohere.Client(api_key=KEY, base_url=URL)
        same(api.embed(model=MODEL, texts=TEXTS, input_type=DOCUMENT).embeddings, VECTORS)
    common(client, lambda key: cohere.Client(api_key=key, base_url=URL))
    client.report()


def second() -> None:
    client = Client("cohere (Python), ClientV2", VERSION)
    common(client, lambda key: cohere.ClientV2(api_key=key, base_url=URL))
    with client.check("output_dimension"):
        api = cohere.ClientV2(api_key=KEY, base_url=URL)
        answer = api.embed(
            model=MODEL, texts=TEXTS, input_type=DOCUMENT, output_dimension=64,
            embedding_types=["float"],
        )  # fmt: skip
        same(answer.embeddings.float_, shortened(64))
    with client.check("asynchronous"):
        same(asyncio.run(asynchronous()).embeddings.float_, VECTORS)
    client.report()


async def asynchronous() -> Any:
    api = cohere.AsyncClientV2(api_key=KEY, base_url=URL)
    return await api.embed(model=MODEL, texts=TEXTS, input_type=DOCUMENT, embedding_types=["float"])


first()
second()
