"""openai (Python): plain, asynchronous, and AzureOpenAI."""

import asyncio
from importlib.metadata import version
from typing import Any

import openai
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

VERSION = version("openai")


def rows(answer: Any) -> list[list[float]]:
    return [item.embedding for item in answer.data]


def common(client: Client, api: Any, wrong: Any) -> None:
    create = api.embeddings.create
    with client.check("a text"):
        same(rows(create(model=MODEL, input=TEXTS[0])), VECTORS[:1])
    with client.check("a batch"):
        same(rows(create(model=MODEL, input=TEXTS)), VECTORS)
    with client.check("encoding_format float"):
        same(rows(create(model=MODEL, input=TEXTS, encoding_format="float")), VECTORS)
    with client.check("dimensions"):
        same(rows(create(model=MODEL, input=TEXTS, dimensions=64)), shortened(64))
    with client.check("too long a text is cut"):
        same(rows(create(model=MODEL, input=LONG)), [LONG_VECTOR])
    with client.check("empty text"):
        same(rows(create(model=MODEL, input="")), [EMPTY_VECTOR])
    with client.check("user=None"):
        same(rows(create(model=MODEL, input=TEXTS, user=None)), VECTORS)
    with client.check("dimensions=None"):
        same(rows(create(model=MODEL, input=TEXTS, dimensions=None)), VECTORS)
    with client.check("truncate in extra_body"):
        body = {"truncate": "END"}
        same(rows(create(model=MODEL, input=LONG, extra_body=body)), [LONG_VECTOR])
    client.refused(
        "too long a text, truncate NONE",
        lambda: create(model=MODEL, input=LONG, extra_body={"truncate": "NONE"}),
        "tokens",
    )
    client.refused("no texts", lambda: create(model=MODEL, input=[]), "input")
    client.refused(
        "too many dimensions", lambda: create(model=MODEL, input="a", dimensions=4096), "384"
    )
    client.refused("wrong key", lambda: wrong.embeddings.create(model=MODEL, input="a"), "key")


def plain() -> None:
    client = Client("openai (Python)", VERSION)
    api = openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0)
    wrong = openai.OpenAI(base_url=f"{URL}/v1", api_key=WRONG_KEY, max_retries=0)
    common(client, api, wrong)
    client.refused(
        "wrong model", lambda: api.embeddings.create(model=UNKNOWN, input="a"), UNKNOWN, MODEL
    )
    with client.check("error.param"):
        try:
            api.embeddings.create(model=MODEL, input="a", dimensions=4096)
        except openai.BadRequestError as error:
            assert error.param == "dimensions", f"param is {error.param}"
    with client.check("models"):
        assert MODEL in [model.id for model in api.models.list()]
        assert api.models.retrieve(MODEL).id == MODEL
    with client.check("asynchronous"):
        same(rows(asyncio.run(asynchronous())), VECTORS)
    with client.check("base URL without /v1"):
        bare = openai.OpenAI(base_url=URL, api_key=KEY, max_retries=0)
        same(rows(bare.embeddings.create(model=MODEL, input=TEXTS)), VECTORS)
    client.report()


async def asynchronous() -> Any:
    async with openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0) as api:
        return await api.embeddings.create(model=MODEL, input=TEXTS)


def azure() -> None:
    client = Client("openai (Python), AzureOpenAI", VERSION)
    common(client, of_azure(KEY), of_azure(WRONG_KEY))
    client.refused(
        "wrong deployment",
        lambda: of_azure(KEY).embeddings.create(model=UNKNOWN, input="a"),
        UNKNOWN,
    )
    client.report()


def of_azure(key: str) -> openai.AzureOpenAI:
    return openai.AzureOpenAI(
        azure_endpoint=URL, api_key=key, api_version="2024-10-21", max_retries=0
    )


plain()
azure()
