"""The cache of embeddings, whose key is what the engine runs: bundle, variant and token ids."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

CacheDtype = Literal["fp32", "fp16"]


class CacheSettings(Struct, frozen=True, kw_only=True):
    """Cache: embeddings that were computed before."""

    cache_mb: Annotated[
        float,
        Meta(
            ge=0,
            description="MiB for cached vectors; 64 hold about 32 000 vectors of 384 dimensions. "
            "Beyond that, vectors are evicted. 0: no cache.",
        ),
    ] = 64.0
    cache_ttl_s: Annotated[
        float,
        Meta(
            ge=0,
            description="Seconds that a vector stays in the cache. 0: until it is evicted, because "
            "a cached vector does not become wrong.",
        ),
    ] = 0.0
    cache_dtype: Annotated[
        CacheDtype,
        Meta(
            description="Type in which vectors are stored. fp16 holds 1.6 times as many vectors of "
            "384 dimensions; their cosine to the fp32 vectors is 0.9999999.",
        ),
    ] = "fp32"
    cache_redis_url: Annotated[
        str,
        Meta(
            description="Redis as a second tier that pods share: redis://, rediss:// or unix://. "
            "Empty: no second tier.",
        ),
    ] = ""
    cache_redis_timeout_ms: Annotated[
        float,
        Meta(
            ge=0.1,
            description="Milliseconds that a request waits for Redis; after that its vectors are "
            "computed. A round trip takes 0.2 ms on a quiet machine and 7 ms under load, where "
            "computing takes 100 ms.",
        ),
    ] = 50.0
    cache_redis_ttl_s: Annotated[
        int,
        Meta(ge=1, description="Seconds that a vector stays in Redis; the default is a week."),
    ] = 604_800
