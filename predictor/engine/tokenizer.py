"""Texts to token ids, with the model's own limit and never a silent cut.

A `tokenizer.json` may bake in a truncation and padding that are not the model's (all-MiniLM's cuts
at 128, the model takes 256), so both are switched off and the cut is made here, where it can be
reported per input. Cutting after encoding gives the ids that truncation inside gives: content from
one side, special tokens kept.
"""

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

from tokenizers import Tokenizer as HuggingFaceTokenizer
from tokenizers.normalizers import Lowercase
from tokenizers.normalizers import Sequence as Normalizers

from predictor.errors import BadModel, InputTooLong, InvalidInput
from predictor.types import Direction, Tokens

# One text of up to so many characters is encoded without giving up Python's lock: the batch call
# gives it up, and taking it back from gRPC's or an engine's thread costs more than a short text.
SHORT_CHARACTERS = 256


class Tokenizer:
    """Immutable after construction; may be called from several threads at once."""

    def __init__(self, path: Path, max_length: int, *, lower_case: bool = False) -> None:
        """Load `tokenizer.json`.

        Args:
            max_length: most tokens of a text, special tokens included.
            lower_case: put a lower-casing step before the tokenizer's own normalisation, as
                sentence-transformers does for `do_lower_case`.

        Raises:
            BadModel: the file is missing or is not a tokenizer.
        """
        try:
            self._tokenizer = HuggingFaceTokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception
            raise BadModel(f"{path}: not a readable tokenizer: {error}") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        if lower_case:
            own = self._tokenizer.normalizer
            self._tokenizer.normalizer = Normalizers([Lowercase(), *([own] if own else [])])
        self.max_length = max_length
        self.vocab_size: int = self._tokenizer.get_vocab_size(with_added_tokens=True)
        self.unknown_id = self._find_unknown()
        self._prefix, self._suffix = self._special_tokens()
        if max_length <= len(self._prefix) + len(self._suffix):
            raise BadModel(f"{path}: max length {max_length} leaves no room beside special tokens")

    def _find_unknown(self) -> int | None:
        """The token for what the vocabulary lacks; Unigram models do not say which it is."""
        names = (getattr(self._tokenizer.model, "unk_token", None), "<unk>", "[UNK]")
        ids = (self._tokenizer.token_to_id(name) for name in names if name)
        return next((token for token in ids if token is not None), None)

    def _special_tokens(self) -> tuple[list[int], list[int]]:
        """Ids put before and after every text, found by encoding one that is not empty."""
        probe = self._tokenizer.encode("a")
        content = [i for i, special in enumerate(probe.special_tokens_mask) if not special]
        if not content:
            return list(probe.ids), []
        return list(probe.ids[: content[0]]), list(probe.ids[content[-1] + 1 :])

    def encode(
        self, texts: Sequence[str], *, truncate: bool = True, direction: Direction = "right"
    ) -> Tokens:
        """Token ids of each text, special tokens included, cut to the model's length.

        Raises:
            InvalidInput: a text is not valid Unicode (a lone surrogate).
            InputTooLong: a text is over the limit and `truncate` is False.
        """
        return self.limit(self.ids(texts), truncate=truncate, direction=direction)

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, special tokens included, however many there are.

        Raises:
            InvalidInput: a text is not valid Unicode (a lone surrogate).
        """
        try:
            if len(texts) == 1 and len(texts[0]) <= SHORT_CHARACTERS:
                encodings = [self._tokenizer.encode(texts[0])]
            else:
                encodings = self._tokenizer.encode_batch_fast(texts)
        except (TypeError, UnicodeError) as error:
            raise InvalidInput(
                f"inputs[{_first_not_unicode(texts)}] is not valid Unicode text (lone surrogate)"
            ) from error
        return [encoding.ids for encoding in encodings]

    def wrap(
        self, rows: Sequence[list[int]], *, truncate: bool = True, direction: Direction = "right"
    ) -> Tokens:
        """Check token ids that the client made, and add the special tokens where they are missing.

        Raises:
            InvalidInput: an id is not in the vocabulary.
            InputTooLong: a row is over the limit and `truncate` is False.
        """
        prefix, suffix = self._prefix, self._suffix
        wrapped: list[list[int]] = []
        for index, row in enumerate(rows):
            self._check_ids(row, index)
            whole = (
                len(row) >= len(prefix) + len(suffix)
                and row[: len(prefix)] == prefix
                and row[len(row) - len(suffix) :] == suffix
            )
            wrapped.append(list(row) if whole else [*prefix, *row, *suffix])
        return self.limit(wrapped, truncate=truncate, direction=direction)

    def _check_ids(self, row: list[int], index: int) -> None:
        for token in row:
            if not 0 <= token < self.vocab_size:
                raise InvalidInput(
                    f"inputs[{index}] has token id {token}; this model's vocabulary has ids "
                    f"0 to {self.vocab_size - 1}"
                )

    def decode(self, ids: list[int], *, skip_special_tokens: bool = True) -> str:
        """The text of token ids. Raises InvalidInput for an id that is not in the vocabulary."""
        self._check_ids(ids, 0)
        return str(self._tokenizer.decode(ids, skip_special_tokens=skip_special_tokens))

    def pieces(self, text: str, *, add_special_tokens: bool) -> "list[Piece]":
        """Each token of a text: id, the text it stands for, special or not, place in bytes.

        As TEI's `/tokenize` has it (core/src/tokenization.rs, `into_tokens`): the text is that of
        the input, not of the vocabulary, and places count UTF-8 bytes.

        Raises:
            InvalidInput: the text is not valid Unicode (a lone surrogate).
        """
        try:
            encoding = self._tokenizer.encode(text, add_special_tokens=add_special_tokens)
        except (TypeError, UnicodeError) as error:
            raise InvalidInput("inputs is not valid Unicode text (lone surrogate)") from error
        bytes_before = [0, *accumulate(len(character.encode()) for character in text)]
        pieces: list[Piece] = []
        for token, name, special, (start, stop) in zip(
            encoding.ids,
            encoding.tokens,
            encoding.special_tokens_mask,
            encoding.offsets,
            strict=True,
        ):
            if special:
                pieces.append((token, name, True, None))
            else:
                span = bytes_before[start], bytes_before[stop]
                pieces.append((token, text[start:stop], False, span))
        return pieces

    def limit(
        self, rows: list[list[int]], *, truncate: bool = True, direction: Direction = "right"
    ) -> Tokens:
        """Cut what is longer than the model's length, special tokens kept.

        Raises:
            InputTooLong: a row is over the limit and `truncate` is False.
        """
        limit = self.max_length
        long = [index for index, row in enumerate(rows) if len(row) > limit]
        if long and not truncate:
            raise InputTooLong(
                f"inputs[{long[0]}] has {len(rows[long[0]])} tokens; the model takes {limit} and "
                "truncation is off"
            )
        start, end = len(self._prefix), len(self._suffix)
        keep = limit - start - end
        for index in long:
            row = rows[index]
            content = row[start : len(row) - end]
            content = content[:keep] if direction == "right" else content[-keep:]
            rows[index] = [*self._prefix, *content, *self._suffix]
        return Tokens(rows, long)


Piece = tuple[int, str, bool, tuple[int, int] | None]
"""id, text, special, (start, stop) in bytes of the text or None for a special token."""


def _first_not_unicode(texts: Sequence[str]) -> int:
    for index, text in enumerate(texts):
        try:
            text.encode()
        except UnicodeError:
            return index
    return 0
