"""Embedding as V2 tensors: `text` BYTES `[N]` in, `embedding` FP32 `[N, dim]` out."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from predictor.bundle.manifest import Bundle
from predictor.protocols.v2_tensors import InferParameters, OutputTensor, TensorSpec, options_of
from predictor.tasks.embed import EmbedRequest, EmbedResult

INPUT = "text"
OUTPUT = "embedding"


class EmbedTensors:
    """See `TensorForm`."""

    task: ClassVar[str] = "embed"
    inputs: ClassVar[Sequence[str]] = (INPUT,)
    outputs: ClassVar[Mapping[str, str]] = {OUTPUT: "FP32"}

    def request(self, texts: Mapping[str, list[str]], parameters: InferParameters) -> EmbedRequest:
        """See `TensorForm.request`."""
        return EmbedRequest(
            inputs=texts[INPUT],
            **parameters.embed_options(),
            **options_of(parameters),
        )

    def tensors(self, result: EmbedResult) -> list[OutputTensor]:
        """See `TensorForm.tensors`."""
        return [OutputTensor(OUTPUT, "FP32", result.vectors)]

    def described(self, bundle: Bundle) -> tuple[list[TensorSpec], list[TensorSpec]]:
        """See `TensorForm.described`."""
        takes = [TensorSpec(INPUT, "BYTES", (-1,))]
        return takes, [TensorSpec(OUTPUT, "FP32", (-1, bundle.dimensions))]
