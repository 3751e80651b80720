"""A comparison as tests make it."""

from hack.bench.against.comparison import CommitComparison


def compared(
    candidate: tuple[float, ...],
    baseline: tuple[float, ...],
    *,
    lower_is_better: bool = False,
    errors: int = 0,
) -> CommitComparison:
    return CommitComparison(
        "wire", "gRPC", "requests/s", candidate, baseline, lower_is_better, errors
    )
