"""The texts that the references of the small models belong to.

Picked from those of ``tests/reference/texts.py``, with some that matter to these models alone: the
special tokens of every tokenizer written out inside a text, and repeated words around the limit of
``LIMIT`` tokens.  The list is the same for all models, because row ``i`` of a reference belongs to
text ``i``.
"""

from tests.reference.texts import by_category

LIMIT = 128
# One token each in every tokenizer here.
WORDS = ("a", "of", "the")

# How many of each category, from its start.
_PICKED = {
    "words": 4,
    "short": 3,
    "sentences": 4,
    "paragraphs": 3,
    "latin": 2,
    "cyrillic": 2,
    "greek": 1,
    "arabic": 1,
    "hebrew": 1,
    "devanagari": 1,
    "thai": 1,
    "chinese": 2,
    "japanese": 1,
    "korean": 1,
    "emoji": 3,
    "code": 2,
    "empty_ish": 3,
    "combining": 1,
    "special_tokens": 1,
}


def family_texts() -> list[str]:
    """All texts, in the order of the rows of the references."""
    categories = by_category()
    picked = [text for name, count in _PICKED.items() for text in categories[name][:count]]
    return [*picked, *_padding_inside(), *_around_the_limit(), categories["long"][0]]


def _padding_inside() -> list[str]:
    """RoBERTa's position ids skip the padding token wherever it stands."""
    return [
        "<pad>",
        "first <pad> second <pad><pad> third",
        "<pad> at the start and at the end <pad>",
        "[PAD] at the start, [PAD] inside and [PAD] at the end [PAD]",
    ]


def _around_the_limit() -> list[str]:
    """`LIMIT - 2` words fill it, with the two special tokens.

    The first three have no token that sees all others through ModernBERT's local window (four to
    each side), just one that does, and none again.
    """
    counts = (7, 8, 20, 60, LIMIT - 3, LIMIT - 2, LIMIT - 1, 3 * LIMIT)
    return [" ".join(WORDS[place % len(WORDS)] for place in range(count)) for count in counts]
