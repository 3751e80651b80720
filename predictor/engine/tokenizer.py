"""Texts to token ids, with the model's own limit and never a silent cut.

A `tokenizer.json` may bake in a truncation and padding that are not the model's (all-MiniLM's cuts
at 128, the model takes 256), so both are switched off and the cut is made here, where it can be
reported per input. Cutting after encoding gives the ids that truncation inside gives: content from
one side, special tokens kept.

The library takes about 450 bytes a character while it encodes. Texts are therefore encoded some at
a time, and of a long text only as much as is needed to fill the model's length, from the end that
is kept, where `cuts` allows it.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path

from tokenizers import Tokenizer as HuggingFaceTokenizer
from tokenizers.normalizers import Lowercase
from tokenizers.normalizers import Sequence as Normalizers

from predictor.bundle.canonical import CANONICAL_TEXTS
from predictor.engine.cuts import Cuts, find_cuts
from predictor.errors import INPUTS, BadModel, EngineError, InputTooLong, InvalidInput
from predictor.types import Direction, Tokens
from predictor.wall import load_error, run_error

logger = logging.getLogger(__name__)

# One text of up to so many characters is encoded without giving up Python's lock: the batch call
# gives it up, and taking it back from gRPC's or an engine's thread costs more than a short text.
SHORT_CHARACTERS = 256
# Characters that are encoded in one call if they are of several texts or parts of a text.
CALL_CHARACTERS = 1 << 16
# Characters that may have to be encoded in one call because there is no cut between them; the
# library takes about 60 MB for them.
WHOLE_CHARACTERS = 1 << 17
# A text of up to so many characters for each token of the model's length is encoded as a whole;
# prose has four to five.
PLAIN_CHARACTERS = 8
# Canonical texts up to this length are tried with the cuts; the others repeat themselves.
TRIED_CHARACTERS = 80

CheckWanted = Callable[[], None]


def _nothing() -> None:
    """Stand in for the check whether a client waits."""


class Tokenizer:
    """Immutable after construction; may be called from several threads at once."""

    def __init__(
        self,
        path: Path,
        max_length: int,
        *,
        lower_case: bool = False,
        content: bytes | None = None,
    ) -> None:
        """Load `tokenizer.json`.

        Args:
            content: what to load instead of the file, which is then only named in errors.
            max_length: most tokens of a text, special tokens included.
            lower_case: put a lower-casing step before the tokenizer's own normalisation, as
                sentence-transformers does for `do_lower_case`.

        Raises:
            BadModel: the file is missing or is not a tokenizer.
        """
        self.max_length = max_length
        try:
            self._tokenizer = _open(path, content, lower_case=lower_case)
            self.vocab_size: int = self._tokenizer.get_vocab_size(with_added_tokens=True)
            self.unknown_id = self._find_unknown()
            self._prefix, self._suffix = self._special_tokens()
        except BaseException as error:
            raise load_error(f"{path}: not a readable tokenizer", error) from None
        if max_length <= len(self._prefix) + len(self._suffix):
            raise BadModel(f"{path}: max length {max_length} leaves no room beside special tokens")
        self._room = max_length - len(self._prefix) - len(self._suffix)
        # Characters of the longest text that is always encoded as a whole.
        self.plain_characters = max(2 * 1024, PLAIN_CHARACTERS * max_length)
        # Characters of the longest stretch without a cut that is encoded.
        self.whole_characters = max(WHOLE_CHARACTERS, self.plain_characters)
        self._cuts = self._find_cuts(path)

    def _find_cuts(self, path: Path) -> Cuts | None:
        tried = [text for text in CANONICAL_TEXTS if len(text) <= TRIED_CHARACTERS]
        try:
            cuts = find_cuts(self._tokenizer, self._content, tried)
        except EngineError:  # it fails on a text that is hard to cut
            cuts = None
        except BaseException as error:
            raise load_error(f"{path}: not a readable tokenizer", error) from None
        if cuts is None:
            logger.warning(
                "%s: texts of this tokenizer are encoded as a whole, those of more than %d "
                "characters are refused: it is not known where they could be cut before",
                path,
                self.whole_characters,
            )
        return cuts

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
            EngineError: the tokenizer failed on a text.
        """
        return self.limit(self.ids(texts, direction), truncate=truncate, direction=direction)

    def ids(
        self,
        texts: Sequence[str],
        direction: Direction = "right",
        *,
        places: Sequence[int] | None = None,
        check_wanted: CheckWanted = _nothing,
    ) -> list[list[int]]:
        """Token ids of each text, special tokens included.

        A text with more tokens than the model takes has all of them, or one more than the model
        takes, from the end that is kept.

        Args:
            direction: the end at which a long text would be cut.
            places: of the texts in the request, for errors; None: the texts are the request's.
            check_wanted: raises if no client waits for the ids any more; called before each call of
                the library.

        Raises:
            InvalidInput: a text is not valid Unicode (a lone surrogate).
            InputTooLong: too many characters of a text would have to be encoded at once.
            EngineError: the tokenizer failed on a text.
        """
        if len(texts) == 1 and len(texts[0]) <= SHORT_CHARACTERS:
            return self._encode(texts, places)
        rows: list[list[int]] = []
        for start, stop in self._calls(texts):
            check_wanted()
            if len(texts[start]) <= self.plain_characters:
                rows += self._encode(texts[start:stop], places or range(len(texts)), start)
                continue
            try:
                rows.append(self._long(texts[start], direction, check_wanted))
            except (TypeError, UnicodeError) as error:
                raise _not_unicode(places[start] if places else start) from error
            except _NoCut as error:
                index = places[start] if places else start
                raise InputTooLong(
                    f"inputs[{index}] has {len(texts[start])} characters, and more than "
                    f"{self.whole_characters} of them would have to be tokenised at once"
                ) from error
        return rows

    def _calls(self, texts: Sequence[str]) -> Iterator[tuple[int, int]]:
        """Ranges of texts that are encoded in one call; a long text is alone."""
        start = 0
        size = 0
        for index, text in enumerate(texts):
            long = len(text) > self.plain_characters
            if index > start and (long or size + len(text) > CALL_CHARACTERS):
                yield start, index
                start = index
                size = 0
            size += len(text)
            if long:
                yield index, index + 1
                start = index + 1
                size = 0
        if start < len(texts):
            yield start, len(texts)

    def _encode(
        self, texts: Sequence[str], places: Sequence[int] | None, first: int = 0
    ) -> list[list[int]]:
        """All ids of some texts, the first of which is at `places[first]` of the request."""
        try:
            if len(texts) == 1 and len(texts[0]) <= SHORT_CHARACTERS:
                return [self._tokenizer.encode(texts[0]).ids]
            return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(texts)]
        except (TypeError, UnicodeError) as error:
            index = first + _first_not_unicode(texts)
            raise _not_unicode(places[index] if places else index) from error
        except BaseException as error:
            raise run_error("the tokenizer", error) from None

    def _content(self, parts: Sequence[str]) -> list[list[int]]:
        """The ids of parts of a text, without special tokens.

        Raises:
            TypeError, UnicodeError: a part is not valid Unicode.
            EngineError: the tokenizer failed on a part.
        """
        try:
            encodings = self._tokenizer.encode_batch_fast(parts, add_special_tokens=False)
        except (TypeError, UnicodeError):
            raise
        except BaseException as error:
            raise run_error("the tokenizer", error) from None
        return [encoding.ids for encoding in encodings]

    def _long(self, text: str, direction: Direction, check_wanted: CheckWanted) -> list[int]:
        """Ids of a text from the end that is kept, special tokens included; see `ids`.

        Raises:
            _NoCut: too many characters would have to be encoded at once.
        """
        most = self._room + 1
        content: list[int] = []
        for part in self._parts(text, direction):
            check_wanted()
            (ids,) = self._content([part])
            content = content + ids if direction == "right" else ids + content
            if len(content) >= most:
                content = content[:most] if direction == "right" else content[-most:]
                break
        return [*self._prefix, *content, *self._suffix]

    def _parts(self, text: str, direction: Direction) -> Iterator[str]:
        """The parts of a text between cuts, beginning at the end that is kept.

        Raises:
            _NoCut: the next part is too long.
        """
        size = self.plain_characters
        rest = text
        while rest:
            cut = self._next_cut(rest, size, direction)
            if direction == "right":
                part = rest[:cut]
                rest = rest[cut:] if cut is not None else ""
            else:
                part = rest[cut or 0 :]
                rest = rest[: cut or 0]
            if len(part) > self.whole_characters:
                raise _NoCut
            yield part
            size = max(size, min(2 * size, CALL_CHARACTERS))

    def _next_cut(self, text: str, size: int, direction: Direction) -> int | None:
        if self._cuts is None or len(text) <= size:
            return None
        place = size if direction == "right" else len(text) - size
        return self._cuts.next(text, place, direction)

    def wrap(
        self,
        rows: Sequence[list[int]],
        *,
        truncate: bool = True,
        direction: Direction = "right",
        most: int | None = None,
    ) -> Tokens:
        """Check token ids that the client made, and add the special tokens where they are missing.

        Raises:
            InvalidInput: an id is not in the vocabulary.
            InputTooLong: a row is over the limit and `truncate` is False.
        """
        prefix = self._prefix
        suffix = self._suffix
        wrapped: list[list[int]] = []
        for index, row in enumerate(rows):
            self._check_ids(row, index)
            whole = (
                len(row) >= len(prefix) + len(suffix)
                and row[: len(prefix)] == prefix
                and row[len(row) - len(suffix) :] == suffix
            )
            wrapped.append(list(row) if whole else [*prefix, *row, *suffix])
        return self.limit(wrapped, truncate=truncate, direction=direction, most=most)

    def _check_ids(self, row: list[int], index: int) -> None:
        for token in row:
            if not 0 <= token < self.vocab_size:
                raise InvalidInput(
                    f"inputs[{index}] has token id {token}; this model's vocabulary has ids "
                    f"0 to {self.vocab_size - 1}",
                    param=INPUTS,
                )

    def decode(self, ids: list[int], *, skip_special_tokens: bool = True) -> str:
        """The text of token ids.

        Raises:
            InvalidInput: an id is not in the vocabulary.
            EngineError: the tokenizer failed on the ids.
        """
        self._check_ids(ids, 0)
        try:
            # The call for one list would keep Python's lock.
            (text,) = self._tokenizer.decode_batch([ids], skip_special_tokens=skip_special_tokens)
        except BaseException as error:
            raise run_error("the tokenizer", error) from None
        return str(text)

    def pieces(self, text: str, *, add_special_tokens: bool) -> "list[Piece]":
        """Each token of a text: id, the text it stands for, special or not, place in bytes.

        As TEI's `/tokenize` has it (core/src/tokenization.rs, `into_tokens`): the text is that of
        the input, not of the vocabulary, and places count UTF-8 bytes.

        Raises:
            InvalidInput: the text is not valid Unicode (a lone surrogate).
            EngineError: the tokenizer failed on the text.
        """
        try:
            # The call for one text would keep Python's lock.
            (encoding,) = self._tokenizer.encode_batch(
                [text], add_special_tokens=add_special_tokens
            )
        except (TypeError, UnicodeError) as error:
            raise InvalidInput(
                "inputs is not valid Unicode text (lone surrogate)", param=INPUTS
            ) from error
        except BaseException as error:
            raise run_error("the tokenizer", error) from None
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
        self,
        rows: list[list[int]],
        *,
        truncate: bool = True,
        direction: Direction = "right",
        most: int | None = None,
    ) -> Tokens:
        """Cut what is longer than the model's length, or than `most`, special tokens kept.

        Raises:
            InvalidInput: `most` has no room for a token beside the special ones.
            InputTooLong: a row is over the limit and `truncate` is False.
        """
        limit = self.max_length if most is None else min(most, self.max_length)
        long = [index for index, row in enumerate(rows) if len(row) > limit]
        if long and not truncate:
            count = len(rows[long[0]])
            # One more than the limit may be the beginning of a longer text, see `ids`.
            shown = str(count) if count > limit + 1 else f"more than {limit}"
            raise InputTooLong(
                f"inputs[{long[0]}] has {shown} tokens; the model takes {limit} and truncation is "
                "off"
            )
        start = len(self._prefix)
        end = len(self._suffix)
        keep = limit - start - end
        if keep < 1 and most is not None:
            raise InvalidInput(
                f"inputs are to be cut to {most} tokens; this model needs at least "
                f"{start + end + 1}"
            )
        extra = 0
        for index in long:
            row = rows[index]
            extra += len(row) - limit
            content = row[start : len(row) - end]
            content = content[:keep] if direction == "right" else content[-keep:]
            rows[index] = [*self._prefix, *content, *self._suffix]
        return Tokens(rows, long, extra)


def _open(path: Path, content: bytes | None, *, lower_case: bool) -> HuggingFaceTokenizer:
    """The library's tokenizer, without a cut and padding of its own. Raises what it raises."""
    if content is None:
        tokenizer = HuggingFaceTokenizer.from_file(str(path))
    else:
        tokenizer = HuggingFaceTokenizer.from_buffer(content)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    if lower_case:
        normalizer = tokenizer.normalizer
        tokenizer.normalizer = Normalizers([Lowercase(), *([normalizer] if normalizer else [])])
    return tokenizer


Piece = tuple[int, str, bool, tuple[int, int] | None]
"""id, text, special, (start, stop) in bytes of the text or None for a special token."""


class _NoCut(Exception):
    """Too many characters of a text would have to be encoded at once."""


def _not_unicode(index: int) -> InvalidInput:
    return InvalidInput(f"inputs[{index}] is not valid Unicode text (lone surrogate)", param=INPUTS)


def _first_not_unicode(texts: Sequence[str]) -> int:
    for index, text in enumerate(texts):
        try:
            text.encode()
        except UnicodeError:
            return index
    return 0
