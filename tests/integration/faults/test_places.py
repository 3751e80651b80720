"""Places and settings that cannot be had."""

import socket
from pathlib import Path

import msgspec
import onnxruntime
import pytest

from predictor.bundle.manifest import read_bundle
from predictor.errors import BadModel
from tests.integration.faults.damaged import (
    convert,
    load,
    serve,
)

# A process of root that may not write everywhere: PR_CAPBSET_DROP (24) of CAP_DAC_OVERRIDE (1).
WITHOUT_OVERRIDE = (
    "-c",
    "import ctypes, os, sys;"
    "ctypes.CDLL(None).prctl(24, 1, 0, 0, 0);"
    "os.execv(sys.executable, [sys.executable, '-m', 'predictor', *sys.argv[1:]])",
)


def test_a_cache_that_cannot_be_written(tiny: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(0o555)
    try:
        code, line = serve(f"--model-dir={tiny}", f"--cache-dir={cache}", through=WITHOUT_OVERRIDE)
    finally:
        cache.chmod(0o755)
    assert code == 1
    assert line == f"{cache}: cannot be written (Permission denied); give --cache-dir"


def test_a_cache_that_is_no_directory(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadModel, match=r"cannot be written \(.+\); give --cache-dir$"):
        load(tiny, tmp_path / "file" / "cache")


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_a_port_that_is_taken(tiny: Path, tmp_path: Path, kind: str) -> None:
    bundle = convert(tiny, tmp_path / "cache")
    other = "grpc" if kind == "http" else "http"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        code, line = serve(f"--model-dir={bundle}", f"--{kind}-port={port}", f"--{other}-port=0")
    assert code == 2
    assert line.startswith(f"cannot listen on 127.0.0.1:{port} ")
    assert ("REST" if kind == "http" else "gRPC") in line


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--bogus"], "error: unrecognized arguments: --bogus"),
        (["--max-queue-token=5"], "error: unrecognized arguments: --max-queue-token=5"),
        (["--http-port=web"], "--http-port: 'web' is not a whole number from 0 to 65535"),
        (["--http-port=-1"], "--http-port: '-1' is not a whole number from 0 to 65535"),
        (["--http-port=99999"], "--http-port"),
        (["--grpc-port=99999"], "--grpc-port"),
        (["--device=tpu"], "--device: 'tpu' is not one of auto, cpu, cuda"),
        (["--auto-truncate=maybe"], "--auto-truncate: 'maybe' is not true or false"),
        (["--max-queue-delay-ms=nan"], "--max-queue-delay-ms: 'nan' is not a number of at least 0"),
        (["--ingest-share=0.95"], "--ingest-share: '0.95' is not a number from 0 to 0.9"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_a_setting_that_cannot_be(tmp_path: Path, flags: list[str], sentence: str) -> None:
    code, line = serve(f"--model-dir={tmp_path}", *flags)
    assert code == 2
    assert sentence in line


def test_a_default_prompt_that_the_model_does_not_have(tiny: Path, tmp_path: Path) -> None:
    bundle = convert(tiny, tmp_path / "cache")
    code, line = serve(f"--model-dir={bundle}", "--default-prompt-name=query")
    assert code == 2
    assert line == "--default-prompt-name query: the model has prompts none"


def test_cuda_where_there_is_none(tiny: Path) -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    code, line = serve(f"--model-dir={tiny}", "--device=cuda")
    assert code == 2
    assert line.startswith("--device cuda: this onnxruntime has no CUDA provider")


def test_pooling_of_a_bundle_cannot_be_changed(tiny: Path, tmp_path: Path) -> None:
    bundle = convert(tiny, tmp_path / "cache")
    assert msgspec.to_builtins(read_bundle(bundle))["pooling"] == "mean"
    code, line = serve(f"--model-dir={bundle}", "--pooling=cls")
    assert code == 2
    assert line.startswith("--pooling: a bundle's pooling is part of its graph")
