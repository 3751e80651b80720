"""Prometheus' own promtool: checks the syntax of rules, and evaluates them over made-up series."""

import json
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from tests.charts import helm
from tests.deadlines import DEADLINE_S

Series = tuple[tuple[str, str], ...]
# Of a series, a recorded one or an alert.
NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
VALUE = re.compile(r"[}] (\S+?)(?=,|\s|$)")


@cache
def find() -> str:
    """PROMTOOL, the one on PATH, or the one that hack/tools.sh fetches; empty: none can be had."""
    known = os.environ.get("PROMTOOL") or shutil.which("promtool")
    if known:
        return known
    fetched = helm.TOOLS / "promtool"
    if not fetched.is_file():
        subprocess.run(
            [str(helm.ROOT / "hack/tools.sh")], capture_output=True, timeout=300, check=False,
            env={**os.environ, "PYTHON": sys.executable},
        )  # fmt: skip
    return str(fetched) if fetched.is_file() else ""


def why_not() -> str:
    return "" if find() else "no promtool: hack/tools.sh could not fetch it (Debian: prometheus)"


def promtool(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [find(), *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def needed_for(rules: Any, query: str) -> Any:
    """The groups with only those rules whose series a query names, and what these rules name.

    An alert's name counts as well: a rule is an alert of that name, or records such a series.
    """
    by_name = {
        rule.get("alert") or rule["record"]: rule
        for group in rules["groups"]
        for rule in group["rules"]
    }
    kept: set[str] = set()
    texts = [query]
    while texts:
        names = set(NAME.findall(texts.pop())) & by_name.keys() - kept
        kept |= names
        texts += [by_name[name]["expr"] for name in names]
    groups = [
        {
            **group,
            "rules": [
                rule for rule in group["rules"] if (rule.get("alert") or rule["record"]) in kept
            ],
        }
        for group in rules["groups"]
    ]
    return {**rules, "groups": [group for group in groups if group["rules"]]}


def check(folder: Path, rules: Any) -> str:
    """What `promtool check rules` says about a file of groups.

    Raises:
        AssertionError: it refuses them.
    """
    (folder / "rules.yaml").write_text(json.dumps(rules), encoding="utf-8")
    done = promtool(folder, "check", "rules", "rules.yaml")
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def tested(
    folder: Path, series: Series, step: str, expectation: dict[str, Any]
) -> subprocess.CompletedProcess[str]:
    """`promtool test rules` with the rules that lie there."""
    inputs = [{"series": name, "values": values} for name, values in series]
    test = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": step,
        "tests": [{"interval": step, "input_series": inputs, **expectation}],
    }
    (folder / "test.yaml").write_text(json.dumps(test), encoding="utf-8")
    return promtool(folder, "test", "rules", "test.yaml")


def fired(folder: Path, rules: Any, alert: str, series: Series, at: str, step: str = "1m") -> str:
    """What promtool says of the alerts that fire at a time (`90m`): labels and annotations.

    Args:
        folder: an empty one to work in.
        rules: groups, as in a PrometheusRule's spec.
        alert: its name.
        series: names with labels, and values as promtool writes them: `0+5x10`.
        at: when, from the beginning.
        step: between two values, and between two evaluations.
    """
    content = json.dumps(needed_for(rules, alert))
    (folder / "rules.yaml").write_text(content, encoding="utf-8")
    # Nothing is expected: what fires is then named in the complaint, under "got:".
    expectation = {"alertname": alert, "eval_time": at}
    done = tested(folder, series, step, {"alert_rule_test": [expectation]})
    if done.returncode == 0:
        return ""
    output = done.stderr + done.stdout
    actual = output.partition("got:")[2]
    assert actual, output
    return actual


def evaluated(folder: Path, rules: Any, query: str, series: Series, at: str) -> list[float]:
    """The values that a query gives at a time, a value a minute; in promtool's order."""
    content = json.dumps(needed_for(rules, query))
    (folder / "rules.yaml").write_text(content, encoding="utf-8")
    # None is expected: the complaint names what there is.
    expectation = {"expr": query, "eval_time": at, "exp_samples": []}
    done = tested(folder, series, "1m", {"promql_expr_test": [expectation]})
    output = done.stderr + done.stdout
    actual = output.partition("got:")[2]
    assert actual or done.returncode == 0, output
    return [float(value) for value in VALUE.findall(actual)]
