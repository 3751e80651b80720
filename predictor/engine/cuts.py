"""Where a text may be cut so that its parts are tokenised as they are in the whole text.

A text over the model's length need not be tokenised as a whole if a part of it is enough and gives
the same ids. A cut is only made before a single space or line break between two letters, digits or
marks (or between two Chinese characters where the tokenizer makes words of each). There,

* no normal form composes or reorders characters across the cut, and no grapheme spans it,
* every pre-tokeniser in `_SPLITTING` begins a new word, whatever is farther away, and the model of
  the tokenizer sees one word at a time,
* no added token begins or ends: those that contain such a space, or that look at or take what is
  behind them, are not accepted.

`find_cuts` accepts a tokenizer only if all its parts are known to have these properties, and if
every cut of some texts that are hard to cut gives the ids of the whole. Otherwise its texts are
tokenised as a whole, up to a limit.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from tokenizers import AddedToken
from tokenizers import Tokenizer as HuggingFaceTokenizer
from tokenizers.normalizers import Normalizer
from tokenizers.pre_tokenizers import PreTokenizer

from predictor.types import Direction

Part = Mapping[str, Any]
Encode = Callable[[Sequence[str]], list[list[int]]]

# Letters and digits beside which a text may be cut. Not those that are joined to what follows them
# (the Malayalam reph), that become a space and a mark in a normal form (Greek ypogegrammeni, Arabic
# presentation forms), or that are shown with what precedes them (Thai and Lao am); and of the
# scripts beyond the first 65 536 characters, none.
_LETTER = r"(?![\u037a\u0d4e\u0e33\u0eb3\ufb50-\ufdff\ufe70-\ufeff\U00010000-\U0010ffff])[^\W_]"
_MARK = r"[!-/:-@\[-`{-~]"
# Marks at which Chinese and Japanese end a sentence or a clause.
_STOP = r"[\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff1f]"
# Before a space or line break behind a letter: what a byte-level tokenizer separates. Its patterns
# join marks and the line break behind them.
AFTER_LETTERS = rf"(?<={_LETTER})(?=[ \n](?:{_LETTER}|{_MARK}))"
# What a tokenizer separates that splits at whitespace whatever is beside it.
AFTER_MARKS = rf"(?:(?<={_LETTER})|(?<={_MARK})|(?<={_STOP}))(?=[ \n](?:{_LETTER}|{_MARK}))"
# BERT puts spaces around each of these characters.
BETWEEN_CHINESE = r"(?<=[\u4e00-\u9fff])(?=[\u4e00-\u9fff])"

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# GPT-2's, GPT-4's and Llama 3's, and Qwen's, which takes digits one by one.
_PATTERNS = (_GPT2, _CL100K, _CL100K.replace("{1,3}", ""))
# Normalisers that change a character and the marks on it, and nothing across a cut.
_LOCAL = ("BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "StripAccents", "Nmt")
_SPLITTING = ("BertPreTokenizer", "Whitespace", "WhitespaceSplit")
# Pre-tokenisers that only split further what they get.
_HARMLESS = ("Punctuation", "Digits")

# Texts that are hard to cut; each is cut at every place where that is allowed.
HARD_TEXTS = (
    "the quick brown fox jumps over 13 lazy dogs , and doesn't it? It's 3.14 o'clock now",
    "don't 'tis we'll 'll x 's y they've\nnew line\nnext! line.\n\n  two  spaces   three\t tab a b",
    "e\u0301 a\u0301 cafe\u0301 cafe caf\u00e9 o \u0308 \u0308 x\u0323\u0307 y \u00c5 \u212b z",
    "\u1100\u1161\u11a8 \u1161 \u11a8 \uac00 \uac01 \u0d4e a \u0600 12 \u0e33 b \ufdfa c \ufe70 d",
    "a\u200db a \u200d b \U0001f469\u200d\U0001f680 c \ufeff d \u00a0 e \u3000 f\u0000g h \u0000 i",
    "\u5217\u8f66\u516b\u70b9\u51fa\u53d1 x \u5217\u8f66\u3002 \u3053\u3093 \u306b\u3061\u306f y",
    "\u0130I \u0131i \u03a3\u03b1\u03c2 \u03a3 \ufb01ne \u00bd \u2460 \uff21\uff22 \ufe8e \u0149x",
    "[CLS] a [SEP] b<s> c </s> d <mask> e [MASK] f<unk> g \u2581h \u2581 i_j _ k \u0120l",
)


class Cuts:
    """The places at which the texts of one tokenizer may be cut."""

    def __init__(self, pattern: str) -> None:
        """pattern: matches the empty text at each place."""
        self._pattern = re.compile(pattern)

    def places(self, text: str) -> Iterator[int]:
        """All places, in order."""
        return (match.start() for match in self._pattern.finditer(text))

    def next(self, text: str, place: int, direction: Direction) -> int | None:
        """The nearest cut from `place` on; direction left: from `place` towards the beginning."""
        if direction == "right":
            match = self._pattern.search(text, place)
            return match.start() if match and match.start() < len(text) else None
        span = 256
        while True:
            start = max(0, place - span)
            last = None
            for match in self._pattern.finditer(text, start, min(len(text), place + 2)):
                if match.start() <= place:
                    last = match.start()
            if last:
                return last
            if not start:
                return None
            span *= 4


def find_cuts(
    tokenizer: HuggingFaceTokenizer, encode: Encode, texts: Sequence[str] = ()
) -> Cuts | None:
    """The cuts that a tokenizer allows; None: it is not known to allow any.

    Args:
        encode: ids of texts without special tokens.
        texts: further texts on which the cuts are tried.
    """
    pattern = _pattern_for(tokenizer)
    if pattern is None:
        return None
    cuts = Cuts(pattern)
    return cuts if _hold(cuts, encode, (*HARD_TEXTS, *texts)) else None


def _hold(cuts: Cuts, encode: Encode, texts: Sequence[str]) -> bool:
    """Whether the parts at each cut, and all parts together, give the ids of each text."""
    divided: list[list[str]] = []
    for text in texts:
        places = list(cuts.places(text))
        divided.append([text])
        divided += [[text[:place], text[place:]] for place in places]
        divided.append([text[a:b] for a, b in pairwise([0, *places, len(text)])])
    ids = iter(encode([part for parts in divided for part in parts]))
    whole: list[int] = []
    for parts in divided:
        joined = [token for _ in parts for token in next(ids)]
        if len(parts) == 1:
            whole = joined
        elif joined != whole:
            return False
    return True


def _pattern_for(tokenizer: HuggingFaceTokenizer) -> str | None:
    """The pattern of the cuts by the parts of a tokenizer; None: a part is not known."""
    normalizers = _flat(_described(tokenizer.normalizer), "normalizers")
    pre_tokenizers = _flat(_described(tokenizer.pre_tokenizer), "pretokenizers")
    if getattr(tokenizer.model, "dropout", None) or not all(map(_is_local, normalizers)):
        return None
    added = list(tokenizer.get_added_tokens_decoder().values())
    if not all(map(_is_plain, added)):
        return None
    at_spaces = any(_splits_at_spaces(part) for part in pre_tokenizers)
    at_words = any(_splits_at_words(part) for part in pre_tokenizers)
    known = all(
        _splits_at_spaces(part)
        or _splits_at_words(part)
        or part["type"] in _HARMLESS
        or part["type"] == "ByteLevel"
        for part in pre_tokenizers
    )
    if not known or not (at_spaces or at_words):
        return None
    if at_words:
        return AFTER_LETTERS
    chinese = any(part.get("handle_chinese_chars") for part in normalizers)
    if chinese and not any(re.search(BETWEEN_CHINESE, token.content) for token in added):
        return f"{AFTER_MARKS}|{BETWEEN_CHINESE}"
    return AFTER_MARKS


def _described(part: Normalizer | PreTokenizer | None) -> Part | None:
    """A part as `tokenizer.json` has it; the file as a whole would be some megabytes."""
    return None if part is None else json.loads(part.__getstate__())


def _flat(part: Part | None, members: str) -> list[Part]:
    """The parts of a sequence, sequences within it included, or the one part."""
    if part is None:
        return []
    if part["type"] != "Sequence":
        return [part]
    return [inner for member in part[members] for inner in _flat(member, members)]


def _is_local(part: Part) -> bool:
    kind = part["type"]
    if kind in _LOCAL or kind == "Precompiled":
        return True
    if kind == "Strip":
        return not part["strip_left"]  # a part of a text begins with a space
    if kind == "Replace":
        pattern = part["pattern"]
        if "Regex" in pattern:
            return pattern["Regex"] == " {2,}" and part["content"] in (" ", "▁")
        return _is_replaced_locally(pattern["String"], part["content"])
    return False


def _is_replaced_locally(text: str, content: str) -> bool:
    """Whether marks are replaced by marks, so that no letter or space comes or goes."""
    marks = all(unicodedata.category(character)[0] in "PS" for character in text + content)
    return bool(text and content) and marks and "▁" not in content


def _splits_at_spaces(part: Part) -> bool:
    if part["type"] == "Metaspace":
        return part.get("split") is not False and part.get("replacement") == "▁"
    return part["type"] in _SPLITTING


def _splits_at_words(part: Part) -> bool:
    if part["type"] == "ByteLevel":
        return part.get("use_regex") is not False
    if part["type"] == "Split":
        pattern = part["pattern"].get("Regex")
        return pattern in _PATTERNS and not part["invert"] and part["behavior"] == "Isolated"
    return False


def _is_plain(token: AddedToken) -> bool:
    """Whether a cut is never inside an added token and changes none beside it."""
    content = token.content
    if token.rstrip or token.single_word or "▁" in content:
        return False
    spaces = sum(map(str.isspace, content))
    # Several spaces in a row are an added token of some tokenizers; a cut is at one space alone.
    return not spaces or (spaces == len(content) and spaces > 1)
