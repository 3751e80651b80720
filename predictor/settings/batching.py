"""How rows become batches, and how many may wait."""

from typing import Annotated

from msgspec import Meta, Struct

from predictor.settings.fields import alias


class BatchingSettings(Struct, frozen=True, kw_only=True):
    """Batching: how rows become batches, and how many may wait."""

    max_batch_tokens: Annotated[
        int,
        Meta(
            ge=1,
            description="Tokens in a batch, padding included where the graph or attention pads. "
            "256 to 1024 are fastest on a CPU; a GPU wants 16384.",
            extra=alias("MAX_BATCH_TOKENS"),
        ),
    ] = 256
    max_batch_rows: Annotated[
        int,
        Meta(
            ge=0,
            description="Rows in a batch. 0: only --max-batch-tokens limits it.",
            extra=alias("MAX_BATCH_REQUESTS"),
        ),
    ] = 0
    max_queue_delay_ms: Annotated[
        float,
        Meta(ge=0, description="Milliseconds that an idle engine waits for a fuller batch."),
    ] = 0.0
    max_queue_tokens: Annotated[
        int,
        Meta(
            ge=1,
            description="Tokens that may wait in each of the two lanes of the queue; a request "
            "beyond them is answered with 429. A request that is larger by itself enters the "
            "ingest lane in pieces, one such request at a time. The default is about 10 seconds of "
            "work for two cores.",
        ),
    ] = 131_072
    max_concurrent_requests: Annotated[
        int,
        Meta(
            ge=1,
            description="Requests that may be in the server at once; further requests are answered "
            "with 429.",
            extra=alias("MAX_CONCURRENT_REQUESTS"),
        ),
    ] = 4096
    query_tokens: Annotated[
        int,
        Meta(
            ge=0,
            description="Most tokens of a request that goes to the query lane. A larger request "
            "goes to the ingest lane. A request may name its lane instead.",
        ),
    ] = 512
    ingest_share: Annotated[
        float,
        Meta(
            ge=0,
            le=0.9,
            description="Share of the engine that the ingest lane keeps while queries wait. It is "
            "at most 0.9, so that queries do not starve.",
        ),
    ] = 0.25
    engine_timeout_s: Annotated[
        float,
        Meta(
            ge=1,
            description="Seconds after which a running batch counts as hung. The process then "
            "ends, so that Kubernetes restarts it.",
        ),
    ] = 120.0
