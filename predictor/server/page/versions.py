"""The lines of the page's table of versions: what is known of each, and what its series say."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from predictor import metrics
from predictor.errors import PredictorError
from predictor.repository import Answers
from predictor.server.model import EmbeddingModel
from predictor.server.page.reading import Labels, by_labels

# Lines of the table; those that answer come first, then those that failed.
MAX_VERSIONS = 64
# Characters of a reason; the whole of it is in the repository index.
MAX_REASON = 400


@dataclass(slots=True)
class VersionLine:
    """One version. What only a loaded one has is None for the others.

    state, reason: those of the repository index.
    failed: whether it should answer and may not.
    reference, tolerance: what its vectors were proven against, and the least cosine to them.
    cosine, looked_s: smallest cosine of the canonical texts at the last look, seconds since then.
    learning: whether the reference of the traffic is still made; drift: score by test, from 1 on
    it drifted; alarms: the tests that alarm.
    """

    name: str
    version: str
    state: str
    reason: str = ""
    failed: bool = False
    default: bool = False
    healthy: bool = True
    revision: str | None = None
    variant: str | None = None
    dimensions: int | None = None
    reference: str | None = None
    tolerance: float | None = None
    cosine: float | None = None
    looked_s: float | None = None
    learning: bool | None = None
    drift: dict[str, float] = field(default_factory=dict)
    alarms: list[str] = field(default_factory=list)
    requests: float = 0.0
    texts: float = 0.0
    tokens: float = 0.0


def lines_of(models: Answers[EmbeddingModel]) -> list[VersionLine]:
    """Every version that is known of, on the loop; without what `add_series` adds."""
    lines = {
        (entry.name, entry.version): VersionLine(
            entry.name, entry.version, str(entry.state), entry.reason[:MAX_REASON]
        )
        for entry in models.index()
    }
    for entry in models.problems():
        lines[entry.name, entry.version].failed = True
    for model in models.all():
        proof = model.loaded.bundle.variant(model.loaded.variant).proof
        line = lines[model.name, model.version]
        line.healthy = model.is_healthy
        line.revision, line.variant = model.revision, model.loaded.variant
        line.dimensions = model.loaded.bundle.dimensions
        line.reference, line.tolerance = proof.reference, proof.tolerance
    for name in models.names():
        with contextlib.suppress(PredictorError):  # nobody answers for it
            lines[name, models.find(name).version].default = True
    return sorted(lines.values(), key=_order)


def _order(line: VersionLine) -> tuple[bool, bool, str, int, str]:
    number = int(line.version) if line.version.isdecimal() else 0
    return line.state != "READY", not line.failed, line.name, -number, line.version


def add_series(lines: list[VersionLine], now: float) -> None:
    """Put in what the series say. now: seconds since the epoch; from any thread."""
    known: dict[Labels, VersionLine] = {(line.name, line.version): line for line in lines}
    _add_counts(known)
    looks = by_labels(metrics.CANONICAL_LOOKED, *metrics.MODEL)
    for key, cosine in by_labels(metrics.CANONICAL_COSINE, *metrics.MODEL).items():
        looked = looks.get(key)
        if key in known and looked:  # before the first look it is a zero that says nothing
            known[key].cosine, known[key].looked_s = cosine, max(0.0, now - looked)
    for key, learning in by_labels(metrics.DRIFT_LEARNING, *metrics.MODEL).items():
        if key in known:
            known[key].learning = bool(learning)
    of_test = (*metrics.MODEL, "test")
    alarms = by_labels(metrics.DRIFT_ALARM, *of_test)
    for (name, version, test), score in by_labels(metrics.DRIFT_SCORE, *of_test).items():
        if (line := known.get((name, version))) is not None:
            line.drift[test] = score
            if alarms.get((name, version, test)):
                line.alarms.append(test)


def _add_counts(known: Mapping[Labels, VersionLine]) -> None:
    """Requests; and the texts and tokens that were answered, run or out of the cache."""
    for count, sources in (
        ("requests", (metrics.REQUESTS,)),
        ("texts", (metrics.INPUTS, metrics.CACHE_HITS)),
        ("tokens", (metrics.TOKENS, metrics.CACHE_SAVED_TOKENS)),
    ):
        for source in sources:
            for key, value in by_labels(source, *metrics.MODEL).items():
                if (line := known.get(key)) is not None:
                    setattr(line, count, getattr(line, count) + value)
