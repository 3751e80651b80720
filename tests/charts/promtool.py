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

Series = tuple[tuple[str, str], ...]
# Of a sample as promtool writes it: {a="b"} 6E+00
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
        [find(), *arguments], cwd=folder, capture_output=True, text=True, timeout=100, check=False
    )


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
    folder: Path, series: Series, step: str, asked: dict[str, Any]
) -> subprocess.CompletedProcess[str]:
    """`promtool test rules` with the rules that lie there."""
    inputs = [{"series": name, "values": values} for name, values in series]
    test = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": step,
        "tests": [{"interval": step, "input_series": inputs, **asked}],
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
    (folder / "rules.yaml").write_text(json.dumps(rules), encoding="utf-8")
    # Nothing is expected: what fires is then named in the complaint, under "got:".
    asked = {"alertname": alert, "eval_time": at}
    done = tested(folder, series, step, {"alert_rule_test": [asked]})
    if done.returncode == 0:
        return ""
    told = done.stderr + done.stdout
    got = told.partition("got:")[2]
    assert got, told
    return got


def evaluated(folder: Path, rules: Any, query: str, series: Series, at: str) -> list[float]:
    """The values that a query gives at a time, a value a minute; in promtool's order."""
    (folder / "rules.yaml").write_text(json.dumps(rules), encoding="utf-8")
    # None is expected: the complaint names what there is.
    asked = {"expr": query, "eval_time": at, "exp_samples": []}
    done = tested(folder, series, "1m", {"promql_expr_test": [asked]})
    told = done.stderr + done.stdout
    got = told.partition("got:")[2]
    assert got or done.returncode == 0, told
    return [float(value) for value in VALUE.findall(got)]
