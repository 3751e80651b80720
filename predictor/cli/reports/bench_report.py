"""The results of `predictor bench` as tables and as one JSON object."""

from dataclasses import dataclass
from typing import Any

from predictor.bench.benchmark import Arrangement
from predictor.bench.peak import SIDE
from predictor.bench.plan import Figure, Figures, Latency, Peak, Throughput, setting
from predictor.bundle.manifest import FP32
from predictor.cli.reports.table import table


@dataclass(frozen=True)
class BenchReport:
    """What was measured of one model on this machine."""

    family: str
    revision: str
    variant: str
    device: str
    cpus: int
    instructions: tuple[str, ...]
    flops_a_token: int
    """Twice the number of the weights that a token is multiplied by."""

    figures: Figures
    """By what `bench.plan` measures."""

    def of(self, kind: type[Figure]) -> dict[Any, dict[Arrangement, float]]:
        """The figures of one kind: by what is measured, then by arrangement."""
        figures: dict[Any, dict[Arrangement, float]] = {}
        for (figure, arrangement), value in self.figures.items():
            if isinstance(figure, kind):
                figures.setdefault(figure, {})[arrangement] = value
        return figures

    @property
    def peaks(self) -> dict[Arrangement, float]:
        return self.of(Peak).get(Peak(), {})

    def share(self, rate: float, arrangement: Arrangement) -> float | None:
        """Of the peak of the same arrangement; None where that was not measured."""
        peak = self.peaks.get(arrangement)
        return rate * self.flops_a_token / peak if peak else None

    def as_text(self) -> str:
        budget, threads = setting(self.figures)
        sets = " ".join(self.instructions) or "unknown"
        return "\n".join(
            [
                f"{self.family}, {self.variant} on {self.device}, revision {self.revision}",
                f"CPUs available to this process: {self.cpus}; instruction sets: {sets}",
                f"work per token: {self.flops_a_token / 1e6:.1f} MFLOP, two per weight that it is "
                "multiplied by; the products inside attention are not counted",
                *self._peak_line(),
                "",
                table(self._rates()),
                "",
                table(self._latencies()),
                "",
                "fastest settings on this machine: "
                f"--max-batch-tokens {budget} --threads {threads}",
            ]
        )

    def _peak_line(self) -> list[str]:
        if not self.peaks:
            return []
        peaks = ", ".join(f"{a}: {peak / 1e9:.0f} GFLOP/s" for a, peak in self.peaks.items())
        beyond = "" if self.variant == FP32 else "; a variant of fewer bits may exceed it"
        return [
            f"peak: a float32 matrix product of {SIDE} x {SIDE} x {SIDE} in ONNX Runtime "
            f"({peaks}){beyond}"
        ]

    def _rates(self) -> list[list[str]]:
        rates = self.of(Throughput)
        columns = list(next(iter(rates.values())))
        rows = [["tokens/s (share of peak) at", *map(str, columns)]]
        for figure, by_arrangement in rates.items():
            cells = [self._rate(by_arrangement[a], a) for a in columns]
            rows.append([f"--max-batch-tokens {figure.budget}", *cells])
        return rows

    def _rate(self, rate: float, arrangement: Arrangement) -> str:
        share = self.share(rate, arrangement)
        return f"{rate:.0f}" + ("" if share is None else f" ({share:.0%})")

    def _latencies(self) -> list[list[str]]:
        latencies = self.of(Latency)
        columns = sorted(next(iter(latencies.values())), key=lambda a: a.threads)
        rows = [
            [
                "p50 in ms, one request at a time",
                *(f"{a.threads} thread{'s' * (a.threads > 1)}" for a in columns),
            ]
        ]
        for figure, by_arrangement in latencies.items():
            cells = [f"{1e3 * by_arrangement[a]:.2f}" for a in columns]
            rows.append([f"a text of {figure.tokens} tokens", *cells])
        return rows

    def as_json(self) -> dict[str, Any]:
        budget, threads = setting(self.figures)
        return {
            "family": self.family,
            "revision": self.revision,
            "variant": self.variant,
            "device": self.device,
            "cpus": self.cpus,
            "instructions": self.instructions,
            "flops_a_token": self.flops_a_token,
            "peaks": [_arranged(a, flops=peak) for a, peak in self.peaks.items()],
            "rates": [
                _arranged(
                    arrangement,
                    batch_tokens=figure.budget,
                    tokens_per_second=rate,
                    share_of_peak=self.share(rate, arrangement),
                )
                for figure, by_arrangement in self.of(Throughput).items()
                for arrangement, rate in by_arrangement.items()
            ],
            "alone": [
                _arranged(arrangement, tokens=figure.tokens, p50_ms=1e3 * seconds)
                for figure, by_arrangement in self.of(Latency).items()
                for arrangement, seconds in by_arrangement.items()
            ],
            "setting": {"max_batch_tokens": budget, "threads": threads},
        }


def _arranged(arrangement: Arrangement, **figures: float | None) -> dict[str, float | None]:
    return {"callers": arrangement.callers, "threads": arrangement.threads, **figures}
