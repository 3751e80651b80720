"""huggingface_hub: InferenceClient, which calls TEI's route, at a URL."""

import asyncio
from importlib.metadata import version
from typing import Any

from checks import (
    KEY,
    LONG,
    LONG_VECTOR,
    TEXTS,
    URL,
    VECTORS,
    WRONG_KEY,
    Client,
    same,
)  # fmt: skip
from huggingface_hub import AsyncInferenceClient, InferenceClient


def embed(texts: Any, *, key: str = KEY, **options: Any) -> Any:
    return InferenceClient(base_url=f"{URL}/embed", token=key).feature_extraction(texts, **options)


async def asynchronous() -> Any:
    return await AsyncInferenceClient(base_url=f"{URL}/embed", token=KEY).feature_extraction(TEXTS)


client = Client("huggingface_hub", version("huggingface_hub"))
with client.check("a text"):
    same(embed(TEXTS[0]), VECTORS[:1])
with client.check("a batch"):
    same(embed(TEXTS), VECTORS)
with client.check("asynchronous"):
    same(asyncio.run(asynchronous()), VECTORS)
with client.check("normalize=True"):
    same(embed(TEXTS, normalize=True), VECTORS)
with client.check("too long a text is cut (truncate=True)"):
    same(embed([LONG], truncate=True), [LONG_VECTOR])
with client.check("truncation_direction"):
    same(embed([LONG], truncate=True, truncation_direction="right"), [LONG_VECTOR])
# As TEI does.
client.refused("empty text", lambda: embed([""]), "cannot be empty")
client.refused("too long a text, truncate=False", lambda: embed([LONG], truncate=False))
client.refused("wrong prompt", lambda: embed(["a"], prompt_name="no-such-prompt"))
client.refused("wrong key", lambda: embed(["a"], key=WRONG_KEY))
client.report()
