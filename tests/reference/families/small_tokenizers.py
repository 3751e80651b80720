"""Small tokenizers of the kinds that encoders are published with, trained on the reference texts.

Each of ``texts.WORDS`` is one token in all of them; ``make_families`` checks it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers import processors as post
from tokenizers import trainers as train

from tests.reference.texts import texts

from .texts import WORDS

VOCABULARY = 320
_LONGEST = 400


@dataclass(frozen=True)
class Special:
    """The special tokens, in the order of their ids where they come first in the vocabulary."""

    start: str
    pad: str
    end: str
    unknown: str
    mask: str

    @property
    def roberta(self) -> list[str]:
        return [self.start, self.pad, self.end, self.unknown, self.mask]

    @property
    def bert(self) -> list[str]:
        return [self.pad, self.unknown, self.start, self.end, self.mask]


BERT = Special("[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]")
ROBERTA = Special("<s>", "<pad>", "</s>", "<unk>", "<mask>")
# MPNet's unknown token is BERT's.
MPNET = Special("<s>", "<pad>", "</s>", "[UNK]", "<mask>")


def wordpiece(special: Special, *, cased: bool = False) -> Any:
    """BERT's, MPNet's: words, and parts of words that begin with `##`."""
    tokenizer = Tokenizer(models.WordPiece(unk_token=special.unknown))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=not cased)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    order = special.bert if special is BERT else special.roberta
    trainer = train.WordPieceTrainer(
        vocab_size=VOCABULARY, special_tokens=order, limit_alphabet=90, show_progress=False
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    return _wrapped(tokenizer, special)


def byte_level(special: Special, *, last: bool = False) -> Any:
    """RoBERTa's, ModernBERT's: pairs of bytes; `last` puts the special tokens last."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = train.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[] if last else special.roberta,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    tokenizer.add_special_tokens(special.bert)
    return _wrapped(tokenizer, special)


def unigram(special: Special) -> Any:
    """XLM-RoBERTa's: pieces by their probability, spaces written as U+2581."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    tokenizer.decoder = decoders.Metaspace()
    trainer = train.UnigramTrainer(
        vocab_size=VOCABULARY,
        special_tokens=special.roberta,
        unk_token=special.unknown,
        show_progress=False,
    )
    # All characters of the corpus get a token, so it has to be of few scripts.
    tokenizer.train_from_iterator([text for text in _corpus() if max(text) < "\u0500"], trainer)
    tokenizer.add_special_tokens([AddedToken(special.mask, lstrip=True, special=True)])
    return _wrapped(tokenizer, special)


def _corpus() -> Sequence[str]:
    """The texts, and the one-token words so often that they become one token."""
    plain = [text for text in texts() if 0 < len(text) <= _LONGEST and "\x00" not in text]
    return [*plain, *[" ".join(WORDS)] * 200]


def _wrapped(tokenizer: Any, special: Special) -> Any:
    ends = [(token, tokenizer.token_to_id(token)) for token in (special.start, special.end)]
    tokenizer.post_processor = post.TemplateProcessing(
        single=f"{special.start} $A {special.end}",
        pair=f"{special.start} $A {special.end} $B {special.end}",
        special_tokens=ends,
    )
    return tokenizer
