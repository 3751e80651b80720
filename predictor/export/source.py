"""What a Hugging Face / sentence-transformers directory says about its model."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from predictor.errors import BadModel
from predictor.export.modules import HeadModule, read_json, read_modules
from predictor.export.weights import weight_files
from predictor.types import Pooling

ONNX_FILES = ("onnx/model.onnx", "model.onnx")
# Families whose position table begins behind the padding index.
OFFSET_FAMILIES = ("roberta", "xlm-roberta", "camembert", "mpnet")
# How families call the number of their positions; the first that is there counts.
POSITION_KEYS = ("max_trained_positions", "max_position_embeddings", "n_positions")
# transformers writes this where a tokenizer has no limit.
NO_LIMIT = 1_000_000


@dataclass(frozen=True)
class Source:
    """A model directory as read.

    folder: as given; transformer: where config.json, the weights and the tokenizer are, the same
    unless modules.json says otherwise.
    max_length: tokens, special tokens included.
    matryoshka: the lengths that the model was trained to be cut to, if config.json lists any.
    """

    folder: Path
    transformer: Path
    config: dict[str, Any]
    family: str
    max_length: int
    pooling: Pooling
    normalize: bool
    head: tuple[HeadModule, ...] = ()
    prompts: dict[str, str] = field(default_factory=dict)
    default_prompt_name: str | None = None
    matryoshka: tuple[int, ...] = ()
    lower_case: bool = False
    pad_id: int = 0
    pooling_overridden: bool = False

    @property
    def weights(self) -> list[Path]:
        """The files of the weights, those of the head's modules not counted."""
        return weight_files(self.transformer)

    @property
    def graph(self) -> str | None:
        """An ONNX file made elsewhere."""
        return next((name for name in ONNX_FILES if (self.folder / name).is_file()), None)

    @property
    def tokenizer(self) -> Path:
        return self.transformer / "tokenizer.json"


def is_source(folder: Path) -> bool:
    return (folder / "config.json").is_file() or (folder / "modules.json").is_file()


def read_source(folder: Path, pooling: Pooling | None = None) -> Source:
    """Read a model directory; `pooling` overrides what it says.

    Raises:
        BadModel: a file is missing or damaged, or the model has a part that is not supported.
    """
    modules = read_modules(folder)
    transformer = folder / modules.transformer
    config = read_json(transformer / "config.json")
    if not (transformer / "tokenizer.json").is_file():
        raise BadModel(f"{transformer}: has no tokenizer.json (slow tokenizers are not served)")
    settings = _own_settings(transformer)
    prompts = read_json(folder / "config_sentence_transformers.json", missing_ok=True)
    return Source(
        folder=folder,
        transformer=transformer,
        config=config,
        family=str(config.get("model_type", "")),
        max_length=_max_length(transformer, config, settings),
        pooling=pooling or modules.pooling,
        pooling_overridden=pooling not in (None, modules.pooling),
        normalize=modules.normalize,
        head=modules.head,
        prompts=_prompts(folder, prompts),
        default_prompt_name=prompts.get("default_prompt_name"),
        matryoshka=_matryoshka(folder, config),
        lower_case=settings.get("do_lower_case") is True,
        pad_id=_number(folder, config, "pad_token_id"),
    )


def _own_settings(folder: Path) -> dict[str, Any]:
    """`sentence_bert_config.json`, or the name it had for another family."""
    names = [
        "sentence_bert_config.json",
        *sorted(p.name for p in folder.glob("sentence_*_config.json")),
    ]
    return read_json(folder / names[-1] if len(names) > 1 else folder / names[0], missing_ok=True)


def _prompts(folder: Path, config: dict[str, Any]) -> dict[str, str]:
    prompts = config.get("prompts") or {}
    if not isinstance(prompts, dict):
        raise BadModel(
            f"{folder / 'config_sentence_transformers.json'}: prompts is a "
            f"{type(prompts).__name__}, not an object"
        )
    return {str(name): str(prompt) for name, prompt in prompts.items()}


def _matryoshka(folder: Path, config: dict[str, Any]) -> tuple[int, ...]:
    """`matryoshka_dimensions` of config.json (vLLM's name for it), ascending."""
    listed = config.get("matryoshka_dimensions") or ()
    if not isinstance(listed, list | tuple) or not all(
        isinstance(one, int) and one > 0 for one in listed
    ):
        raise BadModel(f"{folder / 'config.json'}: matryoshka_dimensions is {listed!r}")
    return tuple(sorted(listed))


def _number(folder: Path, config: dict[str, Any], key: str) -> int:
    value = config.get(key) or 0
    if not isinstance(value, int):
        raise BadModel(f"{folder / 'config.json'}: {key} is {value!r}, not a number")
    return value


def _max_length(folder: Path, config: dict[str, Any], settings: dict[str, Any]) -> int:
    """The limit sentence-transformers would use: its own setting, else the tokenizer's, and never
    more than the positions allow.
    """
    known = [config[key] for key in POSITION_KEYS if _length(config.get(key))]
    positions = int(known[0]) if known else None
    if positions is not None and config.get("model_type") in OFFSET_FAMILIES:
        positions -= int(config.get("pad_token_id") or 1) + 1  # as `families/bert.py` has it
    own = settings.get("max_seq_length")
    if not _length(own):
        own = read_json(folder / "tokenizer_config.json", missing_ok=True).get("model_max_length")
    limits = [limit for limit in (own, positions) if limit is not None and _length(limit)]
    if not limits:
        raise BadModel(
            f"{folder}: neither sentence_bert_config.json nor config.json gives a length"
        )
    return min(limits)


def _length(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < NO_LIMIT
