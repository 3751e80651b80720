"""A model small enough to be damaged in every way, and what a server says of it."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from predictor import repository
from predictor.bundle.source import read_source
from predictor.export.convert import convert_cached
from predictor.settings import ModelSettings
from tests.command import run_command
from tests.deadlines import DEADLINE_S
from tests.integration.test_plain_onnx import VOCABULARY
from tests.serving import FREE_PORTS

HIDDEN, INNER = 16, 32
CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "hidden_size": HIDDEN,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": INNER,
    "vocab_size": len(VOCABULARY),
    "max_position_embeddings": 64,
    "type_vocab_size": 2,
    "pad_token_id": 0,
}


def _linear(name: str, outward: int, inward: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outward, inward), f"{name}.bias": (outward,)}


def _norm(name: str) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (HIDDEN,), f"{name}.bias": (HIDDEN,)}


SHAPES: dict[str, tuple[int, ...]] = {
    "embeddings.word_embeddings.weight": (len(VOCABULARY), HIDDEN),
    "embeddings.position_embeddings.weight": (64, HIDDEN),
    "embeddings.token_type_embeddings.weight": (2, HIDDEN),
    **_norm("embeddings.LayerNorm"),
    **_linear("encoder.layer.0.attention.self.query", HIDDEN, HIDDEN),
    **_linear("encoder.layer.0.attention.self.key", HIDDEN, HIDDEN),
    **_linear("encoder.layer.0.attention.self.value", HIDDEN, HIDDEN),
    **_linear("encoder.layer.0.attention.output.dense", HIDDEN, HIDDEN),
    **_norm("encoder.layer.0.attention.output.LayerNorm"),
    **_linear("encoder.layer.0.intermediate.dense", INNER, HIDDEN),
    **_linear("encoder.layer.0.output.dense", HIDDEN, INNER),
    **_norm("encoder.layer.0.output.LayerNorm"),
}


def put(path: Path, content: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))


def load(folder: Path, cache: Path) -> repository.LoadedModel:
    return repository.load_model(
        ModelSettings(model_dir=str(folder), cache_dir=str(cache), threads=1)
    )


def convert(folder: Path, cache: Path) -> Path:
    return convert_cached(read_source(folder), cache, threads=1)


def serve(*flags: str, through: tuple[str, ...] | None = None) -> tuple[int, str]:
    """Exit code, and what follows `predictor: ` in the one line that says what is wrong.

    Args:
        flags: of `predictor serve`.
        through: arguments of Python that start the command in another way than as a user does.
    """
    words = ("serve", "--host=127.0.0.1", *FREE_PORTS, *flags)
    if through is None:
        ended = run_command(*words)
        code, out, err = ended.code, ended.out, ended.err
    else:
        done = subprocess.run(
            [sys.executable, *through, *words],
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        code, out, err = done.returncode, done.stdout, done.stderr
    assert "Traceback" not in err, err
    lines = [line for line in err.splitlines() if line.startswith("predictor: ")]
    assert len(lines) == 1, err
    assert out == ""
    return code, lines[0].removeprefix("predictor: ")


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def change(path: Path, **changes: Any) -> None:
    """Change keys of a JSON object; `...` removes one."""
    content = json.loads(path.read_bytes()) | changes
    put(path, {key: value for key, value in content.items() if value is not ...})


def all_of(*actions: Callable[[Path], object]) -> Callable[[Path], object]:
    def act(folder: Path) -> None:
        for action in actions:
            action(folder)

    return act
