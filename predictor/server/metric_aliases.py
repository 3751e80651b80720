"""Our metrics under the names of TEI and Triton, so that dashboards and autoscalers made for those
go on working. Read off our own series at each scrape: nothing is counted twice.

Sources of the names: text-embeddings-inference core/ and router/ (`te_*`); Triton
docs/user_guide/metrics.md (`nv_*`). Buckets are ours.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client.core import Metric
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from predictor import metrics
from predictor.errors import BadSetting

KINDS = ("te", "nv")
Labels = tuple[str, ...]
US = 1e6

# TEI's `err` and Triton's `reason` by our status.
TE_ERRORS = {"429": "overloaded", "400": "validation", "422": "validation", "499": "dropped"}
NV_REASONS = {"429": "REJECTED", "503": "REJECTED", "504": "REJECTED", "499": "CANCELED"}


class Aliases(Collector):
    """One or both sets of names; register it once a process."""

    def __init__(self, kinds: Iterable[str]) -> None:
        self._kinds = tuple(kinds)

    def describe(self) -> list[Metric]:
        """Nothing in advance: asking must not scrape."""
        return []

    def collect(self) -> Iterator[Metric]:
        if "te" in self._kinds:
            yield from _te()
        if "nv" in self._kinds:
            yield from _nv()


def parse_kinds(text: str) -> tuple[str, ...]:
    """`te`, `nv`, or both with a comma between.

    Raises:
        BadSetting: anything else.
    """
    kinds = tuple(part.strip() for part in text.split(",") if part.strip())
    if set(kinds) - set(KINDS):
        raise BadSetting(f"--metrics-compat: {text!r} is not a list of te, nv")
    return kinds


def _te() -> Iterator[Metric]:
    by_code = _sum(metrics.REQUESTS, ("code",))
    total = sum(by_code.values())
    for name in ("te_request_count", "te_embed_count"):
        yield _metric(name, "Requests", {(): total})
    for name in ("te_request_success", "te_embed_success"):
        yield _metric(name, "Requests answered", {(): by_code.get(("200",), 0.0)})
    errors: dict[Labels, float] = defaultdict(float)
    for (code,), count in by_code.items():
        if code != "200":
            errors[(TE_ERRORS.get(code, "inference"),)] += count
    yield _metric("te_request_failure", "Requests refused or failed", errors, ("err",))
    yield _metric("te_queue_size", "Rows in the queue", _sum(metrics.QUEUE_ROWS, ()), kind="gauge")
    for what in ("request", "embed"):
        yield _histogram(f"te_{what}_duration", metrics.REQUEST_SECONDS)
        for stage, name in (("tokenize", "tokenization"), ("queue", "queue"), ("run", "inference")):
            yield _histogram(f"te_{what}_{name}_duration", metrics.STAGE_SECONDS, stage)
    yield _histogram("te_batch_next_size", metrics.BATCH_ROWS)
    yield _histogram("te_batch_next_tokens", metrics.BATCH_TOKENS)


def _nv() -> Iterator[Metric]:
    by_code = _sum(metrics.REQUESTS, ("model", "version", "code"))
    answered: dict[Labels, float] = defaultdict(float)
    failed: dict[Labels, float] = defaultdict(float)
    for (model, version, code), count in by_code.items():
        if code == "200" and model:
            answered[model, version] += count
        elif model:
            failed[
                model, version, NV_REASONS.get(code, "BACKEND" if code >= "500" else "OTHER")
            ] += count
    of = metrics.MODEL
    yield _metric("nv_inference_request_success", "Requests answered", answered, of)
    yield _metric("nv_inference_request_failure", "Requests failed", failed, (*of, "reason"))
    for name, source, kind in (
        ("nv_inference_count", metrics.INPUTS, "unknown"),
        ("nv_inference_exec_count", metrics.BATCHES, "unknown"),
        ("nv_inference_pending_request_count", metrics.QUEUE_ROWS, "gauge"),
        ("nv_cache_num_hits_per_model", metrics.CACHE_HITS, "unknown"),
        ("nv_cache_num_misses_per_model", metrics.CACHE_MISSES, "unknown"),
    ):
        yield _metric(name, f"As {_name(source)}", _sum(source, of), of, kind)
    whole = _seconds(metrics.REQUEST_SECONDS)
    total = {labels: seconds * US for labels, seconds in whole.items() if labels[0]}
    yield _metric("nv_inference_request_duration_us", "Time of requests, sum", total, of)
    for name, stages in (
        ("queue", ("queue",)),
        ("compute_input", ("decode", "tokenize", "cache")),
        ("compute_infer", ("run",)),
        ("compute_output", ("encode",)),
    ):
        spent: dict[Labels, float] = defaultdict(float)
        for stage in stages:
            for labels, seconds in _seconds(metrics.STAGE_SECONDS, stage).items():
                spent[labels] += seconds * US
        yield _metric(f"nv_inference_{name}_duration_us", f"Time of {', '.join(stages)}", spent, of)


# Reading our own


def _samples(source: MetricWrapperBase) -> list[Sample]:
    return [sample for family in source.collect() for sample in family.samples]


def _name(source: MetricWrapperBase) -> str:
    return next(iter(source.describe())).name


def _sum(source: MetricWrapperBase, labels: Labels) -> dict[Labels, float]:
    """Values of a counter or gauge by some of its labels, the others summed up."""
    return _add(source, labels, lambda sample: True)


def _seconds(source: MetricWrapperBase, stage: str = "") -> dict[Labels, float]:
    """The sums of a histogram by model and version; of one stage, if that is a label of it."""
    return _add(
        source,
        metrics.MODEL,
        lambda sample: (
            sample.name.endswith("_sum") and stage in ("", sample.labels.get("stage", ""))
        ),
    )


def _add(
    source: MetricWrapperBase, labels: Labels, wanted: Callable[[Sample], bool]
) -> dict[Labels, float]:
    sums: dict[Labels, float] = defaultdict(float)
    for sample in _samples(source):
        if wanted(sample):
            sums[tuple(sample.labels[label] for label in labels)] += sample.value
    return sums


# Writing theirs


def _metric(
    name: str,
    help_text: str,
    values: Mapping[Labels, float],
    labels: Labels = (),
    kind: str = "unknown",
) -> Metric:
    """Their counters have no `_total`, so they cannot be declared as counters."""
    metric = Metric(name, help_text, kind)
    for key, value in values.items():
        metric.add_sample(name, dict(zip(labels, key, strict=True)), value)
    return metric


def _histogram(name: str, source: MetricWrapperBase, stage: str = "") -> Metric:
    """A histogram of ours over all models and protocols, under another name."""
    sums: dict[tuple[str, str], float] = defaultdict(float)
    for sample in _samples(source):
        suffix = sample.name.rpartition("_")[2]
        if suffix in ("bucket", "count", "sum") and stage in ("", sample.labels.get("stage", "")):
            sums[f"_{suffix}", sample.labels.get("le", "")] += sample.value
    metric = Metric(name, f"As {_name(source)}", "histogram")
    for (suffix, le), value in sums.items():
        metric.add_sample(name + suffix, {"le": le} if le else {}, value)
    return metric
