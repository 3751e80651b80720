"""Every setting once: flag, environment variables, unit and the reason for the default.

Read once at start, frozen, handed down by slice. A flag beats `PREDICTOR_<NAME>`, which beats the
name other servers use for it (TEI's), which beats the default. KServe's own flags keep their
spelling; each flag may be written with dashes or underscores.
"""

import argparse
import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from predictor.errors import BadSetting
from predictor.types import Pooling

KSERVE_MOUNT = "/mnt/models"


def setting(
    default: Any,
    help_text: str,
    *,
    alias: str | None = None,
    alias_values: Mapping[str, str] | None = None,
    choices: Sequence[str] | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
) -> Any:
    """A field with its documentation.

    alias is another server's environment variable, alias_values what its values are called here.
    """
    return dataclasses.field(
        default=default,
        metadata={
            "help": help_text,
            "alias": alias,
            "alias_values": alias_values or {},
            "choices": choices,
            "minimum": minimum,
            "maximum": maximum,
        },
    )


@dataclass(frozen=True)
class ModelSettings:
    """Which model, and how it is loaded."""

    model_dir: str = setting(
        KSERVE_MOUNT, "model to serve: a bundle, a Hugging Face directory, or numbered versions"
    )
    model_name: str = setting(
        "model", "name in URLs and requests (KServe's --model_name)", alias="SERVED_MODEL_NAME"
    )
    cache_dir: str = setting(
        "/tmp/predictor-cache",
        "where converted bundles are kept; /tmp is there on a read-only root",
    )
    no_convert: bool = setting(False, "serve onnx/model.onnx as it is, even if weights are there")
    pooling: str = setting(
        "auto",
        "override the model's pooling",
        alias="POOLING",
        choices=("auto", *(p.value for p in Pooling)),
    )
    variant: str = setting(
        "auto",
        "which of the bundle's graphs to run; auto: on CUDA fp16, on a CPU int8, where the bundle "
        "has it and it proves itself on this machine, else fp32",
        alias="DTYPE",
        alias_values={"float32": "fp32", "float16": "fp16"},
        choices=("auto", "fp32", "int8", "int8-weights", "fp16"),
    )
    device: str = setting("auto", "where to run", choices=("auto", "cpu", "cuda"))
    threads: int = setting(
        0, "threads of the engine; 0: the CPUs that affinity and cgroup allow", minimum=0
    )
    tokenization_workers: int = setting(
        0,
        "threads that tokenise long requests; 0: as --threads",
        alias="TOKENIZATION_WORKERS",
        minimum=0,
    )
    null_engine: bool = setting(False, "answer constant vectors, to measure the server alone")


@dataclass(frozen=True)
class RepositorySettings:
    """Which versions are served, and how changes are found."""

    version_policy: str = setting(
        "latest:1",
        "versions to serve: latest:N, all or specific:1,3; for one model after ';': "
        "latest:1; minilm=specific:1,3",
    )
    default_model: str = setting(
        "",
        "model of requests that name none (TEI); empty: the only one, or the one of --model_name",
    )
    poll_interval: float = setting(
        0.0,
        "seconds between looks for new, changed and removed versions; 0: only SIGHUP and the "
        "repository API, as under KServe the model never changes",
        minimum=0,
    )
    memory_limit_mb: int = setting(
        0,
        "memory of the process that a version to be loaded must fit into, MiB; 0: 90 % of the "
        "cgroup's limit, so that loading never gets the process killed",
        minimum=0,
    )
    warm_versions: int = setting(
        1,
        "versions kept loaded after they were replaced, the last used first, as far as memory "
        "allows; one makes the way back instant",
        minimum=0,
    )
    pin_versions: str = setting("", "versions that stay loaded once they were: m:1,other:3")
    model_uri: str = setting(
        "",
        "fetch the model or repository from here (s3://, gs://, hf://, https://, ...) instead of "
        "--model-dir; needs '.[storage]'. Under KServe use storageUri",
    )
    download_timeout_s: float = setting(
        600.0, "a fetch of --model-uri that takes longer is stopped, seconds", minimum=1
    )


@dataclass(frozen=True)
class CacheSettings:
    """The cache of embeddings, by what is run: bundle, variant and token ids."""

    cache_mb: float = setting(
        64.0,
        "memory for cached vectors, MiB; about 32 000 of 384 dimensions; 0: no cache",
        minimum=0,
    )
    cache_ttl_s: float = setting(
        0.0, "seconds a vector is kept; 0: until evicted, as it is never wrong", minimum=0
    )
    cache_dtype: str = setting(
        "fp32",
        "fp16 holds 1.6 times as many of 384 dimensions, cosine 0.9999999 to the same",
        choices=("fp32", "fp16"),
    )
    cache_redis_url: str = setting(
        "", "second tier that pods share: redis://, rediss:// or unix://; empty: none"
    )
    cache_redis_timeout_ms: float = setting(
        50.0,
        "most that a request waits for Redis, ms; a round trip takes 0.2 on a quiet machine and 7 "
        "under load, when computing takes 100",
        minimum=0.1,
    )
    cache_redis_ttl_s: int = setting(
        604_800, "seconds a vector is kept in Redis; a week", minimum=1
    )


@dataclass(frozen=True)
class DriftSettings:
    """Whether the vectors are still right."""

    canonical_interval: float = setting(
        300.0,
        "seconds between two comparisons of the canonical texts, as they are served, with the "
        "bundle's vectors, the first one at once; 36 short texts at ingest's priority; 0: none",
        minimum=0,
    )
    drift_window: float = setting(
        900.0,
        "shortest window, seconds (and at least 1000 texts), in which a sample of the traffic is "
        "compared with the version's reference; 0: the traffic is not watched",
        minimum=0,
    )
    drift_learn: float = setting(
        86400.0,
        "seconds of traffic that make a version's reference, where none is there",
        minimum=0,
    )
    drift_dir: str = setting(
        "",
        "where references and latest windows are kept (no texts, but projected vectors); several "
        "pods may share it; empty: a folder of --cache-dir",
    )


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


@dataclass(frozen=True)
class Settings:
    model: ModelSettings = dataclasses.field(default_factory=ModelSettings)
    request: RequestSettings = dataclasses.field(default_factory=RequestSettings)
    batching: BatchingSettings = dataclasses.field(default_factory=BatchingSettings)
    server: ServerSettings = dataclasses.field(default_factory=ServerSettings)
    repository: RepositorySettings = dataclasses.field(default_factory=RepositorySettings)
    cache: CacheSettings = dataclasses.field(default_factory=CacheSettings)
    drift: DriftSettings = dataclasses.field(default_factory=DriftSettings)
    access: AccessSettings = dataclasses.field(default_factory=AccessSettings)


GROUPS = {
    "model": ModelSettings,
    "repository": RepositorySettings,
    "request": RequestSettings,
    "batching": BatchingSettings,
    "cache": CacheSettings,
    "drift": DriftSettings,
    "access": AccessSettings,
    "server": ServerSettings,
}


def add_flags(parser: argparse.ArgumentParser) -> None:
    """One flag a setting, in groups; a flag that is not given leaves no trace in the namespace."""
    for group in GROUPS.values():
        section = parser.add_argument_group((group.__doc__ or "").rstrip("."))
        for field in dataclasses.fields(group):
            names = list(dict.fromkeys([_flag(field.name, "-"), _flag(field.name, "_")]))
            section.add_argument(
                *names,
                dest=field.name,
                default=argparse.SUPPRESS,
                metavar=_metavar(field),
                help=_help(field),
                nargs="?" if field.type is bool else None,
                const="true" if field.type is bool else None,
            )


def _flag(name: str, separator: str) -> str:
    return "--" + name.replace("_", separator)


def _metavar(field: dataclasses.Field[Any]) -> str:
    choices = field.metadata["choices"]
    if choices:
        return "{" + ",".join(choices) + "}"
    kinds: dict[Any, str] = {bool: "BOOL", int: "N", float: "X"}
    return kinds.get(field.type, "TEXT")


def _help(field: dataclasses.Field[Any]) -> str:
    names = [f"PREDICTOR_{field.name.upper()}"]
    if field.metadata["alias"]:
        names.append(field.metadata["alias"])
    shown = "''" if field.default == "" else str(field.default).lower()
    return f"{field.metadata['help']} [default {shown}; {', '.join(names)}]".replace("%", "%%")


def read_settings(
    flags: Mapping[str, str], environment: Mapping[str, str] = os.environ
) -> Settings:
    """Settings from parsed flags (texts by field name) and the environment.

    Raises:
        BadSetting: a value is not of its type, not one of its choices, or out of its bounds.
    """
    groups = {
        name: group(
            **{field.name: _value(field, flags, environment) for field in dataclasses.fields(group)}
        )
        for name, group in GROUPS.items()
    }
    return Settings(**groups)


def _value(
    field: dataclasses.Field[Any], flags: Mapping[str, str], environment: Mapping[str, str]
) -> Any:
    own = f"PREDICTOR_{field.name.upper()}"
    alias = field.metadata["alias"] or ""
    if field.name in flags:
        return _parse(field, flags[field.name], _flag(field.name, "-"))
    for variable in (own, alias):
        text = environment.get(variable, "")
        if text != "":
            if variable == alias:
                text = field.metadata["alias_values"].get(text, text)
            return _parse(field, text, variable)
    return field.default


def _parse(field: dataclasses.Field[Any], text: str, origin: str) -> Any:
    choices, minimum = field.metadata["choices"], field.metadata["minimum"]
    kind: Any = field.type
    if kind is bool:
        if text.lower() not in {"true", "false", "1", "0"}:
            raise BadSetting(f"{origin}: {text!r} is not true or false")
        return text.lower() in {"true", "1"}
    try:
        value = kind(text)
    except ValueError as error:
        raise BadSetting(f"{origin}: {text!r} is not a number") from error
    if choices and value not in choices:
        raise BadSetting(f"{origin}: {text!r} is not one of {', '.join(choices)}")
    if minimum is not None and not value >= minimum:
        raise BadSetting(f"{origin}: {text} is under the minimum {minimum}")
    maximum = field.metadata["maximum"]
    if maximum is not None and value > maximum:
        raise BadSetting(f"{origin}: {text} is over the maximum {maximum}")
    return value


def model_path(settings: ModelSettings) -> Path:
    """The model directory as a path.

    Raises:
        BadSetting: it does not exist.
    """
    path = Path(settings.model_dir)
    if not path.is_dir():
        raise BadSetting(
            f"--model-dir {path}: no such directory (under KServe the storage initializer puts the "
            f"model at {KSERVE_MOUNT})"
        )
    return path
