"""Prometheus' own promtool runs the alerts: each fires when it should and is quiet otherwise."""

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.charts import helm

PROMTOOL = os.environ.get("PROMTOOL") or shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    not PROMTOOL, reason="no promtool on PATH (Debian: apt-get install prometheus)"
)
TARGET = 'namespace="search", deployment="emb-predictor"'
POD = f'{TARGET}, pod="a"'
REQUESTS = f'predictor_requests_total{{{POD}, code="%s"}}'
SECONDS = f'predictor_request_seconds_bucket{{{POD}, le="%s"}}'

Series = tuple[tuple[str, str], ...]

# Alert, series that make it fire, series that do not, minute at which it is looked at.
CASES: list[tuple[str, Series, Series, int]] = [
    ("EmbeddingDown", ((f'up{{job="predictor", {POD}}}', "0x30"),),
     ((f'up{{job="predictor", {POD}}}', "1x30"),), 4),
    ("EmbeddingErrors", ((REQUESTS % 200, "0+90x30"), (REQUESTS % 503, "0+10x30")),
     ((REQUESTS % 200, "0+90x30"), (REQUESTS % 429, "0+90x30")), 15),
    ("EmbeddingLatency", ((SECONDS % "1.0", "0+90x40"), (SECONDS % "2.0", "0+100x40"),
                          (SECONDS % "+Inf", "0+100x40")),
     ((SECONDS % "1.0", "0+100x40"), (SECONDS % "+Inf", "0+100x40")), 20),
    ("EmbeddingQueue", ((f"predictor_queue_tokens{{{POD}}}", "100000x30"),),
     ((f"predictor_queue_tokens{{{POD}}}", "100000x30"),
      (f'predictor_queue_tokens{{{TARGET}, pod="b"}}', "0x30")), 10),
]  # fmt: skip


def groups(*sets: str) -> Any:
    made = helm.only(helm.template(helm.RUNTIME, "rules.enabled=true", *sets), "PrometheusRule")
    return made["spec"]


def evaluate(folder: Path, alert: str, series: Series, minute: int) -> Sequence[Any]:
    """The alerts that fire at a minute, as promtool finds them: labels and annotations."""
    (folder / "rules.yaml").write_text(json.dumps(groups()), encoding="utf-8")
    inputs = [{"series": name, "values": values} for name, values in series]
    # Nothing is expected: what fires is then named in the complaint, under "got:".
    test = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": inputs,
                "alert_rule_test": [{"alertname": alert, "eval_time": f"{minute}m"}],
            }
        ],
    }
    (folder / "test.yaml").write_text(json.dumps(test), encoding="utf-8")
    done = subprocess.run(
        [str(PROMTOOL), "test", "rules", "test.yaml"], cwd=folder, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    got = done.stderr.partition("got:")[2] or done.stdout.partition("got:")[2]
    assert done.returncode == 0 or got, done.stderr
    return got.split("\n\n") if done.returncode else []


@needs_promtool
def test_prometheus_takes_the_rules(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(json.dumps(groups()), encoding="utf-8")
    command = [str(PROMTOOL), "check", "rules", "rules.yaml"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "4 rules found" in done.stdout


@needs_promtool
@pytest.mark.parametrize(("alert", "bad", "good", "minute"), CASES, ids=[c[0] for c in CASES])
def test_an_alert_fires_when_it_should(
    tmp_path: Path, alert: str, bad: Series, good: Series, minute: int
) -> None:
    assert evaluate(tmp_path, alert, good, minute) == []
    fired = str(evaluate(tmp_path, alert, bad, minute))
    assert 'deployment="emb-predictor"' in fired
    assert "search/emb-predictor: " in fired
    assert evaluate(tmp_path, alert, bad, 1) == []  # not at once


def test_every_alert_has_a_case() -> None:
    alerts = [rule["alert"] for rule in groups()["groups"][0]["rules"]]
    assert alerts == [case[0] for case in CASES]


def test_thresholds_are_those_of_the_values() -> None:
    sets = ("rules.errors.threshold=0.2", "rules.errors.for=1h", "rules.errors.severity=page")
    rules = {rule["alert"]: rule for rule in groups(*sets)["groups"][0]["rules"]}
    errors = rules["EmbeddingErrors"]
    assert errors["expr"].endswith("> 0.2")
    assert (errors["for"], errors["labels"]) == ("1h", {"severity": "page"})
    assert rules["EmbeddingQueue"]["expr"].endswith("> 65536")
    assert not any("$threshold" in rule["expr"] for rule in rules.values())


def test_an_alert_can_be_left_out() -> None:
    rules = groups("rules.down.enabled=false")["groups"][0]["rules"]
    assert [rule["alert"] for rule in rules] == [
        "EmbeddingErrors", "EmbeddingLatency", "EmbeddingQueue",
    ]  # fmt: skip
