"""The servers beside ours, each started as its users start it.

Where a default would be wrong rather than slow (Infinity takes CLS pooling for a mean-pooled
model), the right value is given.
"""

from pathlib import Path

from .servers import MODEL, V2, ServerSpec
from .wrk import RequestTemplate

INFINITY_OPENAI = RequestTemplate("/embeddings", f'{{"model":"{MODEL}","input":[', "]}")


def infinity(python: Path, model_dir: Path, home: Path) -> ServerSpec:
    """Started in the model's directory, with `.` as its name: this optimum wants the graph's bare
    file name, and Infinity hands it the path that it found.
    """
    return ServerSpec(
        "infinity",
        [
            str(python.with_name("infinity_emb").absolute()),
            "v2",
            "--model-id=.",
            f"--served-model-name={MODEL}",
            "--engine=optimum",
            "--device=cpu",
            "--pooling-method=mean",
            "--host=127.0.0.1",
            "--port={http}",
        ],
        "/health",
        INFINITY_OPENAI,
        {
            "DO_NOT_TRACK": "1",
            "INFINITY_ANONYMOUS_USAGE_STATS": "0",
            "HF_HUB_OFFLINE": "1",
            "HF_HOME": str(home.absolute()),
        },
        folder=model_dir,
    )


def fused_graph(home: Path) -> Path:
    """Where Infinity looks for the fused graph of the model `.`."""
    return home / "hub" / "infinity_onnx" / "CPUExecutionProvider"


def naive(python: Path, model_dir: Path, backend: str, *flags: str) -> ServerSpec:
    return ServerSpec(
        f"naive-{backend}",
        [
            str(python),
            "-m",
            "hack.bench.naive_server",
            f"--model-dir={model_dir}",
            f"--backend={backend}",
            f"--model_name={MODEL}",
            "--http_port={http}",
            "--grpc_port={grpc}",
            *flags,
        ],
        f"/v2/models/{MODEL}/ready",
        V2,
        {"HF_HUB_OFFLINE": "1"},
    )
