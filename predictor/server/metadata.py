"""What is served here, told in each protocol's words; and TEI's tokenizer tools."""

import time
from typing import Any

from predictor import __version__
from predictor.errors import BatchTooLarge
from predictor.protocols import tei, v2
from predictor.protocols.wire import Encoded, encode_json
from predictor.server.inference import Inference
from predictor.server.model import EmbeddingModel
from predictor.settings import Settings

_STARTED = int(time.time())


def server_metadata() -> dict[str, Any]:
    return {"name": "predictor", "version": __version__, "extensions": ["binary_tensor_data"]}


def model_metadata(inference: Inference, name: str, version: str) -> dict[str, Any]:
    """V2's model metadata. Raises ModelNotFound."""
    model = inference.models.find(name, version)
    versions = [version] if version else inference.models.versions(model.name)
    return v2.model_metadata(model.name, versions, model.loaded.bundle.dimensions)


def readiness(inference: Inference, name: str, version: str) -> dict[str, Any]:
    """Whether the server, or one model, would answer now; and what is not served, and why.

    Raises:
        ModelNotFound: there is no such model or version.
        NotReady: there is, and no version of it answers.
    """
    unavailable = [
        {"name": entry.name, "version": entry.version, "reason": entry.reason}
        for entry in inference.models.problems()
        if not name or entry.name == name.partition(":")[0]
    ]
    if not name:
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
        ModelNotFound, NotReady: nobody answers for that name.
    """
    model = inference.models.find(name)
    return {
        "id": name,
        "object": "model",
        "created": _STARTED,
        "owned_by": "predictor",
        "name": model.name,
        "ready": inference.ready,
    }


def openai_models(inference: Inference) -> dict[str, Any]:
    """The models that answer: each by its name, and by `name:version` where several versions do."""
    models = inference.models
    ids: list[str] = []
    for name in models.names():
        versions = models.versions(name)
        ids += [name] if versions else []
        ids += [f"{name}:{version}" for version in versions] if len(versions) > 1 else []
    return {
        "object": "list",
        "data": [openai_model(inference, name) for name in ids],
        "models": models.names(),
    }


# TEI's names of what we call a variant.
TEI_DTYPES = {"fp32": "float32", "fp16": "float16"}


def tei_info(inference: Inference, settings: Settings, name: str) -> dict[str, Any]:
    """TEI's /info (router/src/lib.rs, `Info`) of one model. Raises ModelNotFound, NotReady."""
    model = inference.models.find(name)
    bundle = model.loaded.bundle
    return {
        "model_id": model.name,
        "model_sha": model.revision,
        "model_dtype": TEI_DTYPES.get(model.loaded.variant, model.loaded.variant),
        "served_model_name": model.name,
        "model_type": {"embedding": {"pooling": bundle.pooling.value}},
        "max_concurrent_requests": settings.batching.max_concurrent_requests,
        "max_input_length": bundle.max_length,
        "max_batch_tokens": settings.batching.max_batch_tokens,
        "max_batch_requests": settings.batching.max_batch_rows or None,
        "max_client_batch_size": settings.request.max_client_batch_size,
        "auto_truncate": settings.request.auto_truncate,
        "tokenization_workers": settings.model.tokenization_workers or model.loaded.engine.threads,
        "version": __version__,
        "sha": None,
        "docker_label": None,
    }


def tokenize(model: EmbeddingModel, body: bytes) -> Encoded:
    """TEI's /tokenize. Raises InvalidInput (or a subclass)."""
    request = tei.decode_tokenize(body)
    _check_count(model, len(request.inputs))
    prompt = model.prompt_for(request.prompt_name)
    tokenizer = model.loaded.tokenizer
    return tei.encode_tokenize(
        [
            tokenizer.pieces(prompt + text, add_special_tokens=request.add_special_tokens)
            for text in request.inputs
        ]
    )


def decode(model: EmbeddingModel, body: bytes) -> Encoded:
    """TEI's /decode. Raises InvalidInput (or a subclass)."""
    rows, skip = tei.decode_decode(body)
    _check_count(model, len(rows))
    tokenizer = model.loaded.tokenizer
    return Encoded(encode_json([tokenizer.decode(row, skip_special_tokens=skip) for row in rows]))


def _check_count(model: EmbeddingModel, count: int) -> None:
    limit = model.max_inputs
    if count > limit:
        raise BatchTooLarge(f"{count} inputs; the limit is {limit} a request")
