"""Names and selectors, which are immutable in a cluster: a change here breaks an upgrade.

To accept one on purpose: UPDATE_SNAPSHOTS=1 pytest tests/charts/test_snapshot.py
"""

import json
import os
from pathlib import Path
from typing import Any

from tests.charts import helm
from tests.charts.conftest import Rendering

SNAPSHOTS = Path(__file__).parent / "snapshots"
# Everything that says which objects belong together.
SELECTING = ("selector", "podSelector", "scaleTargetRef", "targetRefs")


def selectors(value: Any) -> Any:
    """Of a spec, only what selects, at any depth."""
    if isinstance(value, dict):
        parts = {
            key: part if key in SELECTING else selectors(part)
            for key, part in value.items()
            if key in SELECTING or selectors(part)
        }
        return parts or None
    if isinstance(value, list):
        return [part for part in map(selectors, value) if part] or None
    return None


def snapshot(objects: list[helm.Object]) -> dict[str, Any]:
    return {
        f"{item['kind']}/{item['metadata']['name']}": selectors(item.get("spec"))
        for item in sorted(objects, key=lambda o: (o["kind"], o["metadata"]["name"]))
    }


def test_names_and_selectors_have_not_changed(
    chart: str, values: Path, rendered: Rendering
) -> None:
    path = SNAPSHOTS / f"{chart}-{values.name.removesuffix('-values.yaml')}.json"
    current = snapshot(rendered(chart, values))
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.write_text(json.dumps(current, indent=1) + "\n", encoding="utf-8")
    assert current == json.loads(path.read_text(encoding="utf-8"))


def test_every_snapshot_has_its_ci_file() -> None:
    expected = {f"{c}-{p.name.removesuffix('-values.yaml')}.json" for c, p in helm.all_ci_files()}
    assert {path.name for path in SNAPSHOTS.iterdir()} == expected


def test_a_selector_has_no_label_that_changes() -> None:
    """Versions and users' labels in a selector make the next upgrade impossible."""
    sets = ("podLabels.team=search", "cache.redis.deploy.enabled=true")
    objects = helm.template(helm.MODEL, *sets, "cache.redis.deploy.image=registry.example.com/r")
    (deployment,) = helm.of_kind(objects, "Deployment")
    assert deployment["spec"]["selector"]["matchLabels"] == {
        "app.kubernetes.io/name": "embedding-model",
        "app.kubernetes.io/instance": "emb",
        "app.kubernetes.io/component": "cache",
    }
