"""English-looking texts with the lengths of real traffic, the same on every machine.

Nothing is downloaded and nothing is random between runs: a seed, a word list and the model's own
tokenizer give the texts. Their lengths are log-normal, and every 64 texts in a row hold the whole
distribution, so that a slow server, which gets through fewer texts in the time, sees the same mix
as a fast one.

Each text is sent behind a number that grows with every pass over the file ("17 The old ..."): no
text is ever sent twice to one server, so no cache can answer in the engine's place. The number is
part of the lengths given here. Only the section `cache` sends texts again, and says so.
"""

import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

from tokenizers import Tokenizer

MEDIAN_TOKENS = 23
SIGMA = 0.9  # of the logarithm: mean 34.6, 95th percentile 101
MEAN_TOKENS = 35
MIN_TOKENS = 7
MAX_TOKENS = 256
QUERY_TOKENS = 16
BLOCK = 64
COUNT = 4096

WORDS = {
    "D": "the a this that every each our their its some another no any your my",
    "A": "old new small large quiet early late open local public simple heavy bright cold warm "
    "long short deep clear common rare strong weak rich poor fresh dry green red white black blue "
    "free full empty high low young modern ancient northern southern foreign central final first "
    "second third major minor single double safe slow fast true false famous serious private "
    "national",
    "N": "river city house garden teacher student market train station letter book engine road "
    "village mountain forest island bridge school church window door table kitchen winter summer "
    "morning evening night year week month hour story song picture film paper report number price "
    "company office worker farmer doctor soldier king queen child father mother brother sister "
    "friend neighbor stranger captain ship boat harbor coast ocean wind storm rain snow fire stone "
    "metal gold silver water bread fish horse dog cat bird tree flower field hill valley street "
    "tower wall roof floor machine computer network server message question answer problem method "
    "theory study science history language music dance theater museum library law court judge "
    "police army war peace government president minister election party union state nation border",
    "V": "finds leaves keeps opens closes moves carries builds breaks follows leads meets watches "
    "hears knows needs wants helps calls asks tells shows gives takes brings sends holds turns "
    "starts stops changes covers crosses enters reaches serves saves sells buys pays wins loses "
    "plays reads writes draws teaches learns studies measures counts compares describes explains",
    "P": "in on at by near behind before after under over beside between with without against "
    "through across along around above below beyond during until toward from into",
    "R": "slowly quickly often never always again soon still also perhaps rarely usually nearly "
    "finally quietly clearly mostly together alone twice once",
    "C": "and but because while although when where since unless so",
}
PARTS = {kind: words.split() for kind, words in WORDS.items()}
PATTERNS = (
    "D A N V D N P D N",
    "D N V D A N",
    "D N R V D N P D A N",
    "P D A N D N V D N",
    "D N V D N C D N V D A N P D N",
    "R D N P D N V D N",
    "D A N C D N V P D N R",
    "D N V D N P D N C D A N V R",
)


@dataclass(frozen=True)
class Corpus:
    """Texts in the order of sending; `tokens` counts special tokens and the leading number."""

    texts: list[str]
    tokens: list[int]

    def of_length(self, tokens: int) -> str:
        """The text whose number of tokens is nearest to `tokens`."""
        nearest = min(range(len(self.tokens)), key=lambda i: abs(self.tokens[i] - tokens))
        return self.texts[nearest]

    def near_length(self, tokens: int, tolerance: int) -> list[str]:
        """All texts that have `tokens` tokens, or at most `tolerance` more or fewer."""
        return [
            text
            for text, count in zip(self.texts, self.tokens, strict=True)
            if abs(count - tokens) <= tolerance
        ]

    def tokens_in_first(self, count: int) -> int:
        """Tokens of the first `count` texts sent, when the texts are sent round and round."""
        rounds, rest = divmod(count, len(self.tokens))
        return rounds * sum(self.tokens) + sum(self.tokens[:rest])

    def write(self, path: Path) -> Path:
        return write_lines(self.texts, path)


def write_lines(texts: Iterable[str], path: Path) -> Path:
    """A file for the client, one text a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{text}\n" for text in texts))
    return path


def mixed(tokenizer_file: Path, seed: int = 1) -> Corpus:
    rng = random.Random(seed)
    return _corpus(tokenizer_file, _lengths(COUNT, rng), rng)


def queries(tokenizer_file: Path, seed: int = 2) -> Corpus:
    return _corpus(tokenizer_file, [QUERY_TOKENS] * COUNT, random.Random(seed))


def _lengths(count: int, rng: random.Random) -> list[int]:
    normal = NormalDist(math.log(MEDIAN_TOKENS), SIGMA)
    lengths: list[int] = []
    while len(lengths) < count:
        block = [round(math.exp(normal.inv_cdf((i + rng.random()) / BLOCK))) for i in range(BLOCK)]
        rng.shuffle(block)
        lengths += [min(max(length, MIN_TOKENS), MAX_TOKENS) for length in block]
    return lengths[:count]


def _corpus(tokenizer_file: Path, lengths: Sequence[int], rng: random.Random) -> Corpus:
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    costs: dict[str, int] = {}

    def cost(word: str) -> int:
        if word not in costs:
            costs[word] = len(tokenizer.encode(word, add_special_tokens=False).ids)
        return costs[word]

    overhead = len(tokenizer.encode("1").ids)
    used: set[str] = set()
    texts: list[str] = []
    for length in lengths:
        text = next(t for t in _texts(length - overhead, cost, rng) if t not in used)
        used.add(text)
        texts.append(text)
    encodings = tokenizer.encode_batch([f"1 {text}" for text in texts])
    return Corpus(texts, [len(encoding.ids) for encoding in encodings])


def _texts(tokens: int, cost: Callable[[str], int], rng: random.Random) -> Iterator[str]:
    while True:
        yield _text(tokens, cost, rng)


def _text(tokens: int, cost: Callable[[str], int], rng: random.Random) -> str:
    """Sentences of exactly `tokens` tokens, or one or two fewer where no word fits the rest."""
    words: list[str] = []
    left = tokens - 1  # the last full stop
    refused = 0
    while left > 0 and refused < 100:
        for place, word in enumerate(rng.choice(PATTERNS).split()):
            chosen = rng.choice(PARTS[word])
            chosen = chosen.capitalize() if place == 0 else chosen
            if cost(chosen) > left:
                refused += 1
                continue
            words.append(chosen)
            left -= cost(chosen)
        if left > 1 and words:
            words[-1] += "."
            left -= 1
    return " ".join(words) + "."
