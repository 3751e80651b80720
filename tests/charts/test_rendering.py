"""Every ci file renders, lints and follows the rules of the house."""

import re
from pathlib import Path

import pytest
import yaml

from predictor import __version__
from tests.charts import helm
from tests.charts.conftest import Rendering

BOTH = pytest.mark.parametrize("name", [helm.RUNTIME, helm.MODEL])
KIND = re.compile(r"^kind:", re.MULTILINE)


def test_a_ci_file_lints(chart: str, values: Path) -> None:
    helm.lint(chart, values)


def test_every_object_is_named_labelled_and_once(
    chart: str, values: Path, rendered: Rendering
) -> None:
    objects = rendered(chart, values)
    names = [(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in objects]
    assert objects
    assert len(names) == len(set(names))
    for item in objects:
        labels = item["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == "emb"
        assert labels["app.kubernetes.io/part-of"] == "predictor"


def test_no_object_is_put_into_another_namespace(
    chart: str, values: Path, rendered: Rendering
) -> None:
    content = yaml.safe_load(values.read_text(encoding="utf-8"))
    allowed = {None, helm.NAMESPACE, content.get("dashboards", {}).get("namespace")}
    assert {o["metadata"].get("namespace") for o in rendered(chart, values)} <= allowed


def test_no_image_is_anybody_elses(chart: str, values: Path, rendered: Rendering) -> None:
    # A CRD describes images and names none.
    objects = [o for o in rendered(chart, values) if o["kind"] != "CustomResourceDefinition"]
    images = re.findall(r"image'?: '?([^',}\s]+)", str(objects))
    assert images
    assert all(image.startswith("registry.example.com/") for image in images)


@BOTH
def test_the_chart_has_the_versions_of_the_server(name: str) -> None:
    chart = yaml.safe_load((helm.CHARTS / name / "Chart.yaml").read_text(encoding="utf-8"))
    changes = (helm.CHARTS / name / "CHANGELOG.md").read_text(encoding="utf-8")
    assert chart["appVersion"] == __version__
    assert f"## {chart['version']}\n" in changes


@BOTH
def test_a_template_makes_one_kind_and_asks_for_no_capabilities(name: str) -> None:
    for path in (helm.CHARTS / name / "templates").rglob("*.*"):
        text = path.read_text(encoding="utf-8")
        assert ".Capabilities" not in text, path
        # Runtimes are made by a helper, and upgrade/ only checks the values.
        makes_one = not path.name.startswith("runtime-") and path.parent.name != "upgrade"
        if path.suffix == ".yaml" and makes_one:
            assert len(KIND.findall(text)) == 1, path


@BOTH
def test_a_chart_works_below_another(name: str) -> None:
    assert helm.template(name, "global.team=search")


@BOTH
def test_the_default_makes_the_least(name: str) -> None:
    kinds = sorted(item["kind"] for item in helm.template(name))
    expected = {
        helm.RUNTIME: [
            "ClusterRole",
            "ClusterRole",
            "ClusterServingRuntime",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
        ],
        helm.MODEL: ["InferenceService", "Pod", "ServiceAccount"],
    }
    assert kinds == expected[name]


def test_namespaced_runtimes_need_no_rights_on_the_cluster() -> None:
    objects = helm.template(helm.RUNTIME, "scope=Namespace", "rules.enabled=true")
    assert {item["kind"] for item in objects} == {"ServingRuntime", "PrometheusRule"}
    assert {item["metadata"]["namespace"] for item in objects} == {helm.NAMESPACE}
