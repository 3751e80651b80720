"""Of the admission policy what needs no cluster: who makes it, and that there is one text of it."""

from typing import Any

import pytest
import yaml

from tests.charts import helm

FOLDER = helm.CHARTS / helm.RUNTIME / "files/policies"
POLICY, BINDING = "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"
ANNOTATION = "predictor.dev/allow-skipped-step"


def in_files() -> dict[str, Any]:
    """What the folder holds, by kind."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(FOLDER.iterdir())]
    return {item["kind"]: item for item in map(yaml.safe_load, texts)}


def test_the_templates_make_what_is_in_the_files() -> None:
    objects = helm.template(helm.RUNTIME)
    policy, binding = helm.only(objects, POLICY), helm.only(objects, BINDING)
    assert set(in_files()) == {POLICY, BINDING}
    assert policy["spec"] == in_files()[POLICY]["spec"]
    name = policy["metadata"]["name"]
    assert binding["spec"] == in_files()[BINDING]["spec"] | {"policyName": name}


def test_the_files_belong_together() -> None:
    name = in_files()[POLICY]["metadata"]["name"]
    assert in_files()[BINDING]["spec"] == {"policyName": name, "validationActions": ["Deny"]}


@pytest.mark.parametrize("sets", ["scope=Namespace", "canaryPolicy.enabled=false"])
def test_the_policy_can_be_left_to_others(sets: str) -> None:
    objects = helm.template(helm.RUNTIME, sets)
    assert not helm.of_kind(objects, POLICY)
    assert not helm.of_kind(objects, BINDING)
    command = "kubectl apply --server-side -f charts/embedding-runtime/files/policies/"
    assert command in helm.notes(helm.RUNTIME, sets)
    assert command in (FOLDER / "canaries.yaml").read_text(encoding="utf-8")


def test_releases_have_a_policy_each() -> None:
    names = {
        helm.only(helm.template(helm.RUNTIME, release=release, namespace=namespace), POLICY)[
            "metadata"
        ]["name"]
        for release in ("rt", "other")
        for namespace in ("kserve", "search")
    }
    assert len(names) == 4


def test_the_value_that_allows_a_step_names_the_policy() -> None:
    text = (helm.CHARTS / helm.MODEL / "README.md").read_text(encoding="utf-8")
    (row,) = (line for line in text.splitlines() if line.startswith("| `canary.allowSkippedStep`"))
    assert "set its weight to 0 first" in row
    assert f"annotate the namespace with `{ANNOTATION}=true`" in row


def test_the_models_of_the_chart_are_those_of_the_policy() -> None:
    service = helm.only(helm.template(helm.MODEL), "InferenceService")
    selector = in_files()[POLICY]["spec"]["matchConstraints"]["objectSelector"]["matchLabels"]
    assert selector.items() <= service["metadata"]["labels"].items()
