"""Parts of texts give the ids of the whole: kinds of tokenizers, texts that are hard to cut."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import (
    AddedToken,
    Regex,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from tokenizers import Tokenizer as HuggingFaceTokenizer

from predictor.bundle.canonical import CANONICAL_TEXTS
from predictor.engine import cuts as cuts_module
from predictor.engine.cuts import HARD_TEXTS, find_cuts
from predictor.engine.tokenizer import WHOLE_CHARACTERS, Tokenizer
from predictor.errors import DeadlineExceeded, InputTooLong, InvalidInput
from predictor.types import Direction

LENGTH = 16
SPECIAL = ["<s>", "</s>", "<unk>", "<mask>"]
ALPHABET = pre_tokenizers.ByteLevel.alphabet()

Build = Callable[[], HuggingFaceTokenizer]


def trained(
    tokenizer: HuggingFaceTokenizer, trainer: trainers.Trainer, mask: AddedToken | None = None
) -> HuggingFaceTokenizer:
    tokenizer.train_from_iterator([*CANONICAL_TEXTS, *HARD_TEXTS[:2]] * 3, trainer)
    tokenizer.add_special_tokens([mask or AddedToken("<mask>", lstrip=True)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    return tokenizer


def byte_level() -> HuggingFaceTokenizer:
    """As RoBERTa."""
    tokenizer = HuggingFaceTokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    bpe = trainers.BpeTrainer(
        vocab_size=900, special_tokens=SPECIAL, initial_alphabet=ALPHABET, show_progress=False
    )
    return trained(tokenizer, bpe)


def by_pattern() -> HuggingFaceTokenizer:
    """As Qwen: a pattern, then bytes."""
    tokenizer = HuggingFaceTokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(cuts_module._PATTERNS[2]), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe = trainers.BpeTrainer(
        vocab_size=900, special_tokens=SPECIAL, initial_alphabet=ALPHABET, show_progress=False
    )
    return trained(tokenizer, bpe)


def unigram() -> HuggingFaceTokenizer:
    """As XLM-RoBERTa."""
    tokenizer = HuggingFaceTokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Nmt(),
            normalizers.NFKC(),
            normalizers.Strip(left=False, right=True),
            normalizers.Replace(Regex(" {2,}"), "▁"),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    model = trainers.UnigramTrainer(
        vocab_size=600, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False
    )
    return trained(tokenizer, model)


def words() -> HuggingFaceTokenizer:
    """Words and marks, each a token."""
    tokenizer = HuggingFaceTokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return trained(tokenizer, trainers.WordLevelTrainer(special_tokens=SPECIAL))


def saved(tokenizer: HuggingFaceTokenizer, folder: Path) -> Path:
    path = folder / "tokenizer.json"
    tokenizer.save(str(path))
    return path


@pytest.fixture(scope="module", params=["bert", "byte_level", "by_pattern", "unigram", "words"])
def tokenizer(
    request: pytest.FixtureRequest, model_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Tokenizer:
    """Tokenizers of every kind that is known to allow cuts."""
    kinds: dict[str, Build] = {
        "byte_level": byte_level,
        "by_pattern": by_pattern,
        "unigram": unigram,
        "words": words,
    }
    if request.param == "bert":
        path = model_dir / "tokenizer.json"
    else:
        path = saved(kinds[request.param](), tmp_path_factory.mktemp(request.param))
    made = Tokenizer(path, LENGTH)
    assert made._cuts is not None
    made.plain_characters = 1  # cut wherever a cut is allowed
    return made


def whole(tokenizer: Tokenizer, text: str, direction: Direction) -> list[int]:
    """The ids that the text has if all of it is tokenised, cut as the library cuts."""
    library = tokenizer._tokenizer
    (ids,) = [encoding.ids for encoding in library.encode_batch_fast([text])]
    return tokenizer.limit([ids], direction=direction).ids[0]


# Words, marks, combining characters, kinds of spaces, scripts, ligatures, added tokens, emoji.
ODD = (
    "  the word don't naïve 3 42 I'll x y Z . , ! ? ' \" - _ @ # ( ) \n \t \r \n\n "
    "é e\u0301 \u0301 \u0308 \u0323 \u200d \u200b \u00a0 \u3000 \ufeff \0 \x85 \u2028 "
    "列 车 。 、 列车八点出发 図書館 は 기차는 \u1100 \u1161 \u11a8 ร เ \u0e33 रेल \u093e "
    "\u0600 \u0d4e \ufdfa \ufe70 \u037a \u0149 ß İ Σ \ufb01 ½ ① \uff21 "
    "[CLS] [SEP] [MASK] [UNK] [ <mask> <s> </s> <unk> < > ▁ Ġ ▁a "
    "👩 🚀 👩\u200d🚀 \U0001d4d0 \U00011a3a \U000e0001"
)
PIECES = st.sampled_from([*ODD.split(" "), " ", " ", " ", "  ", "a" * 40, " a" * 8])
TEXTS = st.lists(PIECES, max_size=80).map("".join) | st.text(max_size=60)


@given(text=TEXTS, direction=st.sampled_from(["right", "left"]))
@settings(max_examples=150)
def test_a_part_gives_the_ids_of_the_whole(
    tokenizer: Tokenizer, text: str, direction: Direction
) -> None:
    (ids,) = tokenizer.encode([text], direction=direction).ids
    assert ids == whole(tokenizer, text, direction)


@pytest.mark.parametrize("direction", ["right", "left"])
def test_words_in_any_order(tokenizer: Tokenizer, direction: Direction) -> None:
    """Long texts, with the canonical texts as their parts."""
    parts = [*CANONICAL_TEXTS[:32], *HARD_TEXTS]
    for seed in range(60):
        order = random.Random(seed)
        text = order.choice([" ", "\n", "", ". "]).join(order.sample(parts, 20))
        assert tokenizer.encode([text], direction=direction).ids[0] == whole(
            tokenizer, text, direction
        )


def test_a_cut_text_is_not_read_beyond_what_is_kept(model_dir: Path) -> None:
    encoded: list[int] = []
    tokenizer = Tokenizer(model_dir / "tokenizer.json", 256)
    content = tokenizer._content

    def counting(parts: list[str]) -> list[list[int]]:
        encoded.append(sum(map(len, parts)))
        return content(parts)

    tokenizer._content = counting  # type: ignore[assignment,method-assign]
    for text in ("word " * 400_000, "列车" * 1_000_000, "a-b c " * 300_000):
        encoded.clear()
        for direction in ("right", "left"):
            tokens = tokenizer.encode([text], direction=direction)
            assert len(tokens.ids[0]) == 256
            assert tokens.truncated == [0]
        assert sum(encoded) <= 2 * 2 * tokenizer.plain_characters


def test_the_count_of_a_cut_text_is_more_than_the_limit(model_dir: Path) -> None:
    tokenizer = Tokenizer(model_dir / "tokenizer.json", 256)
    with pytest.raises(InputTooLong, match=r"inputs\[1\] has more than 256 tokens; the model"):
        tokenizer.encode(["a", "word " * 10_000], truncate=False)
    with pytest.raises(InputTooLong, match=r"inputs\[0\] has 302 tokens"):
        tokenizer.encode(["word " * 300], truncate=False)


def test_a_text_without_any_cut_is_refused_by_name_over_a_limit(model_dir: Path) -> None:
    tokenizer = Tokenizer(model_dir / "tokenizer.json", 256)
    assert tokenizer.encode(["x" * WHOLE_CHARACTERS]).truncated == []
    with pytest.raises(
        InputTooLong,
        match=r"inputs\[1\] has 131073 characters, and more than 131072 of them would have to be "
        "tokenised at once",
    ):
        tokenizer.encode(["a", "x" * (WHOLE_CHARACTERS + 1)])
    # Far behind what is kept it does not matter.
    assert tokenizer.encode(["word " * 500 + "x" * (WHOLE_CHARACTERS + 1)]).truncated == [0]


def test_a_lone_surrogate_in_a_long_text_is_named(model_dir: Path) -> None:
    tokenizer = Tokenizer(model_dir / "tokenizer.json", 256)
    with pytest.raises(InvalidInput, match=r"inputs\[5\] is not valid Unicode"):
        tokenizer.ids(["\ud800 " * 9000], places=[5])


def test_work_that_nobody_waits_for_ends_between_two_calls(model_dir: Path) -> None:
    tokenizer = Tokenizer(model_dir / "tokenizer.json", 256)
    calls: list[None] = []

    def check() -> None:
        calls.append(None)
        if len(calls) > 3:
            raise DeadlineExceeded("late")

    with pytest.raises(DeadlineExceeded):
        tokenizer.ids(["word " * 400] * 2048, check_wanted=check)
    assert len(calls) == 4


def without_pre_tokenizer() -> HuggingFaceTokenizer:
    tokenizer = byte_level()
    tokenizer.pre_tokenizer = None
    return tokenizer


def with_an_unknown_pattern() -> HuggingFaceTokenizer:
    tokenizer = byte_level()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\w+ \w+|."), "isolated"),
            pre_tokenizers.ByteLevel(use_regex=False),
        ]
    )
    return tokenizer


def with_a_prefix() -> HuggingFaceTokenizer:
    tokenizer = unigram()
    tokenizer.normalizer = normalizers.Prepend("▁")
    return tokenizer


def with_a_token_of_two_words() -> HuggingFaceTokenizer:
    tokenizer = byte_level()
    tokenizer.add_tokens([AddedToken("new york")])
    return tokenizer


def with_a_greedy_token() -> HuggingFaceTokenizer:
    tokenizer = byte_level()
    tokenizer.add_tokens([AddedToken("<|x|>", rstrip=True)])
    return tokenizer


def with_a_normaliser_that_joins_words() -> HuggingFaceTokenizer:
    tokenizer = unigram()
    tokenizer.normalizer = normalizers.Replace("brown fox", "brownfox")
    return tokenizer


@pytest.mark.parametrize(
    "build",
    [
        without_pre_tokenizer,
        with_an_unknown_pattern,
        with_a_prefix,
        with_a_token_of_two_words,
        with_a_greedy_token,
        with_a_normaliser_that_joins_words,
    ],
)
def test_other_tokenizers_are_used_on_whole_texts_only(build: Build, tmp_path: Path) -> None:
    tokenizer = Tokenizer(saved(build(), tmp_path), LENGTH)
    assert tokenizer._cuts is None
    text = "the quick brown fox, " * 200
    assert tokenizer.encode([text]).ids[0] == whole(tokenizer, text, "right")
    with pytest.raises(InputTooLong, match="would have to be tokenised at once"):
        tokenizer.encode(["word " * 30_000])


def test_a_tokenizer_that_fails_a_text_that_is_hard_to_cut_allows_no_cuts() -> None:
    tokenizer = words()

    def positional(texts: object) -> list[list[int]]:
        return [[index, len(str(text))] for index, text in enumerate(texts)]  # type: ignore[arg-type,var-annotated]

    assert find_cuts(tokenizer, positional) is None
