"""Scripts of characters, against Unicode's own names of them."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.drift.scripts import CHARACTERS, SCRIPTS, STRETCHES, TABLE, shares

NAMED = {
    "GREEK": "greek", "CYRILLIC": "cyrillic",
    "HEBREW LETTER": "hebrew", "ARABIC LETTER": "arabic", "DEVANAGARI": "indic",
    "TAMIL": "indic", "THAI": "southeast-asian", "KHMER": "southeast-asian",
    "HANGUL": "hangul", "HIRAGANA": "kana", "KATAKANA": "kana", "CJK": "han",
}  # fmt: skip


def script(text: str) -> str:
    row = shares([text])[0]
    assert row.max() == 1
    return SCRIPTS[int(row.argmax())]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a", "latin"), ("Zz", "latin"), ("éßŁ", "latin-marked"), ("ệ", "latin-marked"),
        ("λόγος", "greek"), ("язык", "cyrillic"), ("שלום", "hebrew"), ("لغة", "arabic"),
        ("भाषा", "indic"), ("ภาษา", "southeast-asian"), ("언어", "hangul"), ("ことば", "kana"),
        ("语言", "han"), ("\U00020000", "han"), ("0129", "digits"), ("\uff11", "digits"),
        (" \t\n\u00a0", "spaces"), (".,!?\u3002", "punctuation"), ("\U0001f600", "symbols"),
        ("\u20ac", "symbols"), ("\x00", "other"), ("\ud800", "other"), ("\U0010ffff", "other"),
    ],
)  # fmt: skip
def test_a_text_of_one_script(text: str, name: str) -> None:
    assert script(text) == name


def test_letters_are_where_unicode_has_them() -> None:
    """Every letter whose name begins with its script; phonetic signs look like letters only."""
    for point in range(0x80, 0x30000):
        name = unicodedata.name(chr(point), "")
        if chr(point).isalpha() and not unicodedata.decomposition(chr(point)):
            for begins, expected in NAMED.items():
                if name.startswith(begins) and "SMALL CAPITAL" not in name:
                    assert SCRIPTS[TABLE[point]] == expected, name


def test_every_code_point_has_a_script() -> None:
    assert len(TABLE) == 0x110000
    assert list(STRETCHES) == sorted(STRETCHES)
    assert {name for _, name in STRETCHES} == set(SCRIPTS)


@given(st.lists(st.text(), max_size=5))
def test_shares_of_a_text_are_one_in_all(texts: list[str]) -> None:
    for text, row in zip(texts, shares(texts), strict=True):
        assert row.sum() == pytest.approx(1 if text else 0)


def test_only_the_beginning_of_a_text_is_looked_at() -> None:
    assert script("a" * CHARACTERS + "я" * 1_000_000) == "latin"
