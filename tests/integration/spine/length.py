"""A second task, as small as one can be: the number of tokens of each text. No engine is run.

It is all that a new task needs: the task, its tensors for V2, and a line where an application is
put together (`conftest.py`).
"""

from collections.abc import Mapping, Sequence, Sized
from typing import Any, ClassVar

import numpy as np

from predictor.bundle.manifest import Bundle
from predictor.protocols.v2_tensors import InferParameters, OutputTensor, TensorSpec, options_of
from predictor.server.application import Capability
from predictor.tasks import ModelContext, Task, TaskRequest, TaskResult
from predictor.types import EngineOutput, Tokens


class LengthRequest(TaskRequest, kw_only=True):
    """Texts to count the tokens of."""

    texts: list[str]


class LengthResult(TaskResult, kw_only=True):
    """The number of tokens of each text."""

    lengths: list[int]


class LengthTask(Task[LengthRequest, LengthResult]):
    """Counts tokens."""

    name: ClassVar[str] = "length"
    output: ClassVar[EngineOutput | None] = None

    def check(self, request: LengthRequest, model: ModelContext) -> None:
        model.check_count(len(request.texts))

    def inputs(self, request: LengthRequest) -> Sequence[Sized]:
        return request.texts

    def rows(self, request: LengthRequest, model: ModelContext) -> Tokens:
        return Tokens(model.token_ids(request.texts))

    def result(
        self, request: LengthRequest, tokens: Tokens, output: Any, model: ModelContext
    ) -> LengthResult:
        return LengthResult(
            lengths=[len(row) for row in tokens.ids],
            tokens=tokens.total,
            truncated=[],
            model=model.name,
            version=model.version,
            revision=model.revision,
        )


class LengthTensors:
    """`text` BYTES `[N]` in, `length` INT64 `[N]` out."""

    task: ClassVar[str] = "length"
    inputs: ClassVar[Sequence[str]] = ("text",)
    outputs: ClassVar[Mapping[str, str]] = {"length": "INT64"}

    def request(self, texts: Mapping[str, list[str]], parameters: InferParameters) -> LengthRequest:
        return LengthRequest(texts=texts["text"], **options_of(parameters))

    def tensors(self, result: LengthResult) -> list[OutputTensor]:
        return [OutputTensor("length", "INT64", np.array(result.lengths, dtype=np.int64))]

    def described(self, bundle: Bundle) -> tuple[list[TensorSpec], list[TensorSpec]]:
        del bundle
        return [TensorSpec("text", "BYTES", (-1,))], [TensorSpec("length", "INT64", (-1,))]


LENGTH = Capability(LengthTask(), LengthTensors())
