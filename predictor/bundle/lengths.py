"""How long a text may be, and where positions begin, as the files of a model say.

The rules are those of transformers and sentence-transformers. Pure but for the paths in errors.
"""

from pathlib import Path
from typing import Any

from predictor.bundle.folder_keys import CONFIG, LIMITS, TOKENIZER_CONFIG
from predictor.errors import BadModel

# Families whose position table begins behind the padding index, by the index that the code of
# transformers fixes; None: config.json says it.
PADDING_INDEX: dict[str, int | None] = {
    "roberta": None,
    "xlm-roberta": None,
    "camembert": None,
    "mpnet": 1,
}
# What transformers takes where config.json does not say it.
DEFAULT_PADDING_INDEX = 1
# How families call the number of their positions; the first that is there counts.
POSITION_KEYS = ("max_trained_positions", "max_position_embeddings", "n_positions")
# transformers writes this where a tokenizer has no limit.
NO_LIMIT = 1_000_000


def position_offset(config: dict[str, Any]) -> int:
    """Row of the position table that a text's first token has."""
    family = config.get("model_type")
    if family not in PADDING_INDEX:
        return 0
    fixed = PADDING_INDEX[family]
    index = config.get("pad_token_id", DEFAULT_PADDING_INDEX) if fixed is None else fixed
    return int(index) + 1


def pad_id(folder: Path, config: dict[str, Any]) -> int:
    """Id of the padding token; in families with a position offset the index that is not counted.

    Raises:
        BadModel: config.json gives something else than a whole number.
    """
    value = config.get("pad_token_id", 0)
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadModel(f"{folder / CONFIG}: pad_token_id is {value!r}, not a number")
    offset = position_offset(config)
    return offset - 1 if offset else value


def max_length(
    folder: Path,
    config: dict[str, Any],
    limits: dict[str, Any],
    tokenizer_config: dict[str, Any],
) -> int:
    """Most tokens of a text, special tokens included, as sentence-transformers would take it.

    Its own setting, else the tokenizer's, and never more than the positions allow.

    Args:
        limits: sentence_bert_config.json.

    Raises:
        BadModel: no file gives a length, or a file gives something that is none.
    """
    pad_id(folder, config)
    positions = next(
        (config[key] for key in POSITION_KEYS if config.get(key) not in (None, -1)), None
    )
    length = _whole(folder / LIMITS, "max_seq_length", limits.get("max_seq_length"))
    if length is None:
        value = tokenizer_config.get("model_max_length")
        length = _whole(folder / TOKENIZER_CONFIG, "model_max_length", value)
    most = _whole(folder / CONFIG, "max_position_embeddings", positions)
    if most is not None:
        most -= position_offset(config)
    listed = [limit for limit in (length, most) if limit is not None and limit > 0]
    if not listed:
        raise BadModel(
            f"{folder}: neither sentence_bert_config.json nor config.json gives a length"
        )
    return min(listed)


def _whole(path: Path, key: str, value: Any) -> int | None:
    """A length; None: there is no limit. Raises BadModel for anything else."""
    if value is None:
        return None
    number = not isinstance(value, bool) and isinstance(value, int | float)
    if number and value >= NO_LIMIT:
        return None
    if not number or value <= 0 or value != int(value):
        raise BadModel(f"{path}: {key} is {value!r}; a length is a whole number above 0")
    return int(value)
