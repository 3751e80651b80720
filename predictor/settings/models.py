"""What is served, what of it is kept, and what is watched."""

from dataclasses import dataclass
from pathlib import Path

from predictor.errors import BadSetting
from predictor.settings.field import setting
from predictor.types import Pooling

KSERVE_MOUNT = "/mnt/models"


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
