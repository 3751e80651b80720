"""What a model's tokenizer is made from: tokenizer.json, or the files of a slow tokenizer.

A slow tokenizer's vocabulary is enough where transformers' own conversion is a few fixed parts
around it (WordPiece of BERT, DistilBERT and MPNet; byte-level BPE of RoBERTa). `tokenizer_config.
json` may contradict tokenizer.json; the classes of BERT's tokenizer then go by the former.
`engine/made_tokenizer.py` makes the tokenizer.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from predictor.bundle.json_file import read_json
from predictor.errors import BadModel

TOKENIZER_FILE = "tokenizer.json"
VOCABULARY = "vocab.txt"
BPE_FILES = ("vocab.json", "merges.txt")
SLOW_FILES = (VOCABULARY, *BPE_FILES, "sentencepiece.bpe.model", "spiece.model", "tokenizer.model")
# Tokenizer classes, without "Fast", whose settings go before those of tokenizer.json.
BERT_CLASSES = frozenset(
    {"BertTokenizer", "DistilBertTokenizer", "MPNetTokenizer", "ElectraTokenizer"}
)
BPE_CLASSES = frozenset({"RobertaTokenizer"})
FAMILY_CLASSES = {
    "bert": "BertTokenizer",
    "distilbert": "DistilBertTokenizer",
    "mpnet": "MPNetTokenizer",
    "roberta": "RobertaTokenizer",
}
"""The class where tokenizer_config.json names none."""
# Settings of tokenizer_config.json by their names in BERT's normaliser.
SETTINGS = {
    "lowercase": "do_lower_case",
    "strip_accents": "strip_accents",
    "handle_chinese_chars": "tokenize_chinese_chars",
}
SPECIAL_TOKENS: dict[str, dict[str, str]] = {
    "BertTokenizer": {
        "unk": "[UNK]",
        "sep": "[SEP]",
        "pad": "[PAD]",
        "cls": "[CLS]",
        "mask": "[MASK]",
    },
    "MPNetTokenizer": {
        "unk": "[UNK]",
        "sep": "</s>",
        "pad": "<pad>",
        "cls": "<s>",
        "mask": "<mask>",
    },
    "RobertaTokenizer": {
        "unk": "<unk>",
        "sep": "</s>",
        "pad": "<pad>",
        "cls": "<s>",
        "mask": "<mask>",
    },
}
"""What transformers takes for tokens that no file names; other classes have BERT's."""


@dataclass(frozen=True)
class TokenizerParts:
    """Files and settings that a tokenizer is made from."""

    kind: Literal["json", "wordpiece", "bpe"]

    files: tuple[Path, ...]
    """tokenizer.json; or vocab.txt; or vocab.json and merges.txt."""

    normalizer: dict[str, bool | None] = field(default_factory=dict)
    """Settings of BERT's normaliser; of a tokenizer.json those that are changed."""

    tokens: dict[str, str] = field(default_factory=dict)
    """Special tokens by what they are for; empty for a tokenizer.json."""

    pair: bool = False
    """Whether a pair has two separators between its texts (RoBERTa, MPNet)."""

    add_prefix_space: bool = False

    @property
    def text(self) -> str:
        """All but the files, for digests."""
        return repr((self.kind, self.normalizer, self.tokens, self.pair, self.add_prefix_space))


def read_tokenizer(
    folder: Path, config: dict[str, Any], family: str
) -> tuple[TokenizerParts | None, str]:
    """What the tokenizer is made from, and a sentence for the log if that is worth one.

    Args:
        config: tokenizer_config.json.

    Returns:
        None for a tokenizer.json that is taken as it is.

    Raises:
        BadModel: there is no tokenizer, or none that can be made here.
    """
    name = str(config.get("tokenizer_class", FAMILY_CLASSES.get(family, ""))).removesuffix("Fast")
    if (folder / TOKENIZER_FILE).is_file():
        if name not in BERT_CLASSES:
            return None, ""
        return _contradicted(folder / TOKENIZER_FILE, config)
    parts = _slow(folder, config, name)
    if parts is None:
        raise BadModel(_missing(folder))
    made = ", ".join(path.name for path in parts.files)
    return parts, f"the tokenizer is made from {made}, as {name} of transformers does"


def _contradicted(path: Path, config: dict[str, Any]) -> tuple[TokenizerParts | None, str]:
    """The settings in which tokenizer_config.json says something else than tokenizer.json."""
    settings = {
        key: config[name] for key, name in SETTINGS.items() if isinstance(config.get(name), bool)
    }
    if not settings:
        return None, ""
    normalizer = _normalizer(path)
    if normalizer.get("type") != "BertNormalizer":
        return None, ""
    if _effective(normalizer | settings) == _effective(normalizer):
        return None, ""
    changed = {key: value for key, value in settings.items() if normalizer.get(key) != value}
    listed = ", ".join(
        f"{SETTINGS[key]} {json.dumps(value)} (tokenizer.json: {json.dumps(normalizer.get(key))})"
        for key, value in changed.items()
    )
    note = f"tokenizer_config.json goes before tokenizer.json, as in transformers: {listed}"
    return TokenizerParts("json", (path,), normalizer=changed), note


def _effective(normalizer: dict[str, Any]) -> tuple[Any, ...]:
    """What the settings come to; accents are stripped with upper case unless it says otherwise."""
    accents = normalizer.get("strip_accents")
    lower = normalizer.get("lowercase", True)
    return (
        lower,
        lower if accents is None else accents,
        normalizer.get("handle_chinese_chars", True),
    )


def _normalizer(path: Path) -> dict[str, Any]:
    """Of tokenizer.json; empty if it has none, or cannot be read: loading it says why."""
    try:
        normalizer = json.loads(path.read_bytes()).get("normalizer")
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}
    return normalizer if isinstance(normalizer, dict) else {}


def _slow(folder: Path, config: dict[str, Any], name: str) -> TokenizerParts | None:
    """The parts of a slow tokenizer that can be made here."""
    if (folder / "added_tokens.json").is_file():
        return None
    files = {file for file in SLOW_FILES if (folder / file).is_file()}
    tokens = _special_tokens(folder, config, name)
    if name in BERT_CLASSES and VOCABULARY in files:
        normalizer = {
            "lowercase": config.get("do_lower_case", True),
            "strip_accents": config.get("strip_accents"),
            "handle_chinese_chars": config.get("tokenize_chinese_chars", True),
        }
        pair = name == "MPNetTokenizer"
        return TokenizerParts("wordpiece", (folder / VOCABULARY,), normalizer, tokens, pair)
    if name in BPE_CLASSES and files >= set(BPE_FILES):
        paths = tuple(folder / file for file in BPE_FILES)
        space = config.get("add_prefix_space") is True
        return TokenizerParts("bpe", paths, {}, tokens, pair=True, add_prefix_space=space)
    return None


def _special_tokens(folder: Path, config: dict[str, Any], name: str) -> dict[str, str]:
    tokens = dict(SPECIAL_TOKENS.get(name, SPECIAL_TOKENS["BertTokenizer"]))
    mapped = read_json(folder / "special_tokens_map.json", missing_ok=True)
    for use in tokens:
        value = config.get(f"{use}_token", mapped.get(f"{use}_token"))
        if isinstance(value, dict):
            value = value.get("content")
        if isinstance(value, str):
            tokens[use] = value
    return tokens


def _missing(folder: Path) -> str:
    """Why there is no tokenizer, and the command that makes one."""
    existing = [name for name in (*SLOW_FILES, "added_tokens.json") if (folder / name).is_file()]
    if not existing:
        return f"{folder}: has no tokenizer.json, and no vocabulary that one could be made from"
    return (
        f"{folder}: has no tokenizer.json, and none is made here from {', '.join(existing)}; with "
        'transformers and sentencepiece installed this makes it: python -c "from transformers '
        f"import AutoTokenizer as T; T.from_pretrained('{folder}').save_pretrained('{folder}')\""
    )
