"""Requests over every protocol, right and wrong, and the sentences that come back."""

import re
from dataclasses import dataclass
from typing import Any, cast

import grpc
import httpx
import numpy as np
import pytest

from predictor.kserve_sdk import messages
from tests.contract.helpers import MODEL
from tests.deadlines import DEADLINE_S

LIMIT_BYTES = 8 << 20
LIMIT_INPUTS = 2048
VOCABULARY = 30522
LONG = "word " * 300  # 302 tokens, the model takes 256
INFER = f"/v2/models/{MODEL}/infer"
INSIDES = re.compile(r"Traceback|\w+(Error|Exception|Input)\(|File \"|\.py\b|site-packages|/home/")

PATHS = {
    "v1": f"/v1/models/{MODEL}:predict",
    "v2": INFER,
    "openai": "/v1/embeddings",
    "tei": "/embed",
    "cohere": "/v2/embed",
}
rest_protocols = pytest.mark.parametrize("protocol", PATHS)
all_protocols = pytest.mark.parametrize("protocol", [*PATHS, "grpc"])


def show_nothing_of_the_insides(text: str) -> None:
    match = INSIDES.search(text)
    assert match is None, f"{match[0]!r} in {text[:500]}"


def body(protocol: str, inputs: Any, model: str = MODEL) -> dict[str, Any]:
    """A request for these inputs, whatever they are."""
    if protocol == "v1":
        return {"instances": inputs}
    if protocol == "v2":
        count = len(inputs) if isinstance(inputs, list) else 1
        return {"inputs": [{"name": "text", "shape": [count], "datatype": "BYTES", "data": inputs}]}
    if protocol == "openai":
        return {"model": model, "input": inputs}
    if protocol == "tei":
        return {"inputs": inputs}
    return {"model": model, "texts": inputs}


def with_parameters(protocol: str, inputs: Any, **parameters: Any) -> dict[str, Any]:
    """The same with parameters, where this protocol has them."""
    whole = body(protocol, inputs)
    return whole | ({"parameters": parameters} if protocol in ("v1", "v2") else parameters)


def message_of(protocol: str, response: httpx.Response) -> str:
    """The error's sentence; asserts that the error has this protocol's shape."""
    assert response.headers["content-type"] == "application/json"
    content = response.json()
    if protocol == "openai":
        assert list(content) == ["error"]
        assert set(content["error"]) == {"message", "type", "param", "code"}
        return str(content["error"]["message"])
    if protocol == "tei":
        assert set(content) == {"error", "error_type"}
        return str(content["error"])
    if protocol == "cohere":
        assert set(content) == {"message", "id"}
        return str(content["message"])
    assert list(content) == ["error"]
    return str(content["error"])


def validation_status(protocol: str) -> int:
    """What a protocol answers to JSON that does not say what it should."""
    return 422 if protocol == "tei" else 400


def infer_message(*texts: str | bytes, **changes: Any) -> Any:
    """A ModelInferRequest with typed contents."""
    message = messages.ModelInferRequest(
        model_name=changes.get("model", MODEL), model_version=changes.get("version", "")
    )
    tensor = message.inputs.add(
        name=changes.get("name", "text"),
        datatype=changes.get("datatype", "BYTES"),
        shape=changes.get("shape", [len(texts)]),
    )
    raw = (text.encode() if isinstance(text, str) else text for text in texts)
    tensor.contents.bytes_contents.extend(raw)
    return message


@dataclass(frozen=True)
class Refusal:
    code: grpc.StatusCode
    message: str
    trailing: dict[str, str]


def refused(stub: Any, message: Any, **options: Any) -> Refusal:
    """The error that a ModelInfer ends with."""
    with pytest.raises(grpc.RpcError) as raised:
        stub.ModelInfer(message, timeout=DEADLINE_S, **options)
    error = cast(grpc.Call, raised.value)
    refusal = Refusal(error.code(), error.details() or "", dict(error.trailing_metadata() or ()))
    show_nothing_of_the_insides(refusal.message)
    return refusal


def vectors_of(protocol: str, http: httpx.Client, stub: Any, text: str) -> Any:
    """The one text's vector over any protocol."""
    if protocol == "grpc":
        answer = stub.ModelInfer(infer_message(text), timeout=DEADLINE_S)
        return np.frombuffer(answer.raw_output_contents[0], "<f4")
    response = http.post(PATHS[protocol], json=body(protocol, [text]))
    assert response.status_code == 200, response.text
    content = response.json()
    if protocol == "v1":
        return content["predictions"][0]
    if protocol == "v2":
        return content["outputs"][0]["data"]
    if protocol == "openai":
        return content["data"][0]["embedding"]
    return content[0] if protocol == "tei" else content["embeddings"]["float"][0]
