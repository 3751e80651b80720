"""One V2 request over gRPC, as a client sends it."""

from typing import Any

import numpy as np


def infer(address: str, host: str | None, text: str, **headers: str) -> Any:
    """The whole ModelInferResponse.

    Args:
        host: what the gateway routes by; None without one.
        headers: `x_version` is sent as `x-version`.
    """
    import grpc
    from tritonclient.grpc import service_pb2, service_pb2_grpc

    options = [] if host is None else [("grpc.default_authority", host)]
    metadata = [(name.replace("_", "-"), value) for name, value in headers.items()]
    with grpc.insecure_channel(address, options) as channel:
        request = service_pb2.ModelInferRequest(model_name="minilm")
        tensor = request.inputs.add(name="text", datatype="BYTES", shape=[1])
        tensor.contents.bytes_contents.append(text.encode())
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        return stub.ModelInfer(request, timeout=20, metadata=metadata)


def vector_of(reply: Any) -> list[float]:
    (output,) = reply.outputs
    floats: list[float] = np.frombuffer(reply.raw_output_contents[0], "<f4").tolist() if (
        reply.raw_output_contents
    ) else list(output.contents.fp32_contents)  # fmt: skip
    return floats
