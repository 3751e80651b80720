"""What is served here, told in each protocol's words; and TEI's tokenizer tools."""

import time
from typing import Any

from predictor import __version__
from predictor.errors import BatchTooLarge
from predictor.protocols import tei, v2
from predictor.protocols.wire import Encoded, encode_json
from predictor.server.inference import Inference
from predictor.settings import Settings

_STARTED = int(time.time())


def server_metadata() -> dict[str, Any]:
    return {"name": "predictor", "version": __version__, "extensions": ["binary_tensor_data"]}


def model_metadata(inference: Inference, name: str, version: str) -> dict[str, Any]:
    """V2's model metadata. Raises ModelNotFound."""
    model = inference.model(name, version)
    return v2.model_metadata(model.name, model.version, model.loaded.bundle.dimensions)


def openai_model(inference: Inference, name: str) -> dict[str, Any]:
    """OpenAI's model object, and KServe V1's readiness in the same answer. Raises ModelNotFound."""
    model = inference.model(name)
    return {
        "id": model.name,
        "object": "model",
        "created": _STARTED,
        "owned_by": "predictor",
        "name": model.name,
        "ready": inference.ready,
    }


def openai_models(inference: Inference) -> dict[str, Any]:
    names = inference.names()
    return {
        "object": "list",
        "data": [openai_model(inference, name) for name in names],
        "models": names,
    }


# TEI's names of what we call a variant.
TEI_DTYPES = {"fp32": "float32", "fp16": "float16"}


def tei_info(inference: Inference, settings: Settings) -> dict[str, Any]:
    """TEI's /info (router/src/lib.rs, `Info`) for the default model."""
    model = inference.model("")
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


def tokenize(inference: Inference, body: bytes) -> Encoded:
    """TEI's /tokenize. Raises InvalidInput (or a subclass)."""
    request = tei.decode_tokenize(body)
    model = inference.model("")
    _check_count(inference, len(request.inputs))
    prompt = model.prompt_for(request.prompt_name)
    tokenizer = model.loaded.tokenizer
    return tei.encode_tokenize(
        [
            tokenizer.pieces(prompt + text, add_special_tokens=request.add_special_tokens)
            for text in request.inputs
        ]
    )


def decode(inference: Inference, body: bytes) -> Encoded:
    """TEI's /decode. Raises InvalidInput (or a subclass)."""
    rows, skip = tei.decode_decode(body)
    _check_count(inference, len(rows))
    tokenizer = inference.model("").loaded.tokenizer
    return Encoded(encode_json([tokenizer.decode(row, skip_special_tokens=skip) for row in rows]))


def _check_count(inference: Inference, count: int) -> None:
    limit = inference.model("").max_inputs
    if count > limit:
        raise BatchTooLarge(f"{count} inputs; the limit is {limit} a request")
