"""The parts of KServe's SDK that are used, imported without its two side effects.

It parses `sys.argv` at import, with abbreviations on, and would exit or misread our flags; so it
sees an empty command line, and our settings are handed to its constructors. And it imports pandas
for type annotations alone: 35 MB and 0.15 s for a path that is never taken here. pandas is replaced
while KServe is imported by a module that loads the real one when something of it is used.
"""

import importlib
import sys
from types import ModuleType
from typing import Any


class _DeferredPandas(ModuleType):
    """Stands for pandas: a placeholder type while KServe's annotations are read, then the real."""

    reading_annotations = True

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return object if self.reading_annotations else getattr(_real_pandas(), name)


def _real_pandas() -> ModuleType:
    """Where it is installed; the image leaves it out, as nothing here takes that path."""
    return importlib.import_module("pandas")


def _import_kserve() -> None:
    deferred = None
    if "pandas" not in sys.modules:
        deferred = sys.modules["pandas"] = _DeferredPandas("pandas")
    argv, sys.argv = sys.argv, sys.argv[:1]
    try:
        importlib.import_module("kserve.model")
        importlib.import_module("kserve.protocol.grpc.grpc_predict_v2_pb2_grpc")
    finally:
        sys.argv = argv
        if deferred is not None:
            deferred.reading_annotations = False
            del sys.modules["pandas"]


_import_kserve()

from kserve import Model  # noqa: E402
from kserve.model import InferenceVerb  # noqa: E402
from kserve.protocol.grpc import grpc_predict_v2_pb2 as messages  # noqa: E402
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as services  # noqa: E402

__all__ = ["InferenceVerb", "Model", "messages", "services"]
