"""Traffic as people make it: few texts often, many seldom (Zipf's law with exponent 1).

The most frequent tenth of 20 000 texts is 78 % of the requests. Which texts are the frequent ones
is left to chance, but so that the mean length of what is sent is that of the corpus: otherwise the
length of the first few would decide on every figure.
"""

import random
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .corpus import Corpus

DISTINCT = 20_000
TOLERANCE = 0.02  # of the mean length
Ranks = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Popularity:
    """Texts, the most frequent first, and how often each is drawn."""

    texts: list[str]
    weights: npt.NDArray[np.float64]

    def draws(self, count: int, seed: int) -> Ranks:
        """What is sent, as ranks from 0, `[count]`."""
        rng = np.random.default_rng(seed)
        return rng.choice(len(self.texts), count, p=self.weights)


def popularity(corpus: Corpus, distinct: int = DISTINCT) -> Popularity:
    """`distinct` texts: those of the corpus behind a number, so that there are enough."""
    size = len(corpus.texts)
    weights = 1 / np.arange(1, distinct + 1)
    weights /= weights.sum()
    mean = float(np.mean(corpus.tokens))
    rng = random.Random(1)
    order = list(range(distinct))
    sent = 0.0
    while abs(sent / mean - 1) > TOLERANCE:
        rng.shuffle(order)
        sent = float(np.dot(weights, [corpus.tokens[i % size] for i in order]))
    return Popularity([f"{1 + i // size} {corpus.texts[i % size]}" for i in order], weights)


def ideal_share(sent: Ranks, rows: int) -> float:
    """Hits of a cache that holds the `rows` most frequent texts all the time."""
    return float((sent < rows).mean())
