"""Rows of token ids laid end to end, and the maps that attention and pooling need.

Everything but attention works on `[T, hidden]` without padding. Attention sees a padded view with
time first, `[S, B]`: that is the order in which its products need no transposing. A padded place
repeats its own text's first token, so that whatever is computed there stays finite and small.
"""

from collections.abc import Collection, Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32] | npt.NDArray[np.int32] | npt.NDArray[np.int64]
Feed = dict[str, Array]

# Every input that a packed graph may have: numpy type and shape. T tokens in all, B texts, the
# longest with S tokens.
PACKED_INPUTS: dict[str, tuple[type, tuple[str | int, ...]]] = {
    "input_ids": (np.int32, ("T",)),
    "position_ids": (np.int32, ("T",)),  # row of the position table, or rotation
    "sequence_ids": (np.int32, ("T",)),  # which text a token is of
    "places": (np.int32, ("T",)),  # which place it has in its text
    "token_index": (np.int32, ("S", "B")),  # the padded view, time first
    "attention_mask": (np.float32, ("B", "S")),  # 1 for a token, 0 for padding
    "token_offset": (np.int32, ("B", "S")),  # of com.microsoft.PackedMultiHeadAttention
    "cumulative_sequence_length": (np.int32, ("B + 1",)),
}


def pack(
    rows: Sequence[Sequence[int]],
    names: Collection[str] = tuple(PACKED_INPUTS),
    *,
    position_offset: int = 0,
    pad_id: int = 0,
) -> Feed:
    """The packed graph's inputs `names` for B rows of T tokens in all, the longest with S.

    Args:
        position_offset: where the position table begins to count. In families that have one
            (RoBERTa, MPNet: padding index + 1) a token that *is* the padding token stands at the
            index before it and is not counted, as in transformers'
            `create_position_ids_from_input_ids`.
        pad_id: id of the padding token; looked at only with a position offset.
    """
    lengths = np.fromiter(map(len, rows), dtype=np.int32, count=len(rows))
    total = int(lengths.sum())
    longest = int(lengths.max())
    span = np.arange(longest, dtype=np.int32)
    mask = span < lengths[:, None]
    flat = np.flatnonzero(mask).astype(np.int32)
    sequences, places = np.divmod(flat, np.int32(longest))
    starts = np.cumsum(lengths, dtype=np.int32) - lengths
    ids = np.fromiter(chain.from_iterable(rows), dtype=np.int32, count=total)
    feed: Feed = {
        "input_ids": ids,
        "sequence_ids": sequences,
        "places": places,
        "token_index": np.where(mask.T, starts + span[:, None], starts),
        "attention_mask": mask.astype(np.float32),
    }
    feed["position_ids"] = places
    if position_offset:
        feed["position_ids"] = _offset_positions(ids, places, position_offset, pad_id)
    if "token_offset" in names:
        feed["token_offset"] = np.concatenate([flat, np.flatnonzero(~mask)]).astype(np.int32)
        feed["token_offset"].shape = mask.shape
        feed["cumulative_sequence_length"] = np.append(starts, np.int32(total))
    return {name: feed[name] for name in names}


def _offset_positions(
    ids: npt.NDArray[np.int32], places: npt.NDArray[np.int32], offset: int, pad_id: int
) -> npt.NDArray[np.int32]:
    positions: npt.NDArray[np.int32] = places + np.int32(offset)
    padding = ids == pad_id
    if not padding.any():
        return positions
    counted = np.cumsum(~padding, dtype=np.int32)
    before = (counted - ~padding)[places == 0]
    sequence = np.cumsum(places == 0) - 1
    positions = counted - before[sequence] - 1 + np.int32(offset)
    positions[padding] = offset - 1
    return positions.astype(np.int32)


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
