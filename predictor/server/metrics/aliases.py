"""Our metrics under the names of TEI and Triton, for dashboards and autoscalers of those servers.

They are computed from our own series at each scrape: nothing is counted twice.

Sources of the names: text-embeddings-inference core/ and router/ (`te_*`); Triton
docs/user_guide/metrics.md (`nv_*`). Buckets are ours.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.core import Metric
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.samples import Sample

from predictor import metrics
from predictor.errors import BadSetting

KINDS = ("te", "nv")
Labels = tuple[str, ...]
US = 1e6

# TEI's `err` and Triton's `reason` by our status.
TE_ERRORS = {"429": "overloaded", "400": "validation", "422": "validation", "499": "dropped"}
NV_REASONS = {"429": "REJECTED", "503": "REJECTED", "504": "REJECTED", "499": "CANCELED"}


def aliases(kinds: Iterable[str], collected: Iterable[Metric]) -> Iterator[Metric]:
    """Metrics under one or both sets of names.

    Args:
        collected: all of our own, as a scrape has just read them: reading them again would cost
            as much as the scrape itself.
    """
    ours = _Ours(collected)
    if "te" in kinds:
        yield from _te(ours)
    if "nv" in kinds:
        yield from _nv(ours)


def parse_kinds(text: str) -> tuple[str, ...]:
    """`te`, `nv`, or both separated by a comma.

    Raises:
        BadSetting: anything else.
    """
    kinds = tuple(part.strip() for part in text.split(",") if part.strip())
    if set(kinds) - set(KINDS):
        raise BadSetting(f"--metrics-compat: {text!r} is not a list of te, nv")
    return kinds


def _te(ours: "_Ours") -> Iterator[Metric]:
    by_code = ours.sum(metrics.REQUESTS, ("code",))
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
    yield _metric(
        "te_queue_size", "Rows in the queue", ours.sum(metrics.QUEUE_ROWS, ()), kind="gauge"
    )
    both = ("te_request", "te_embed")
    yield from _histograms([f"{name}_duration" for name in both], ours, metrics.REQUEST_SECONDS)
    for stage, name in (("tokenize", "tokenization"), ("queue", "queue"), ("run", "inference")):
        names = [f"{prefix}_{name}_duration" for prefix in both]
        yield from _histograms(names, ours, metrics.STAGE_SECONDS, stage)
    yield from _histograms(["te_batch_next_size"], ours, metrics.BATCH_ROWS)
    yield from _histograms(["te_batch_next_tokens"], ours, metrics.BATCH_TOKENS)


def _nv(ours: "_Ours") -> Iterator[Metric]:
    by_code = ours.sum(metrics.REQUESTS, ("model", "version", "code"))
    answered: dict[Labels, float] = defaultdict(float)
    failed: dict[Labels, float] = defaultdict(float)
    for (model, version, code), count in by_code.items():
        if code == "200" and model:
            answered[model, version] += count
        elif model:
            failed[
                model, version, NV_REASONS.get(code, "BACKEND" if code >= "500" else "OTHER")
            ] += count
    labels = metrics.MODEL
    yield _metric("nv_inference_request_success", "Requests answered", answered, labels)
    yield _metric("nv_inference_request_failure", "Requests failed", failed, (*labels, "reason"))
    for name, source, kind in (
        ("nv_inference_count", metrics.INPUTS, "unknown"),
        ("nv_inference_exec_count", metrics.BATCHES, "unknown"),
        ("nv_inference_pending_request_count", metrics.QUEUE_ROWS, "gauge"),
        ("nv_cache_num_hits_per_model", metrics.CACHE_HITS, "unknown"),
        ("nv_cache_num_misses_per_model", metrics.CACHE_MISSES, "unknown"),
    ):
        yield _metric(name, f"As {_name(source)}", ours.sum(source, labels), labels, kind)
    whole = ours.seconds(metrics.REQUEST_SECONDS)
    total = {key: seconds * US for key, seconds in whole.items() if key[0]}
    yield _metric("nv_inference_request_duration_us", "Time of requests, sum", total, labels)
    for name, stages in (
        ("queue", ("queue",)),
        ("compute_input", ("decode", "tokenize", "cache")),
        ("compute_infer", ("run",)),
        ("compute_output", ("encode",)),
    ):
        spent: dict[Labels, float] = defaultdict(float)
        for stage in stages:
            for key, seconds in ours.seconds(metrics.STAGE_SECONDS, stage).items():
                spent[key] += seconds * US
        yield _metric(
            f"nv_inference_{name}_duration_us", f"Time of {', '.join(stages)}", spent, labels
        )


# Reading our own


class _Ours:
    """Our samples at one scrape, by stage if they have that label."""

    def __init__(self, collected: Iterable[Metric]) -> None:
        self._collected = {family.name: family for family in collected}
        self._read: dict[MetricWrapperBase, dict[str, list[Sample]]] = {}

    def samples(self, source: MetricWrapperBase, stage: str = "") -> list[Sample]:
        """All samples; those of one stage, if the metric has that label."""
        by_stage = self._read.get(source)
        if by_stage is None:
            by_stage = self._read[source] = defaultdict(list)
            for sample in self._collected[_name(source)].samples:
                by_stage[sample.labels.get("stage", "")].append(sample)
        return by_stage.get(stage, [])

    def sum(self, source: MetricWrapperBase, labels: Labels) -> dict[Labels, float]:
        """Values of a counter or gauge by some of its labels, summed over the others."""
        return _add(self.samples(source), labels)

    def seconds(self, source: MetricWrapperBase, stage: str = "") -> dict[Labels, float]:
        """The sums of a histogram by model and version; of one stage, if it has that label."""
        sums = [s for s in self.samples(source, stage) if s.name.endswith("_sum")]
        return _add(sums, metrics.MODEL)


def _add(samples: Iterable[Sample], labels: Labels) -> dict[Labels, float]:
    sums: dict[Labels, float] = defaultdict(float)
    for sample in samples:
        sums[tuple([sample.labels[label] for label in labels])] += sample.value
    return sums


def _name(source: MetricWrapperBase) -> str:
    return next(iter(source.describe())).name


# Writing theirs


def _metric(
    name: str,
    help_text: str,
    values: Mapping[Labels, float],
    labels: Labels = (),
    kind: str = "unknown",
) -> Metric:
    """Their counters have no suffix `_total`, so they cannot be declared as counters."""
    metric = Metric(name, help_text, kind)
    for key, value in values.items():
        metric.add_sample(name, dict(zip(labels, key, strict=True)), value)
    return metric


def _histograms(
    names: Iterable[str], ours: "_Ours", source: MetricWrapperBase, stage: str = ""
) -> Iterator[Metric]:
    """A histogram of ours over all models and protocols, under other names."""
    sums: dict[tuple[str, str], float] = defaultdict(float)
    for sample in ours.samples(source, stage):
        suffix = sample.name.rpartition("_")[2]
        if suffix in ("bucket", "count", "sum"):
            sums[f"_{suffix}", sample.labels.get("le", "")] += sample.value
    for name in names:
        metric = Metric(name, f"As {_name(source)}", "histogram")
        for (suffix, le), value in sums.items():
            metric.add_sample(name + suffix, {"le": le} if le else {}, value)
        yield metric
