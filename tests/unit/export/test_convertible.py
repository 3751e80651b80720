"""The table that a server reads without onnx is that of the builders."""

import subprocess
import sys

from predictor.export.convertible import CONVERTIBLE
from predictor.export.families import FAMILIES


def test_the_convertible_model_types_are_those_that_have_a_builder() -> None:
    assert tuple(FAMILIES) == CONVERTIBLE


def test_what_a_server_imports_for_a_bundle_needs_neither_onnx_nor_safetensors() -> None:
    script = (
        "import sys, predictor.export.convert, predictor.export.convertible, predictor.repository\n"
        "print(sorted({'onnx', 'safetensors', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
