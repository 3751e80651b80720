"""The results of a comparison: a table for people, JSON for programs, and the exit code."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..report import aligned, number
from .comparison import TOLERANCE, CommitComparison, RatioInterval

HEAD = (
    "section",
    "figure",
    "unit",
    "this tree",
    "commit",
    "ratio",
    "spread of the rounds",
    "95 % interval",
    "verdict",
)


@dataclass
class ComparisonResults:
    """Filled section by section."""

    machine: dict[str, Any]
    candidate_commit: str
    # Whether tracked files of this tree differ from its commit.
    candidate_modified: bool
    baseline_commit: str
    rounds: int
    run_seconds: float
    # The least ratio that --at-least asks for; None asks for nothing.
    at_least: float | None = None
    comparisons: list[CommitComparison] = field(default_factory=list)
    # Why a section did not run, by its name.
    failures: dict[str, str] = field(default_factory=dict)
    # Cores that other processes kept busy before a section, at most.
    busy_cores: float = 0.0

    @property
    def too_slow(self) -> list[CommitComparison]:
        """Figures whose ratio is lower than --at-least."""
        if self.at_least is None:
            return []
        return [c for c in self.comparisons if not c.ratio >= self.at_least]

    @property
    def exit_code(self) -> int:
        """1 if something did not run, met errors, or is slower than --at-least allows."""
        invalid = any(comparison.errors for comparison in self.comparisons)
        return 1 if self.failures or invalid or self.too_slow else 0

    def table(self) -> str:
        modified = " with local changes" if self.candidate_modified else ""
        lines = [
            f"CPU: {self.machine['cpu']}, {self.machine['cores']} cores",
            f"this tree: {self.candidate_commit[:12]}{modified}",
            f"commit: {self.baseline_commit[:12]}",
            f"{self.rounds} rounds of {self.run_seconds:g} s; other processes before the sections: "
            f"at most {self.busy_cores:.2f} cores busy",
            "A ratio above 1 means that this tree is better, also where the unit is a time.",
            "",
            *aligned([HEAD, *map(self._cells, self.comparisons)], left=3),
        ]
        lines += [f"{name} did not run: {why}" for name, why in self.failures.items()]
        lines += [
            f"{c.section}, {c.figure}, {c.unit}: {c.ratio:.3f} is lower than {self.at_least:g}"
            for c in self.too_slow
        ]
        return "\n".join(lines)

    def write(self, path: Path) -> None:
        """The table, all samples and the ratio of each round, as JSON."""
        whole = {
            "machine": self.machine,
            "candidate": {"commit": self.candidate_commit, "modified": self.candidate_modified},
            "baseline": {"commit": self.baseline_commit},
            "rounds": self.rounds,
            "run_seconds": self.run_seconds,
            "at_least": self.at_least,
            "busy_cores_before": self.busy_cores,
            "comparisons": [self._record(comparison) for comparison in self.comparisons],
            "failures": self.failures,
        }
        path.write_text(json.dumps(whole, indent=2) + "\n")

    @property
    def _tolerance(self) -> float:
        return TOLERANCE if self.at_least is None else self.at_least

    def _cells(self, comparison: CommitComparison) -> Sequence[str]:
        return (
            comparison.section,
            comparison.figure,
            comparison.unit,
            number(comparison.candidate_median),
            number(comparison.baseline_median),
            f"{comparison.ratio:.3f}",
            _shown(comparison.spread),
            _shown(comparison.interval),
            _verdict(comparison, self._tolerance),
        )

    def _record(self, comparison: CommitComparison) -> dict[str, Any]:
        return {
            "section": comparison.section,
            "figure": comparison.figure,
            "unit": comparison.unit,
            "lower_is_better": comparison.lower_is_better,
            "candidate": {
                "median": comparison.candidate_median,
                "samples": comparison.candidate,
            },
            "baseline": {
                "median": comparison.baseline_median,
                "samples": comparison.baseline,
            },
            "ratio": comparison.ratio,
            "round_ratios": comparison.round_ratios,
            "spread": comparison.spread,
            "interval": comparison.interval,
            "verdict": comparison.verdict(self._tolerance),
            "errors": comparison.errors,
        }


def _shown(interval: RatioInterval | None) -> str:
    return "" if interval is None else f"{interval.low:.3f} to {interval.high:.3f}"


def _verdict(comparison: CommitComparison, tolerance: float) -> str:
    errors = f" ({comparison.errors} errors)" if comparison.errors else ""
    return f"{comparison.verdict(tolerance)}{errors}"
