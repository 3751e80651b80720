"""Prometheus' own promtool runs the rules: each alert fires when it should, and only then."""

import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from predictor.metrics import SECONDS
from tests.charts import helm, promtool
from tests.charts.promtool import Series

TARGET = 'namespace="search", deployment="emb-predictor"'
POD = f'{TARGET}, pod="a"'
VERSION = f'{POD}, model="m", version="1"'
CLOSED = f'{POD}, model="", version=""'  # what is refused at the door


class Case(NamedTuple):
    """Series, and whether the alert fires at a time; `step` is between two values."""

    alert: str
    what: str
    fires: bool
    series: Series
    at: str
    step: str = "1m"
    about: str = "search/emb-predictor: "


@pytest.fixture(autouse=True)
def the_real_promtool() -> None:
    if reason := promtool.why_not():
        pytest.skip(reason)


@cache
def groups(*sets: str) -> Any:
    """Of the PrometheusRule; not to be changed by a test."""
    made = helm.only(helm.template(helm.RUNTIME, "rules.enabled=true", *sets), "PrometheusRule")
    return made["spec"]


def alerts(*sets: str) -> dict[str, Any]:
    return {
        rule["alert"]: rule
        for group in groups(*sets)["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }


def answers(
    good: int, bad: int, code: int = 500, minutes: int = 60, labels: str = VERSION
) -> Series:
    """So many a minute (or a step) of 200 and of another code."""
    series = f'predictor_requests_total{{{labels}, code="%s"}}'
    return (
        (series % 200, f"0+{good}x{minutes}"),
        (series % code, f"0+{bad}x{minutes}"),
    )


def times(fast: int, slow: int, minutes: int = 60, labels: str = VERSION) -> Series:
    """So many a minute (or a step) within a second, and over it."""
    series = f"predictor_request_seconds_%s{{{labels}%s}}"
    return (
        (series % ("bucket", ', le="1.0"'), f"0+{fast}x{minutes}"),
        (series % ("bucket", ', le="+Inf"'), f"0+{fast + slow}x{minutes}"),
        (series % ("count", ""), f"0+{fast + slow}x{minutes}"),
    )


def gauge(name: str, value: str, labels: str = VERSION) -> tuple[str, str]:
    return f"{name}{{{labels}}}", value


def up(value: str) -> Series:
    return (gauge("up", value, f'{POD}, job="predictor"'),)


def queue(*tokens: int) -> Series:
    """One pod each."""
    return tuple(
        gauge("predictor_queue_tokens", f"{value}x30", f'{TARGET}, pod="{place}"')
        for place, value in enumerate(tokens)
    )


def refused(reason: str, value: str) -> tuple[str, str]:
    return gauge("predictor_rejected_total", value, f'{VERSION}, reason="{reason}"')


def started(value: str) -> Series:
    return (gauge("process_start_time_seconds", value, f'{POD}, job="predictor"'),)


def canonical(cosine: str, checked_at: str) -> Series:
    return (
        gauge("predictor_canonical_min_cosine", cosine),
        gauge("predictor_canonical_timestamp_seconds", checked_at),
        gauge("predictor_canonical_tolerance", "0.999x60", f'{VERSION}, reference="torch"'),
    )


def shared(deployment: str, good: int, bad: int) -> Series:
    """Answers a minute of one of two deployments of a model."""
    labels = f'namespace="search", deployment="{deployment}", pod="{deployment}-1", model="m"'
    return answers(good, bad, 500, 60, f'{labels}, version="1"')


def phase(name: str, value: str) -> tuple[str, str]:
    labels = f'namespace="search", rollout="m", phase="{name}"'
    return gauge("predictor_rollout_phase", value, labels)


def leaders(*values: str) -> Series:
    """One pod of the controller each."""
    return tuple(
        gauge("predictor_rollout_leading", value, f'namespace="search", pod="c{place}"')
        for place, value in enumerate(values)
    )


def checks(outcome: str, value: str) -> tuple[str, str]:
    return gauge("predictor_canonical_checks_total", value, f'{VERSION}, outcome="{outcome}"')


# The lines of a windows' pair are 1.44 % and 0.6 % for errors, 14.4 % and 6 % for slow requests;
# of the slow ones 0.3 % and 0.1 %, 3 % and 1 %. Days in steps of four minutes: 360 a day.
DAYS = {"at": "28h", "step": "4m"}
CASES = [
    Case("EmbeddingDown", "no pod answers", True, up("0x30"), "4m"),
    Case("EmbeddingDown", "one answers", False, up("1x30"), "4m"),
    Case("EmbeddingErrorsFast", "2 %", True, answers(588, 12), "10m"),
    Case("EmbeddingErrorsFast", "0.7 % for long", True, answers(993, 7, minutes=400), "390m"),
    Case("EmbeddingErrorsFast", "0.5 %", False, answers(995, 5, minutes=400), "390m"),
    Case("EmbeddingErrorsFast", "none", False, answers(600, 0), "30m"),
    Case("EmbeddingErrorsFast", "none but load", False, answers(600, 600, 429), "30m"),
    Case("EmbeddingErrorsFast", "bad requests", False, answers(600, 600, 400), "30m"),
    Case("EmbeddingErrorsFast", "engine down", True, answers(600, 60, 503), "30m"),
    Case("EmbeddingErrorsFast", "draining", False,
         (*answers(600, 0), *answers(0, 60, 503, labels=CLOSED)), "30m"),
    Case("EmbeddingErrorsFast", "one at night", False,
         (gauge("predictor_requests_total", "0+1x60", f'{VERSION}, code="200"'),
          gauge("predictor_requests_total", "0x20 1x40", f'{VERSION}, code="500"')), "24m"),
    Case("EmbeddingErrorsFast", "it is over", False,
         (gauge("predictor_requests_total", "0+600x80", f'{VERSION}, code="200"'),
          gauge("predictor_requests_total", "0+60x30 1800x50", f'{VERSION}, code="500"')), "70m"),
    Case("EmbeddingErrorsSlow", "0.4 % of a day", True, answers(2390, 10, minutes=450), **DAYS),
    Case("EmbeddingErrorsSlow", "0.15 % of days", True, answers(9985, 15, minutes=450), **DAYS),
    Case("EmbeddingErrorsSlow", "0.08 %", False, answers(9992, 8, minutes=450), **DAYS),
    Case("EmbeddingErrorsSlow", "nine of few", False,
         (gauge("predictor_requests_total", "0+1x450", f'{VERSION}, code="200"'),
          gauge("predictor_requests_total", "0x360 0+1x9 9x90", f'{VERSION}, code="500"')), **DAYS),
    Case("EmbeddingErrorsFast", "what is slow", False, answers(2390, 10, minutes=450), **DAYS),
    Case("EmbeddingLatencyFast", "20 %", True, times(80, 20), "10m"),
    Case("EmbeddingLatencyFast", "8 % for long", True, times(92, 8, minutes=400), "390m"),
    Case("EmbeddingLatencyFast", "5 %", False, times(95, 5, minutes=400), "390m"),
    Case("EmbeddingLatencyFast", "none", False, times(100, 0), "30m"),
    Case("EmbeddingLatencyFast", "two of three at night", False,
         (gauge("predictor_request_seconds_bucket", "0x20 1x40", f'{VERSION}, le="1.0"'),
          gauge("predictor_request_seconds_count", "0x20 3x40")), "24m"),
    Case("EmbeddingLatencyFast", "slow requests refused at the door", False,
         (*times(100, 0), *times(0, 100, labels=CLOSED)), "30m"),
    Case("EmbeddingLatencySlow", "4 % of a day", True, times(96, 4, minutes=450), **DAYS),
    Case("EmbeddingLatencySlow", "1.5 % of days", True, times(985, 15, minutes=450), **DAYS),
    Case("EmbeddingLatencySlow", "0.8 %", False, times(992, 8, minutes=450), **DAYS),
    Case("EmbeddingQueue", "a full one", True, queue(100_000), "10m"),
    Case("EmbeddingQueue", "half of the pods", False, queue(100_000, 0), "10m"),
    Case("EmbeddingQueue", "not quite", False, queue(65_000), "10m"),
    Case("EmbeddingRejected", "10 %", True,
         (*answers(90, 10, 429), refused("queue_full", "0+10x60")), "15m"),
    Case("EmbeddingRejected", "too many at once", True,
         (*answers(90, 10, 429), refused("too_many_requests", "0+10x60")), "15m"),
    Case("EmbeddingRejected", "4 %", False,
         (*answers(96, 4, 429), refused("queue_full", "0+4x60")), "15m"),
    Case("EmbeddingRejected", "a key's limit", False,
         (*answers(90, 10, 429), refused("rate_limited", "0+10x60")), "15m"),
    Case("EmbeddingRejected", "one of two", False,
         (*answers(1, 1, 429), refused("queue_full", "0+1x60")), "15m"),
    Case("EmbeddingEngineRestarts", "a thread", True,
         (gauge("predictor_engine_restarts_total", "0x5 1x20"),), "10m"),
    Case("EmbeddingEngineRestarts", "a container", True, started("100x5 400x20"), "10m"),
    Case("EmbeddingEngineRestarts", "a new pod", False,
         (gauge("predictor_engine_restarts_total", "_x5 0x20"), *started("_x5 400x20")), "10m"),
    Case("EmbeddingEngineRestarts", "long ago", False,
         (gauge("predictor_engine_restarts_total", "0x5 1x40"),), "30m"),
    Case("EmbeddingVectorsWrong", "below", True, canonical("0.99x30", "0+60x30"), "5m"),
    Case("EmbeddingVectorsWrong", "not finite", True, canonical("-1x30", "0+60x30"), "5m"),
    Case("EmbeddingVectorsWrong", "just right", False, canonical("0.9991x30", "0+60x30"), "5m"),
    Case("EmbeddingVectorsWrong", "not checked yet", False, canonical("0x30", "0x30"), "5m"),
    Case("EmbeddingVectorsUnwatched", "checks stopped", True, canonical("1x90", "600x90"), "80m"),
    Case("EmbeddingVectorsUnwatched", "never checked", True, canonical("0x90", "0x90"), "80m"),
    Case("EmbeddingVectorsUnwatched", "unreadable", True,
         (*canonical("1x90", "0+60x90"), checks("unreadable", "0+1x90")), "80m"),
    Case("EmbeddingVectorsUnwatched", "busy at times", False,
         (*canonical("1x90", "0x20 1200+60x70"), checks("busy", "0+1x90")), "80m"),
    Case("EmbeddingVectorsUnwatched", "failed once", False,
         (*canonical("1x90", "0+60x90"), checks("error", "0x50 1x40")), "80m"),
    Case("EmbeddingCanaryWorse", "it fails", True,
         (*shared("stable", 180, 0), *shared("canary", 18, 2)), "20m",
         about="search/canary: "),
    Case("EmbeddingCanaryWorse", "both fail", False,
         (*shared("stable", 180, 20), *shared("canary", 18, 2)), "20m"),
    Case("EmbeddingCanaryWorse", "no traffic on the other", False,
         (*shared("stable", 0, 0), *shared("canary", 18, 2)), "20m"),
    Case("EmbeddingCanaryWorse", "one error a minute at night", False,
         (*shared("stable", 180, 0), *shared("canary", 5, 1)), "20m"),
    Case("EmbeddingRolloutFailed", "taken back", True, (phase("Failed", "0x5 1x20"),), "10m",
         about="search/m: "),
    Case("EmbeddingRolloutFailed", "a good one", False, (phase("Succeeded", "1x20"),), "10m"),
    Case("EmbeddingRolloutWaits", "paused", True, (phase("Paused", "1x60"),), "30m",
         about="search/m: the rollout waits"),
    Case("EmbeddingRolloutWaits", "its end does not come", True, (phase("Promoting", "1x60"),),
         "30m", about="search/m: the rollout waits"),
    Case("EmbeddingRolloutWaits", "it ends", False,
         (phase("RollingBack", "0x10 1x3 0x50"),), "30m"),
    Case("EmbeddingRolloutWaits", "resumed", False, (phase("Paused", "1x10 0x50"),), "30m"),
    Case("EmbeddingRolloutWaits", "no leader", True, leaders("0x60", "0x60"), "30m",
         about="search: no rollout controller is the leader"),
    Case("EmbeddingRolloutWaits", "one leads", False, leaders("0x60", "1x60"), "30m"),
    Case("EmbeddingTrafficDrift", "an alarm", True,
         (gauge("predictor_drift_alarm", "1x30", f'{VERSION}, test="scripts"'),), "6m"),
    Case("EmbeddingTrafficDrift", "a score, no alarm yet", False,
         (gauge("predictor_drift_alarm", "0x30", f'{VERSION}, test="scripts"'),
          gauge("predictor_drift_score", "3x30", f'{VERSION}, test="scripts"')), "6m"),
    Case("EmbeddingCacheTierDown", "open", True,
         (gauge("predictor_cache_redis_open", "1x30", POD),), "6m"),
    Case("EmbeddingCacheTierDown", "closed", False,
         (gauge("predictor_cache_redis_open", "0x30", POD),), "6m"),
    Case("EmbeddingCacheTierDown", "closed again", False,
         (gauge("predictor_cache_redis_open", "1x3 0x30", POD),), "6m"),
    Case("EmbeddingVersionFailed", "failed", True,
         (gauge("predictor_model_failed", "1x30"),), "3m"),
    Case("EmbeddingVersionFailed", "not", False,
         (gauge("predictor_model_failed", "0x30"),), "3m"),
]  # fmt: skip


def test_prometheus_takes_the_rules(tmp_path: Path) -> None:
    output = promtool.check(tmp_path, groups())
    assert f"{sum(len(group['rules']) for group in groups()['groups'])} rules found" in output


@pytest.mark.parametrize("case", CASES, ids=[f"{c.alert}: {c.what}" for c in CASES])
def test_an_alert_fires_when_it_should(tmp_path: Path, case: Case) -> None:
    output = promtool.fired(tmp_path, groups(), case.alert, case.series, case.at, case.step)
    assert bool(output) is case.fires, output
    if case.fires:
        assert case.about in output
        assert f"RUNBOOK.md#{case.alert.lower()}" in output
        assert "%!" not in output
        assert "<error" not in output


@pytest.mark.parametrize("name", sorted({case.alert for case in CASES}))
def test_an_alert_waits(tmp_path: Path, name: str) -> None:
    """The same series, and a `for` that is not over yet."""
    case = next(case for case in CASES if case.alert == name and case.fires)
    patient = groups(f"rules.{values_of(name)}.for=40h")
    assert not promtool.fired(tmp_path, patient, name, case.series, case.at, case.step)


def test_every_alert_has_a_case_of_each_kind() -> None:
    for kind in (True, False):
        assert {case.alert for case in CASES if case.fires is kind} == set(alerts())


def test_rules_of_a_namespace_look_at_nothing_else(tmp_path: Path) -> None:
    sets = ("scope=Namespace",)
    elsewhere = tuple((name.replace("search", "other"), values) for name, values in up("0x30"))
    assert promtool.fired(tmp_path, groups(*sets), "EmbeddingDown", up("0x30"), "4m")
    assert not promtool.fired(tmp_path, groups(*sets), "EmbeddingDown", elsewhere, "4m")
    assert promtool.fired(tmp_path, groups(), "EmbeddingDown", elsewhere, "4m")
    for group in groups(*sets)["groups"]:
        for rule in group["rules"]:
            assert 'namespace="search"' in rule["expr"], rule


RECORDED = [
    ("namespace_deployment:predictor_requests:rate5m", 1.0),
    ("namespace_deployment:predictor_errors:rate5m", 0.1),
    ("namespace_deployment:predictor_errors:ratio1h", 0.1),
    ("namespace_deployment:predictor_error_budget:left3d", 1 - 0.1 / 0.001),
    ("namespace_deployment:predictor_slow_requests:ratio30m", 0.002),
    ("namespace_deployment:predictor_latency_budget:left3d", 0.8),
]


@pytest.mark.parametrize(("name", "expected"), RECORDED)
def test_recorded_series_have_the_right_values(tmp_path: Path, name: str, expected: float) -> None:
    """60 requests a minute, 54 of them good; and 429 and 503 at the door, which do not count."""
    series = (
        *answers(54, 6),
        *answers(0, 40, 429, labels=f"{VERSION.replace('1', '2')}"),
        *answers(0, 40, 503, labels=CLOSED),
        *times(998, 2),
    )
    (value,) = promtool.evaluated(tmp_path, groups(), name, series, "30m")
    assert value == pytest.approx(expected, rel=1e-6)


def test_a_deployment_without_errors_has_a_rate_of_them(tmp_path: Path) -> None:
    """And its whole budget: a panel without data would look like no monitoring."""
    good = answers(60, 0)[:1]
    for name, expected in (("errors:rate5m", 0.0), ("error_budget:left3d", 1.0)):
        query = f"namespace_deployment:predictor_{name}"
        assert promtool.evaluated(tmp_path, groups(), query, good, "30m") == [expected]


def test_thresholds_are_those_of_the_values() -> None:
    values = (
        "rules.errorsFast.threshold=10", "rules.errorsFast.longThreshold=5",
        "rules.errorsFast.for=1h", "rules.errorsFast.severity=page", "rules.slo.availability=0.99",
        "rules.slo.minimum=7", "rules.runbook=https://example.com/book.md",
    )  # fmt: skip
    rules = alerts(*values)
    errors = rules["EmbeddingErrorsFast"]
    assert "ratio1h > 10 * (1 - 0.99)" in errors["expr"]
    assert "ratio30m > 5 * (1 - 0.99)" in errors["expr"]
    assert errors["expr"].count(">= 7") == 2
    assert (errors["for"], errors["labels"]) == ("1h", {"severity": "page"})
    book = errors["annotations"]["runbook_url"]
    assert book == "https://example.com/book.md#embeddingerrorsfast"
    assert rules["EmbeddingQueue"]["expr"].endswith("> 65536")


@pytest.mark.parametrize("sets", [(), ("scope=Namespace",), ("rules.slo.latencyBound=0.5",)])
def test_nothing_is_left_to_fill_in(sets: tuple[str, ...]) -> None:
    for rule in [rule for group in groups(*sets)["groups"] for rule in group["rules"]]:
        texts = [rule["expr"], rule.get("record", ""), *rule.get("annotations", {}).values()]
        for text in texts:
            assert "$" not in text.replace("$labels", "").replace("$value", ""), rule


def values_of(alert: str) -> str:
    """The key under `rules` that belongs to an alert: the order is the same."""
    values = json.loads((helm.CHARTS / helm.RUNTIME / "values.schema.json").read_text())
    keys = [
        name
        for name, part in values["properties"]["rules"]["properties"].items()
        if "severity" in part.get("properties", {})
    ]
    return str(dict(zip(alerts(), keys, strict=True))[alert])


@pytest.mark.parametrize("alert", sorted({case.alert for case in CASES}))
def test_an_alert_can_be_left_out_and_tuned(alert: str) -> None:
    key = values_of(alert)
    assert set(alerts(f"rules.{key}.enabled=false")) == set(alerts()) - {alert}
    tuned = alerts(f"rules.{key}.for=9m", f"rules.{key}.severity=x")
    assert (tuned[alert]["for"], tuned[alert]["labels"]["severity"]) == ("9m", "x")


def test_without_alerts_the_records_stay() -> None:
    keys = [values_of(alert) for alert in alerts()]
    remaining = groups(*(f"rules.{key}.enabled=false" for key in keys))["groups"]
    assert [group["name"] for group in remaining] == ["embedding-rates", "embedding-rates-of-days"]


# Bounds


@pytest.mark.parametrize("bound", SECONDS)
def test_a_bound_is_a_bucket_as_it_is_exported(tmp_path: Path, bound: float) -> None:
    """Python writes 1.0 and Prometheus' protobuf 1; neither may be missed, or all would be slow."""
    sets = f"rules.slo.latencyBound={bound:g}" if bound > 1e-4 else "rules.slo.latencyBound=0.0001"
    bucket = f"predictor_request_seconds_bucket{{{VERSION}, le=%s}}"
    count = gauge("predictor_request_seconds_count", "0+100x30")
    for text in {repr(bound), repr(bound).removesuffix(".0")}:
        series = ((bucket % json.dumps(text), "0+99x30"), count)
        name = "namespace_deployment:predictor_slow_requests:ratio5m"
        (value,) = promtool.evaluated(tmp_path, groups(sets), name, series, "20m")
        assert value == pytest.approx(0.01)


def test_the_schema_knows_the_buckets() -> None:
    schema = json.loads((helm.CHARTS / helm.RUNTIME / "values.schema.json").read_text())
    known = schema["properties"]["rules"]["properties"]["slo"]["properties"]["latencyBound"]["enum"]
    assert [value for value in known if not isinstance(value, str)] == list(SECONDS)
    assert [float(value) for value in known if isinstance(value, str)] == list(SECONDS)


REFUSED = {
    "rules.slo.latencyBound=0.4": "at '/rules/slo/latencyBound': value must be one of",
    "rules.slo.availability=0.9": "at '/rules/slo/availability'",
    "rules.slo.availability=1": "at '/rules/slo/availability'",
    "rules.slo.minimum=0": "at '/rules/slo/minimum': minimum: got 0, want 1",
    "rules.rejected.threshold=5": "at '/rules/rejected/threshold': maximum: got 5, want 1",
    "rules.queue.for=5": "at '/rules/queue/for': got number, want string",
    "rules.errors.enabled=false": "rules.errors is now rules.errorsFast",
}


@pytest.mark.parametrize("sets", REFUSED)
def test_values_with_which_an_alert_never_fires_are_refused(sets: str) -> None:
    """A burn rate of 14.4 times 10 % is more than everything."""
    with pytest.raises(helm.Refused) as refused:
        helm.template(helm.RUNTIME, "rules.enabled=true", sets)
    assert REFUSED[sets] in str(refused.value)
