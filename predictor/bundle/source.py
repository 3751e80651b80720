"""What a Hugging Face / sentence-transformers directory says about its model."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from predictor.bundle.folder_keys import (
    CONFIG,
    KEYS,
    LIBRARY,
    LIMITS,
    TOKENIZER_CONFIG,
    check_keys,
    unknown_keys,
)
from predictor.bundle.folder_kind import FolderSigns, FolderVerdict, kind_of, refusal
from predictor.bundle.json_file import read_json
from predictor.bundle.lengths import max_length, pad_id
from predictor.bundle.modules import (
    HeadModule,
    Modules,
    module_classes,
    read_modules,
    transformer_folder,
)
from predictor.bundle.onnx_files import choose_onnx
from predictor.bundle.tensor_names import tensor_heads
from predictor.bundle.tokenizer_parts import TokenizerParts, read_tokenizer
from predictor.bundle.weight_files import weight_files
from predictor.errors import BadModel
from predictor.types import Pooling

ADAPTER = "adapter_config.json"


@dataclass(frozen=True)
class ModelSource:
    """A model directory as read."""

    folder: Path

    transformer: Path
    """Where config.json, the weights and the tokenizer are: `folder` unless modules.json says
    otherwise."""

    config: dict[str, Any]
    """The content of config.json."""

    family: str
    """`model_type` of config.json; empty if it has none."""

    max_length: int
    """Most tokens of a text, special tokens included."""

    pooling: Pooling

    normalize: bool
    """Whether the model scales its vectors to length 1."""

    head: tuple[HeadModule, ...] = ()
    """The modules between pooling and normalisation."""

    prompts: dict[str, str] = field(default_factory=dict)

    default_prompt_name: str | None = None

    matryoshka: tuple[int, ...] = ()
    """Dimensions that the model was trained to be cut to, ascending, if config.json lists any."""

    lower_case: bool = False
    """Whether texts are lower-cased before the tokenizer's own normalisation."""

    pad_id: int = 0

    pooling_overridden: bool = False
    """Whether `pooling` is the user's and not the model's."""

    # What follows is no part of the digest of a source, unless it changes the vectors.

    config_as_written: dict[str, Any] = field(default_factory=dict)
    """The content of config.json with its null keys, for the digest."""

    made_tokenizer: TokenizerParts | None = None
    """What the tokenizer is made from, if tokenizer.json is missing or contradicted."""

    verdict: FolderVerdict | None = None
    """What the folder is, and what says so."""

    assumed: tuple[str, ...] = ()
    """What is taken though the folder does not say it, a sentence each."""

    unread: tuple[str, ...] = ()
    """Keys of its files that nobody here knows, like "config.json: foo"."""

    @property
    def weights(self) -> list[Path]:
        """The files of the weights, those of the head's modules not counted."""
        return weight_files(self.transformer)

    @property
    def graph(self) -> str | None:
        """An ONNX file made elsewhere that is taken without being named."""
        return choose_onnx(self.folder)

    @property
    def tokenizer(self) -> Path:
        return self.transformer / "tokenizer.json"

    @property
    def tokenizer_files(self) -> tuple[Path, ...]:
        """The files that the tokenizer is made from."""
        return self.made_tokenizer.files if self.made_tokenizer else (self.tokenizer,)


def is_source(folder: Path) -> bool:
    return (folder / "config.json").is_file() or (folder / "modules.json").is_file()


def read_source(folder: Path, pooling: Pooling | None = None) -> ModelSource:
    """Read a model directory; `pooling` overrides what it says.

    Raises:
        BadModel: a file is missing or damaged, the model has a part that is not supported, or it is
            no embedder.
    """
    files = read_files(folder)
    why_not = refusal(files.verdict)
    if why_not is not None:
        raise BadModel(f"{folder}: {why_not}")
    modules = read_modules(folder)
    for name, values in files.configs.items():
        check_keys(name, str(files.place(name)), values)
    check_adapter(files.transformer)
    config = files.configs[CONFIG]
    family = str(config.get("model_type", ""))
    prompts = files.configs[LIBRARY]
    made, tokenizer_note = read_tokenizer(
        files.transformer, files.configs[TOKENIZER_CONFIG], family
    )
    settings = files.configs[LIMITS]
    return ModelSource(
        folder=folder,
        transformer=files.transformer,
        config=config,
        config_as_written=_as_written(files.transformer / CONFIG),
        family=family,
        max_length=max_length(files.transformer, config, settings, files.configs[TOKENIZER_CONFIG]),
        pooling=pooling or modules.pooling,
        pooling_overridden=pooling not in (None, modules.pooling),
        normalize=modules.normalize,
        head=modules.head,
        prompts=_prompts(folder, prompts),
        default_prompt_name=prompts.get("default_prompt_name"),
        matryoshka=_matryoshka(folder, config),
        lower_case=settings.get("do_lower_case") is True,
        pad_id=pad_id(folder, config),
        made_tokenizer=made,
        verdict=files.verdict,
        assumed=_assumed(files, modules, pooling, tokenizer_note),
        unread=(*files.unread, *modules.unread),
    )


@dataclass(frozen=True)
class FolderFiles:
    """The configuration files of a model directory."""

    folder: Path

    transformer: Path
    """Where config.json is."""

    configs: dict[str, dict[str, Any]]
    """Content without null keys, by the names in `KEYS`; empty for a file that is missing."""

    limits_name: str
    """The name that sentence_bert_config.json has here."""

    verdict: FolderVerdict

    def place(self, name: str) -> Path:
        """Where a file of `configs` is."""
        if name == LIBRARY:
            return self.folder / name
        return self.transformer / (self.limits_name if name == LIMITS else name)

    @property
    def unread(self) -> tuple[str, ...]:
        """Keys that nobody here knows."""
        family = str(self.configs[CONFIG].get("model_type", ""))
        listed = ((name, unknown_keys(name, self.configs[name], family)) for name in KEYS)
        return tuple(f"{name}: {', '.join(keys)}" for name, keys in listed if keys)


def read_files(folder: Path) -> FolderFiles:
    """Read the configuration files and say what the folder is.

    Raises:
        BadModel: a file is missing or damaged.
    """
    classes = module_classes(folder)
    transformer = folder / transformer_folder(folder)
    limits_name = _limits_name(transformer)
    configs = {
        CONFIG: read_json(transformer / CONFIG),
        LIMITS: read_json(transformer / limits_name, missing_ok=True),
        LIBRARY: read_json(folder / LIBRARY, missing_ok=True),
        TOKENIZER_CONFIG: read_json(transformer / TOKENIZER_CONFIG, missing_ok=True),
    }
    config = configs[CONFIG]
    signs = FolderSigns(
        modules=classes,
        library_kind=str(configs[LIBRARY].get("model_type", "")),
        transformer_task=str(configs[LIMITS].get("transformer_task", "")),
        architectures=_architectures(transformer, config),
        family=str(config.get("model_type", "")),
        labels=_labels(config),
        tensors=_tensor_names(transformer) if not config.get("architectures") else (),
        files=frozenset(path.name for path in folder.iterdir()),
    )
    return FolderFiles(folder, transformer, configs, limits_name, kind_of(signs))


def check_adapter(folder: Path) -> None:
    """Raise BadModel if a PEFT adapter lies beside the weights: it would change the vectors."""
    path = folder / ADAPTER
    if path.is_file():
        kind = read_json(path).get("peft_type", "of unknown type")
        raise BadModel(
            f"{path}: a PEFT adapter ({kind}) is not applied; merge it into the weights and remove "
            "the file"
        )


def _architectures(folder: Path, config: dict[str, Any]) -> tuple[str, ...]:
    listed = config.get("architectures", [])
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise BadModel(f"{folder / CONFIG}: architectures is {listed!r}, not a list of names")
    return tuple(listed)


def _labels(config: dict[str, Any]) -> int | None:
    """How many labels a classifier has; transformers takes two where the file does not say."""
    if isinstance(config.get("id2label"), dict):
        return len(config["id2label"])
    return config["num_labels"] if isinstance(config.get("num_labels"), int) else None


def _tensor_names(folder: Path) -> frozenset[str]:
    """Empty for weights that cannot be read: to convert them says why."""
    try:
        return frozenset(tensor_heads(weight_files(folder)))
    except BadModel:
        return frozenset()


def _limits_name(folder: Path) -> str:
    """`sentence_bert_config.json`, or the name it has for another family."""
    return max((path.name for path in folder.glob("sentence_*_config.json")), default=LIMITS)


def _as_written(path: Path) -> dict[str, Any]:
    return read_json(path, nulls=True)


def _assumed(
    files: FolderFiles, modules: Modules, pooling: Pooling | None, tokenizer_note: str
) -> tuple[str, ...]:
    """What is taken that the folder does not say, a sentence each."""
    notes: list[str] = []
    if files.verdict.assumed:
        notes.append(f"it is an embedder ({files.verdict.sign})")
    if not modules.listed and pooling is None:
        notes.append("mean pooling (there is no modules.json)")
    if not modules.listed:
        notes.append("vectors that the model does not scale to length 1 (there is no modules.json)")
        if (files.folder / "1_Pooling").is_dir():
            notes.append(
                "1_Pooling is not read, as sentence-transformers does without modules.json"
            )
    if tokenizer_note:
        notes.append(tokenizer_note)
    return tuple(notes)


def _prompts(folder: Path, config: dict[str, Any]) -> dict[str, str]:
    prompts = config.get("prompts") or {}
    if not isinstance(prompts, dict):
        raise BadModel(f"{folder / LIBRARY}: prompts is a {type(prompts).__name__}, not an object")
    return {str(name): str(prompt) for name, prompt in prompts.items()}


def _matryoshka(folder: Path, config: dict[str, Any]) -> tuple[int, ...]:
    """`matryoshka_dimensions` of config.json (vLLM's name for it), ascending."""
    listed = config.get("matryoshka_dimensions") or ()
    if not isinstance(listed, list | tuple) or not all(
        isinstance(size, int) and size > 0 for size in listed
    ):
        raise BadModel(f"{folder / CONFIG}: matryoshka_dimensions is {listed!r}")
    return tuple(sorted(listed))
