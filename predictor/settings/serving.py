"""How requests are taken, run and answered, and by whom they may be sent."""

from dataclasses import dataclass

from predictor.settings.field import setting


@dataclass(frozen=True)
class AccessSettings:
    """Who may ask, and who may change what is served."""

    api_keys_file: str = setting(
        "", "file of hashed API keys with their limits, reloaded when it changes; empty: open"
    )
    admin_token_file: str = setting(
        "", "file with the token for load, unload, flush and log level; empty: no admin routes here"
    )
    admin_port: int = setting(
        0, "serve the admin routes on this port of 127.0.0.1 too; 0: not", minimum=0, maximum=65535
    )


@dataclass(frozen=True)
class RequestSettings:
    """What one request may ask for."""

    max_body_bytes: int = setting(
        8 << 20,
        "largest request body, bytes; 8 MiB is gRPC's default in KServe",
        alias="PAYLOAD_LIMIT",
        minimum=1024,
    )
    max_client_batch_size: int = setting(
        2048,
        "most inputs a request; 2048 is OpenAI's limit",
        alias="MAX_CLIENT_BATCH_SIZE",
        minimum=1,
    )
    auto_truncate: bool = setting(
        True,
        "cut texts over the model's length (reported) instead of refusing them",
        alias="AUTO_TRUNCATE",
    )
    default_prompt_name: str = setting(
        "", "prompt put before texts that name none", alias="DEFAULT_PROMPT_NAME"
    )
    default_prompt: str = setting(
        "", "text put before every text that names no prompt", alias="DEFAULT_PROMPT"
    )
    token_ids: str = setting(
        "accept",
        "requests with token ids: langchain sends another tokenizer's by default",
        choices=("accept", "refuse"),
    )
    request_timeout_ms: int = setting(60_000, "deadline of a request that sets none, ms", minimum=1)


@dataclass(frozen=True)
class BatchingSettings:
    """How rows become batches."""

    max_batch_tokens: int = setting(
        256,
        "tokens a batch; 256 to 1024 is fastest on a CPU, a GPU wants 16384",
        alias="MAX_BATCH_TOKENS",
        minimum=1,
    )
    max_batch_rows: int = setting(
        0, "rows a batch; 0: only the tokens count", alias="MAX_BATCH_REQUESTS", minimum=0
    )
    max_queue_delay_ms: float = setting(
        0.0, "how long an idle engine waits for a fuller batch, ms", minimum=0
    )
    max_queue_tokens: int = setting(
        131_072, "tokens that may wait; beyond them 429 (about 10 s of two cores)", minimum=1
    )
    max_concurrent_requests: int = setting(
        4096,
        "requests in the server at once; beyond them 429",
        alias="MAX_CONCURRENT_REQUESTS",
        minimum=1,
    )
    query_tokens: int = setting(
        512, "requests with more tokens are ingest unless they say otherwise", minimum=0
    )
    ingest_share: float = setting(
        0.25,
        "share of the engine that ingest keeps while queries wait; more would starve queries",
        minimum=0,
        maximum=0.9,
    )
    engine_timeout_s: float = setting(
        120.0, "a batch that runs longer means a hung engine: the process is replaced", minimum=1
    )


@dataclass(frozen=True)
class ServerSettings:
    """Ports, shutdown, logs."""

    host: str = setting("0.0.0.0", "address to listen on (never taken from HOSTNAME)")
    http_port: int = setting(8080, "REST port", minimum=0, maximum=65535)
    grpc_port: int = setting(8081, "gRPC port", minimum=0, maximum=65535)
    enable_grpc: bool = setting(True, "serve gRPC")
    drain_delay: float = setting(
        5.0, "after SIGTERM, seconds of 503 before the listeners close", minimum=0
    )
    grace_period: float = setting(
        30.0, "after that, seconds for accepted requests to finish", minimum=1
    )
    log_format: str = setting(
        "auto", "json, text, or text on a terminal only", choices=("auto", "json", "text")
    )
    log_level: str = setting(
        "info", "least severity logged", choices=("debug", "info", "warning", "error")
    )
    access_log: bool = setting(False, "one line a request: ids, sizes and times, never a text")
    access_log_rate: int = setting(
        100, "most such lines a second, errors of the server not counted", minimum=1
    )
    tracing: str = setting(
        "auto",
        "send spans to an OpenTelemetry collector, as OTEL_* say; auto: if "
        "OTEL_EXPORTER_OTLP_ENDPOINT is set; needs '.[otel]'",
        choices=("auto", "otlp", "off"),
    )
    metrics_compat: str = setting(
        "", "metrics under the names of TEI (te) and Triton (nv) too: te, nv or te,nv"
    )
    page: bool = setting(
        True,
        "serve browsers a page at /, and its figures at /page.json; like /metrics without keys",
    )
