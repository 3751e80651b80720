"""What a Hugging Face / sentence-transformers directory says about its model.

Everything that changes the vectors is either honoured or refused by name: a module that is skipped
silently gives wrong vectors that look right.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from predictor.errors import BadModel
from predictor.types import Pooling

WEIGHTS = "model.safetensors"
ONNX_FILES = ("onnx/model.onnx", "model.onnx")
KNOWN_MODULES = ("Transformer", "Pooling", "Normalize")


@dataclass(frozen=True)
class Source:
    """A model directory as read. max_length in tokens, special tokens included."""

    folder: Path
    config: dict[str, Any]
    family: str
    max_length: int
    pooling: Pooling
    normalize: bool
    prompts: dict[str, str] = field(default_factory=dict)
    default_prompt_name: str | None = None
    pad_id: int = 0

    @property
    def weights(self) -> Path | None:
        path = self.folder / WEIGHTS
        return path if path.is_file() else None

    @property
    def graph(self) -> str | None:
        return next((name for name in ONNX_FILES if (self.folder / name).is_file()), None)

    @property
    def tokenizer(self) -> Path:
        return self.folder / "tokenizer.json"


def is_source(folder: Path) -> bool:
    return (folder / "config.json").is_file()


def read_source(folder: Path, pooling: Pooling | None = None) -> Source:
    """Read a model directory; `pooling` overrides what it says.

    Raises:
        BadModel: a file is missing or damaged, or the model has a part that is not supported.
    """
    config = _json(folder / "config.json")
    if not (folder / "tokenizer.json").is_file():
        raise BadModel(f"{folder}: has no tokenizer.json (slow tokenizers are not served)")
    modules = _modules(folder)
    prompts = _json(folder / "config_sentence_transformers.json", missing_ok=True)
    return Source(
        folder=folder,
        config=config,
        family=str(config.get("model_type", "")),
        max_length=_max_length(folder, config),
        pooling=pooling or _pooling(folder, modules),
        normalize="Normalize" in modules or not modules,
        prompts=_prompts(folder, prompts),
        pad_id=_number(folder, config, "pad_token_id"),
        default_prompt_name=prompts.get("default_prompt_name"),
    )


def _prompts(folder: Path, config: dict[str, Any]) -> dict[str, str]:
    prompts = config.get("prompts") or {}
    if not isinstance(prompts, dict):
        raise BadModel(
            f"{folder / 'config_sentence_transformers.json'}: prompts is a "
            f"{type(prompts).__name__}, not an object"
        )
    return {str(name): str(prompt) for name, prompt in prompts.items()}


def _number(folder: Path, config: dict[str, Any], key: str) -> int:
    value = config.get(key) or 0
    if not isinstance(value, int):
        raise BadModel(f"{folder / 'config.json'}: {key} is {value!r}, not a number")
    return value


def _json(path: Path, *, missing_ok: bool = False) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        if missing_ok:
            return {}
        raise BadModel(f"{path}: missing") from error
    except (OSError, ValueError) as error:
        raise BadModel(f"{path}: not readable JSON: {error}") from error
    if not isinstance(content, dict):
        raise BadModel(f"{path}: holds a {type(content).__name__}, not an object")
    return content


def _modules(folder: Path) -> dict[str, str]:
    """Module kinds of `modules.json` in order, each with its folder; empty if there is none."""
    path = folder / "modules.json"
    if not path.is_file():
        return {}
    try:
        entries = json.loads(path.read_bytes())
        modules = {str(m["type"]).rsplit(".", 1)[-1]: str(m.get("path", "")) for m in entries}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadModel(f"{path}: not a list of modules: {error}") from error
    unknown = [kind for kind in modules if kind not in KNOWN_MODULES]
    if unknown:
        raise BadModel(
            f"{path}: module {unknown[0]!r} is not supported; known are {', '.join(KNOWN_MODULES)}"
        )
    return modules


def _pooling(folder: Path, modules: dict[str, str]) -> Pooling:
    """The pooling of `1_Pooling/config.json`; mean where a directory has no such file."""
    config = _json(folder / modules.get("Pooling", "1_Pooling") / "config.json", missing_ok=True)
    if "pooling_mode" in config:
        modes = [str(config["pooling_mode"])]
    else:
        names = {"cls_token": "cls", "mean_tokens": "mean"}
        modes = [
            names.get(key.removeprefix("pooling_mode_"), key.removeprefix("pooling_mode_"))
            for key, on in config.items()
            if key.startswith("pooling_mode_") and on is True
        ] or ["mean"]
    if len(modes) != 1 or modes[0] not in {p.value for p in Pooling}:
        raise BadModel(
            f"{folder}: pooling {' + '.join(modes)} is not supported; known are "
            f"{', '.join(p.value for p in Pooling)}"
        )
    return Pooling(modes[0])


def _max_length(folder: Path, config: dict[str, Any]) -> int:
    """The limit sentence-transformers would use: its own file, else what positions allow."""
    own = _json(folder / "sentence_bert_config.json", missing_ok=True).get("max_seq_length")
    positions = config.get("max_position_embeddings")
    limits = [int(limit) for limit in (own, positions) if isinstance(limit, int) and limit > 0]
    if not limits:
        raise BadModel(
            f"{folder}: neither sentence_bert_config.json nor config.json gives a length"
        )
    return min(limits)
