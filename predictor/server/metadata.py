"""The served models, described in the form of each protocol; REST and gRPC share this."""

import contextlib
import time
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from predictor import __version__
from predictor.protocols import ollama
from predictor.protocols.v2_tensors import model_metadata as v2_model_metadata
from predictor.server.inference import Inference
from predictor.settings import Settings

_STARTED = int(time.time())


def server_metadata() -> dict[str, Any]:
    return {"name": "predictor", "version": __version__, "extensions": ["binary_tensor_data"]}


def model_metadata(inference: Inference, name: str, version: str) -> dict[str, Any]:
    """V2's model metadata. Raises ModelNotFound."""
    model = inference.models.find(name, version)
    versions = [version] if version else inference.models.versions(model.name)
    forms = [inference.tensors[task] for task in model.task_names if task in inference.tensors]
    return v2_model_metadata(model.name, versions, forms, model.loaded.bundle)


def model_parameters(inference: Inference, name: str, version: str) -> dict[str, Any]:
    """Revision and configuration of a model, beside its V2 metadata. Raises ModelNotFound."""
    model = inference.models.find(name, version)
    configuration = model.context.configuration.described()
    return {"revision": model.revision, "configuration": configuration}


def readiness(inference: Inference, name: str, version: str) -> dict[str, Any]:
    """Whether the server, or one model, can answer now; and the versions not served, and why.

    Raises:
        ModelNotFound: there is no such model or version.
        NotReady: the model exists, but no version of it is ready.
    """
    unavailable = [
        {"name": entry.name, "version": entry.version, "reason": entry.reason}
        for entry in inference.models.problems()
        if not name or entry.name == name.partition(":")[0]
    ]
    if not name:
        unavailable += [
            {"name": listener, "version": "", "reason": reason}
            for listener, reason in inference.health.problems()
        ]
        return {"ready": inference.ready, "unavailable": unavailable}
    model = inference.models.find(name, version)
    return {
        "name": model.name,
        "version": model.version,
        "ready": not inference.draining and model.is_healthy,
        "unavailable": unavailable,
    }


def openai_model(inference: Inference, name: str) -> dict[str, Any]:
    """OpenAI's model object, and KServe V1's readiness in the same answer.

    Raises:
        ModelNotFound, NotReady: no version of that name can answer.
    """
    model = inference.models.find(name)
    return {
        "id": name,
        "object": "model",
        "created": _STARTED,
        "owned_by": "predictor",
        "name": model.name,
        "ready": inference.ready,
        "revision": model.revision,
        "configuration": model.context.configuration.described(),
    }


def openai_models(inference: Inference) -> dict[str, Any]:
    """The models that answer: each by its name, and by `name:version` where several versions do."""
    return {
        "object": "list",
        "data": [openai_model(inference, name) for name in _answering(inference)],
        "models": inference.models.names(),
    }


def _answering(inference: Inference) -> list[str]:
    """The names of the models that answer, with those of their versions if there are several."""
    models = inference.models
    names: list[str] = []
    for name in models.names():
        versions = models.versions(name)
        names += [name, *models.aliases.get(name, ())] if versions else []
        names += [f"{name}:{version}" for version in versions] if len(versions) > 1 else []
    return names


def ollama_tags(inference: Inference) -> dict[str, Any]:
    """Ollama's list of models (api/types.go, `ListResponse`): those that `/v1/models` lists."""
    return {"models": [_ollama_tag(inference, name) for name in _answering(inference)]}


def _ollama_tag(inference: Inference, name: str) -> dict[str, Any]:
    model = inference.models.find(name)
    loaded = model.loaded
    tag = name if ":" in name else name + ollama.LATEST
    return {
        "name": tag,
        "model": tag,
        "modified_at": datetime.fromtimestamp(_STARTED, UTC).isoformat(),
        "size": _size(loaded.folder, tuple(loaded.bundle.files)),
        "digest": loaded.bundle.digest,
        "details": {
            "parent_model": "",
            "format": "onnx",
            "family": loaded.bundle.family,
            "families": [loaded.bundle.family],
            "parameter_size": "",
            "quantization_level": loaded.variant,
        },
    }


@lru_cache(maxsize=64)  # versions come and go
def _size(folder: Path, names: tuple[str, ...]) -> int:
    """Bytes of a version's files; a file that is gone has none."""
    size = 0
    for name in names:
        with contextlib.suppress(OSError):
            size += (folder / name).stat().st_size
    return size


# TEI's names of what we call a variant.
TEI_DTYPES = {"fp32": "float32", "fp16": "float16"}


def tei_info(inference: Inference, settings: Settings, name: str) -> dict[str, Any]:
    """TEI's /info (router/src/lib.rs, `Info`) of one model. Raises ModelNotFound, NotReady.

    Its clients send as many texts of any length as it says, so it says what the queue takes at
    once. A request may have more texts (`max_client_batch_size` of the settings).
    """
    model = inference.models.find(name)
    bundle = model.loaded.bundle
    return {
        "model_id": model.name,
        "model_sha": model.revision,
        "model_dtype": TEI_DTYPES.get(model.loaded.variant, model.loaded.variant),
        "served_model_name": model.name,
        "model_type": {"embedding": {"pooling": bundle.pooling.value}},
        "configuration": model.context.configuration.described(),
        "max_concurrent_requests": settings.batching.max_concurrent_requests,
        "max_input_length": bundle.max_length,
        "max_batch_tokens": settings.batching.max_batch_tokens,
        "max_batch_requests": settings.batching.max_batch_rows or None,
        "max_client_batch_size": _full_texts(settings, bundle.max_length),
        "auto_truncate": settings.request.auto_truncate,
        "tokenization_workers": settings.model.tokenization_workers or model.loaded.engine.threads,
        "version": __version__,
        "sha": None,
        "docker_label": None,
    }


def _full_texts(settings: Settings, max_length: int) -> int:
    """Texts of the model's length that the ingest lane takes at once."""
    fit = settings.batching.max_queue_tokens // max_length
    return max(1, min(settings.request.max_client_batch_size, fit))
