"""The model that is served, and how it is run."""

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from predictor.errors import BadSetting
from predictor.settings.fields import alias

KSERVE_MOUNT = "/mnt/models"
DeviceChoice = Literal["auto", "cpu", "cuda"]
VariantChoice = Literal["auto", "fp32", "int8", "int8-weights", "fp16"]
PoolingChoice = Literal[
    "auto", "mean", "cls", "max", "last-token", "weightedmean", "mean_sqrt_len_tokens"
]


class ModelSettings(Struct, frozen=True, kw_only=True):
    """Model: what is served, and how it is run."""

    model_dir: Annotated[
        str,
        Meta(
            description="Directory to serve: a bundle, a Hugging Face directory, a directory of "
            "numbered versions, or a repository (a directory of models).",
        ),
    ] = KSERVE_MOUNT
    model_name: Annotated[
        str,
        Meta(
            min_length=1,
            description="Name of the model in URLs and requests (KServe's --model_name). The "
            "models of a repository are named after their folders.",
            extra=alias("SERVED_MODEL_NAME"),
        ),
    ] = "model"
    model_alias: Annotated[
        tuple[str, ...],
        Meta(
            description="Further name of the model: of the only one, or of that which answers "
            "requests without a name. vLLM's --served-model-name is read as name and aliases.",
        ),
    ] = ()
    cache_dir: Annotated[
        str,
        Meta(
            description="Directory for converted bundles and downloaded models. The default is "
            "under /tmp because the root of a container is often read-only.",
        ),
    ] = "/tmp/predictor-cache"
    require_signature: Annotated[
        str,
        Meta(
            description="File with one or more Ed25519 public keys (PEM). Only bundles that one of "
            "them signed (predictor export --sign) are served.",
        ),
    ] = ""
    no_convert: Annotated[
        bool,
        Meta(
            description="Serve onnx/model.onnx as it is, even if the directory has weights that "
            "could be converted. It is slower than a converted model.",
        ),
    ] = False
    onnx_file: Annotated[
        str,
        Meta(
            description="ONNX file of a Hugging Face directory to serve as it is, relative to the "
            "directory, like onnx/model_quantized.onnx. By default the weights are converted, and "
            "onnx/model.onnx is served where they cannot be.",
        ),
    ] = ""
    pooling: Annotated[
        PoolingChoice,
        Meta(
            description="How token vectors become one vector. auto: as the files of the model "
            "say. A bundle takes auto only, because the pooling is part of its graph.",
            extra=alias("POOLING"),
        ),
    ] = "auto"
    variant: Annotated[
        VariantChoice,
        Meta(
            description="Which graph of the bundle to run. auto: fp16 on CUDA and int8 on a CPU, "
            "if the bundle has it and it reproduces the canonical vectors on this machine; "
            "otherwise fp32.",
            extra=alias("DTYPE", float32="fp32", float16="fp16"),
        ),
    ] = "auto"
    device: Annotated[
        DeviceChoice,
        Meta(description="Where the engine runs. auto: on CUDA if ONNX Runtime supports it here."),
    ] = "auto"
    threads: Annotated[
        int,
        Meta(
            ge=0,
            description="Threads of the engine. 0: as many as the CPUs that the affinity and the "
            "cgroup allow.",
        ),
    ] = 0
    tokenization_workers: Annotated[
        int,
        Meta(
            ge=0,
            description="Threads that tokenise long requests. 0: as many as --threads.",
            extra=alias("TOKENIZATION_WORKERS"),
        ),
    ] = 0
    null_engine: Annotated[
        bool,
        Meta(
            description="Answer with constant vectors and run no model, to measure the server "
            "without an engine.",
        ),
    ] = False
    null_engine_ms: Annotated[
        float,
        Meta(
            ge=0,
            le=10_000,
            description="Milliseconds that each batch takes with --null-engine, as on a device.",
        ),
    ] = 0.0


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
