"""Where positions begin, and how long a text may be, as in transformers."""

from pathlib import Path
from typing import Any

import pytest

from predictor.bundle.lengths import max_length, pad_id, position_offset

PLACE = Path("model")


@pytest.mark.parametrize(
    ("family", "pad", "offset"),
    [
        ("roberta", 1, 2),
        ("roberta", 0, 1),
        ("roberta", None, 2),
        ("xlm-roberta", 0, 1),
        ("camembert", 5, 6),
        ("mpnet", 1, 2),
        ("mpnet", 0, 2),
        ("mpnet", 7, 2),
        ("bert", 3, 0),
    ],
)
def test_positions_begin_behind_the_padding_index(
    family: str, pad: int | None, offset: int
) -> None:
    config: dict[str, Any] = {"model_type": family, "max_position_embeddings": 100}
    if pad is not None:
        config["pad_token_id"] = pad
    assert position_offset(config) == offset
    assert max_length(PLACE, config, {}, {}) == 100 - offset
    # The engine does not count the tokens that are the padding token.
    assert pad_id(PLACE, config) == (offset - 1 if offset else pad)
