"""Rows of token ids laid end to end, and the two index maps that attention needs.

Everything but attention works on `[T, hidden]` without padding. Attention sees a padded `[B, S]`
view: `token_index` gathers it from the packed tokens, `padded_index` gathers the result back.
"""

from collections.abc import Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt

Feed = dict[str, npt.NDArray[np.int32] | npt.NDArray[np.int64]]


def pack(rows: Sequence[Sequence[int]], position_offset: int = 0) -> Feed:
    """The packed graph's inputs for B rows of T tokens in all, the longest with S.

    Returns:
        input_ids, position_ids, padded_index: int32 `[T]`; token_index, attention_mask: int32
        `[B, S]`. Padded places of token_index point at token 0 and are masked.
    """
    lengths = np.fromiter(map(len, rows), dtype=np.int32, count=len(rows))
    total, longest = int(lengths.sum()), int(lengths.max())
    places = np.arange(longest, dtype=np.int32)
    mask = places < lengths[:, None]
    padded_index = np.flatnonzero(mask).astype(np.int32)
    starts = np.cumsum(lengths, dtype=np.int32) - lengths
    return {
        "input_ids": np.fromiter(chain.from_iterable(rows), dtype=np.int32, count=total),
        "position_ids": padded_index % longest + np.int32(position_offset),
        "token_index": np.where(mask, starts[:, None] + places, np.int32(0)),
        "padded_index": padded_index,
        "attention_mask": mask.astype(np.int32),
    }


def pad(rows: Sequence[Sequence[int]], names: Sequence[str], pad_id: int = 0) -> Feed:
    """Inputs `[B, S]` int64 of a graph exported the usual way, those of `names` that it takes."""
    lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    mask = np.arange(int(lengths.max())) < lengths[:, None]
    ids = np.full(mask.shape, pad_id, dtype=np.int64)
    ids[mask] = np.fromiter(chain.from_iterable(rows), dtype=np.int64, count=int(lengths.sum()))
    known: Feed = {
        "input_ids": ids,
        "attention_mask": mask.astype(np.int64),
        "token_type_ids": np.zeros(mask.shape, dtype=np.int64),
    }
    return {name: known[name] for name in names}
