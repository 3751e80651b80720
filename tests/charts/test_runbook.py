"""The runbook: a section for each alert and no other, whose commands and queries are ones."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.charts import helm, promtool
from tests.charts.test_metrics import exported, named, recorded
from tests.charts.test_rules import alerts

BOOK = helm.CHARTS / helm.RUNTIME / "RUNBOOK.md"
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", BOOK.read_text(), re.M | re.S))


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.S)


def queries() -> list[str]:
    return [line for text in blocks(BOOK.read_text(), "promql") for line in text.splitlines()]


def test_each_alert_has_its_section_and_each_section_its_alert() -> None:
    assert list(SECTIONS) == list(alerts())


def test_the_readme_lists_each_alert_once() -> None:
    readme = (helm.CHARTS / helm.RUNTIME / "README.md").read_text(encoding="utf-8")
    rows = [line for line in readme.splitlines() if line.startswith("| `Embedding")]
    names = [name for row in rows for name in re.findall(r"`(Embedding\w+)`", row.split("|")[1])]
    assert names == list(alerts())


def test_the_runbook_is_where_the_alerts_say() -> None:
    for name, rule in alerts().items():
        path, _, section = rule["annotations"]["runbook_url"].partition("#")
        assert helm.ROOT / path == BOOK
        assert section == name.lower()  # as GitHub makes it of the heading


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_says_what_to_look_at_and_what_to_do(name: str) -> None:
    text = SECTIONS[name]
    assert blocks(text, "promql")
    assert "\nDo: " in text


def test_links_lead_to_sections() -> None:
    links = re.findall(r"\]\(#([^)]+)\)", BOOK.read_text())
    assert links
    assert set(links) <= {name.lower() for name in SECTIONS}


def test_prometheus_takes_the_queries(tmp_path: Path) -> None:
    if reason := promtool.why_not():
        pytest.skip(reason)
    records = [{"record": f"query:{place}", "expr": query} for place, query in enumerate(queries())]
    output = promtool.check(tmp_path, {"groups": [{"name": "queries", "rules": records}]})
    assert f"{len(records)} rules found" in output


def test_the_queries_ask_for_what_there_is() -> None:
    known = exported() | recorded()
    for query in queries():
        assert named(query) <= known, query


@pytest.mark.parametrize("text", blocks(BOOK.read_text(), "bash"))
def test_the_commands_are_shell(text: str) -> None:
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_pods_are_selected_as_kserve_labels_them() -> None:
    assert 'PODS="-n $NS -l app=isvc.$DEPLOYMENT"' in BOOK.read_text()
    for text in blocks(BOOK.read_text(), "bash"):
        for line in text.splitlines():
            assert "kubectl" not in line or "$PODS" in line or "-n $NS" in line, line
