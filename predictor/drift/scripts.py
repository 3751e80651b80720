"""Which scripts a text is written in, from the code points of its beginning.

The language is not recognised, only its script: that costs microseconds and needs no model, and
shares of characters reveal nothing about a single text.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

# Characters of a text that are classified.
CHARACTERS = 128
SCRIPTS = (
    "latin",
    "latin-marked",
    "greek",
    "cyrillic",
    "hebrew",
    "arabic",
    "indic",
    "southeast-asian",
    "hangul",
    "kana",
    "han",
    "digits",
    "spaces",
    "punctuation",
    "symbols",
    "other",
)
# First code point of each range, and its script; a table, kept dense to be read as one.
STRETCHES = (
    (0x0000, "other"), (0x0009, "spaces"), (0x000E, "other"), (0x0020, "spaces"),
    (0x0021, "punctuation"), (0x0030, "digits"), (0x003A, "punctuation"), (0x0041, "latin"),
    (0x005B, "punctuation"), (0x0061, "latin"), (0x007B, "punctuation"), (0x007F, "other"),
    (0x00A0, "spaces"), (0x00A1, "punctuation"), (0x00C0, "latin-marked"),
    (0x00D7, "punctuation"), (0x00D8, "latin-marked"), (0x00F7, "punctuation"),
    (0x00F8, "latin-marked"), (0x0250, "other"), (0x0300, "latin-marked"), (0x0370, "greek"),
    (0x0400, "cyrillic"), (0x0530, "other"), (0x0590, "hebrew"), (0x0600, "arabic"),
    (0x0700, "other"), (0x0750, "arabic"), (0x0780, "other"), (0x0870, "arabic"),
    (0x0900, "indic"), (0x0E00, "southeast-asian"), (0x0F00, "other"),
    (0x1000, "southeast-asian"), (0x10A0, "other"), (0x1100, "hangul"), (0x1200, "other"),
    (0x1780, "southeast-asian"), (0x1800, "other"), (0x1C80, "cyrillic"), (0x1C90, "other"),
    (0x1E00, "latin-marked"), (0x1F00, "greek"),
    (0x2000, "punctuation"), (0x2070, "digits"), (0x20A0, "symbols"), (0x2C00, "other"),
    (0x2E00, "punctuation"), (0x2E80, "han"), (0x3000, "punctuation"), (0x3040, "kana"),
    (0x3100, "han"), (0x3130, "hangul"), (0x3190, "han"), (0x31F0, "kana"),
    (0x3200, "han"), (0xA4D0, "other"), (0xA640, "cyrillic"),
    (0xA6A0, "other"), (0xA8E0, "indic"), (0xA900, "other"), (0xA960, "hangul"),
    (0xA980, "other"), (0xAC00, "hangul"), (0xD7FF, "other"), (0xF900, "han"),
    (0xFB1D, "hebrew"), (0xFB50, "arabic"), (0xFE00, "symbols"), (0xFE20, "punctuation"),
    (0xFE70, "arabic"), (0xFEFF, "other"), (0xFF01, "punctuation"), (0xFF10, "digits"),
    (0xFF1A, "punctuation"), (0xFF21, "latin-marked"), (0xFF5B, "punctuation"),
    (0xFF66, "kana"), (0xFFA0, "hangul"), (0xFFE0, "symbols"), (0xFFF0, "other"),
    (0x1AFF0, "kana"), (0x1B170, "other"), (0x1F000, "symbols"),
    (0x1FB00, "other"), (0x20000, "han"), (0x32000, "other"),
)  # fmt: skip
LAST = 0x10FFFF


def _table() -> npt.NDArray[np.uint8]:
    """The number of the script of every code point, `[LAST + 1]`; 1 MB."""
    starts = [start for start, _ in STRETCHES]
    numbers = np.array([SCRIPTS.index(name) for _, name in STRETCHES], np.uint8)
    return np.repeat(numbers, np.diff([*starts, LAST + 1]))


TABLE = _table()


def shares(texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """Share of each script among the first characters of each text, `[N, len(SCRIPTS)]`.

    An empty text has a row of zeros.
    """
    begins = [text[:CHARACTERS] for text in texts]
    lengths = np.array([len(begin) for begin in begins], np.int64)
    points = np.frombuffer("".join(begins).encode("utf-32-le", "surrogatepass"), np.uint32)
    places = np.repeat(np.arange(len(texts)) * len(SCRIPTS), lengths) + TABLE[points]
    counts = np.bincount(places, minlength=len(texts) * len(SCRIPTS))
    result: npt.NDArray[np.float32] = (
        counts.reshape(len(texts), len(SCRIPTS)) / np.maximum(lengths, 1)[:, None]
    ).astype(np.float32)
    return result
