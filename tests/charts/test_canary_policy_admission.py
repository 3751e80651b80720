"""The admission policy on a real API server: what it refuses, and what passes."""

import json
import re
import shlex
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from predictor.controller import standard
from predictor.controller.knative_service import PERCENT
from predictor.rollout.intents import SetCanary
from predictor.rollout.spec import Target
from tests.charts import helm
from tests.charts.api_server import ApiServer, Rejected
from tests.charts.test_canary_policy import ANNOTATION, FOLDER

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

V1, V2, V3 = (f"pvc://models/minilm/{number}" for number in (1, 2, 3))
STANDARD, KNATIVE = "deploymentMode=Standard", "deploymentMode=Knative"
TARGET = Target(storage_uri=V2, name="v2", image="")
OTHER_NAMESPACE = "monitoring"

Service = Callable[..., helm.Object]


def percent(weight: int) -> str:
    return f"canary.trafficPercent={weight}"


def inference_service(name: str, *sets: str) -> helm.Object:
    return helm.only(helm.template(helm.MODEL, *sets, release=name), "InferenceService")


def patch(server: ApiServer, change: Any, *flags: str, name: str = "emb") -> None:
    """A merge patch. Raises Rejected."""
    server.kubectl(
        "patch", "inferenceservice", name, "-n", helm.NAMESPACE, "--type=merge", *flags,
        "-p", json.dumps(change),
    )  # fmt: skip


def refusal(server: ApiServer, change: Any) -> str:
    with pytest.raises(Rejected) as refused:
        patch(server, change)
    text = str(refused.value)
    assert f"kubectl annotate namespace {helm.NAMESPACE} {ANNOTATION}=true" in text
    return text


@pytest.fixture
def service(policy: ApiServer) -> Iterator[Service]:
    """Puts an InferenceService `emb` into the cluster, as the chart makes it."""
    made: list[helm.Object] = []

    def put(*sets: str) -> helm.Object:
        made.append(inference_service("emb", *sets))
        policy.apply(made[-1:])
        return made[-1]

    yield put
    policy.delete(made)


@pytest.fixture
def canary(service: Service) -> Callable[[int], helm.Object]:
    """An InferenceService with the canary v2 at a weight."""
    sets = ("predictor.name=v1", "canary.name=v2", f"canary.storageUri={V2}")
    return lambda weight: service(*sets, percent(weight))


REMOVED = {"spec": {"canary": None}}
PROMOTED = {"spec": {"canary": None, "predictor": {"name": "v2", "model": {"storageUri": V2}}}}


def test_the_api_server_has_no_doubt_about_an_expression(policy: ApiServer) -> None:
    name = f"rt-embedding-runtime-{helm.NAMESPACE}-canaries"

    def status() -> Any:
        return policy.get("validatingadmissionpolicy", name).get("status", {})

    policy.settle("the expressions were not checked", lambda: "typeChecking" in status())
    assert status()["typeChecking"] == {}


def test_a_canary_with_traffic_is_not_removed(
    policy: ApiServer, canary: Callable[[int], helm.Object]
) -> None:
    canary(10)
    text = refusal(policy, REMOVED)
    assert "canary v2 has 10 % of the traffic, and removed in one step" in text
    command = re.search(r"First: kubectl (.*?); with", text)
    assert command is not None
    policy.kubectl(*shlex.split(command[1]))
    assert policy.get("inferenceservice", "emb")["spec"]["canary"][0]["trafficPercent"] == 0
    patch(policy, REMOVED)


def test_a_canary_with_traffic_is_not_renamed(
    policy: ApiServer, canary: Callable[[int], helm.Object]
) -> None:
    entry = canary(10)["spec"]["canary"][0]
    renamed = entry | {"predictor": entry["predictor"] | {"name": "v3"}}
    assert "canary v2 has 10 % of the traffic" in refusal(policy, {"spec": {"canary": [renamed]}})
    moved = entry | {"trafficPercent": 0}
    patch(policy, {"spec": {"canary": [moved]}})
    patch(policy, {"spec": {"canary": [renamed]}})


def test_a_promotion_below_100_is_refused(
    policy: ApiServer, canary: Callable[[int], helm.Object]
) -> None:
    canary(90)
    text = refusal(policy, PROMOTED)
    assert "canary v2 has 90 % of the traffic, and promoted in one step" in text
    assert '"value": 100}' in text
    assert "predictor.dev/action=promote" in text


def test_a_promotion_at_100_passes(policy: ApiServer, canary: Callable[[int], helm.Object]) -> None:
    canary(100)
    assert "and removed in one step" in refusal(policy, REMOVED)
    patch(policy, PROMOTED)


def test_a_name_does_not_change_without_a_canary(policy: ApiServer, service: Service) -> None:
    service("predictor.name=v1")
    changed = {"spec": {"predictor": {"name": "v2", "model": {"storageUri": V2}}}}
    assert 'predictor.name would change from "v1" to "v2"' in refusal(policy, changed)
    unnamed = {"spec": {"predictor": {"name": None, "model": {"storageUri": V2}}}}
    assert 'predictor.name would change from "v1" to ""' in refusal(policy, unnamed)
    patch(policy, {"spec": {"predictor": {"model": {"storageUri": V2}}}})


def test_no_update_takes_itself_out(
    policy: ApiServer, canary: Callable[[int], helm.Object]
) -> None:
    canary(10)
    label = "app.kubernetes.io/part-of"
    refusal(policy, REMOVED | {"metadata": {"labels": {label: None}}})
    patch(policy, {"metadata": {"labels": {label: None}}})  # no longer a service of ours
    patch(policy, REMOVED)


def test_a_service_with_a_canary_can_be_deleted(
    policy: ApiServer, canary: Callable[[int], helm.Object]
) -> None:
    canary(10)
    patch(policy, {"metadata": {"finalizers": ["inferenceservice.finalizers"]}})
    policy.kubectl("delete", "inferenceservice", "emb", "-n", helm.NAMESPACE, "--wait=false")
    patch(policy, {"metadata": {"finalizers": None}} | REMOVED)

    def is_deleted() -> bool:
        names = policy.kubectl("get", "inferenceservice", "-n", helm.NAMESPACE, "-o", "name")
        return "/emb" not in names

    policy.settle("the service stays", is_deleted)


def test_an_annotation_of_the_namespace_allows_everything(
    policy: ApiServer, canary: Callable[[int], helm.Object]
) -> None:
    canary(10)
    refusal(policy, REMOVED)
    policy.kubectl("annotate", "namespace", helm.NAMESPACE, f"{ANNOTATION}=true")

    def is_allowed() -> bool:
        try:
            patch(policy, REMOVED)
        except Rejected:
            return False
        return True

    try:
        # The API server sees the namespace through a cache.
        policy.settle("the annotation has no effect", is_allowed)
    finally:
        policy.kubectl("annotate", "namespace", helm.NAMESPACE, f"{ANNOTATION}-")


def test_a_knative_canary_does_not_change_and_lose_its_percentage(
    policy: ApiServer, service: Service
) -> None:
    service(KNATIVE, f"canary.storageUri={V2}", percent(10))
    without: helm.Object = {"canaryTrafficPercent": None}
    text = refusal(policy, {"spec": {"predictor": without | {"model": {"storageUri": V1}}}})
    assert f"all traffic would go to {V2} until the revision of {V1} is ready" in text
    image = {"model": {"image": "registry.example.com/predictor:0.2.0"}}
    refusal(policy, {"spec": {"predictor": without | image}})
    patch(policy, {"spec": {"predictor": {"canaryTrafficPercent": 0, "model": {"storageUri": V1}}}})


def test_a_knative_canary_keeps_its_percentage_until_its_revision_is_ready(
    policy: ApiServer, service: Service
) -> None:
    service(KNATIVE, f"canary.storageUri={V1}", percent(0))
    revisions = {"latestCreatedRevision": "emb-00003", "latestReadyRevision": "emb-00002"}
    policy.set_status("inferenceservice", "emb", {"components": {"predictor": revisions}})
    without = {"spec": {"predictor": {"canaryTrafficPercent": None}}}
    text = refusal(policy, without)
    assert "revision emb-00003 is not ready" in text
    assert "would go to emb-00002" in text
    ready = {"latestReadyRevision": "emb-00003"}
    policy.set_status("inferenceservice", "emb", {"components": {"predictor": ready}})
    command = re.search(r"Wait for it: kubectl (.*?)\. To let", text)
    assert command is not None
    policy.kubectl(*shlex.split(command[1]))
    patch(policy, without)


@pytest.mark.parametrize("finish", [standard.promote, standard.remove])
def test_the_controllers_steps_pass(
    policy: ApiServer, service: Service, finish: Callable[[Any], Any]
) -> None:
    service("predictor.name=v1")
    last = 100 if finish is standard.promote else 0
    for weight in (0, 10, 50, last):
        isvc = policy.get("inferenceservice", "emb")
        patch(policy, standard.set_canary(isvc, TARGET, SetCanary(weight, 1)))
    patch(policy, finish(policy.get("inferenceservice", "emb")))
    assert "canary" not in policy.get("inferenceservice", "emb")["spec"]


@pytest.mark.parametrize("last", [50, 100, 0])
def test_the_controllers_steps_in_knative_mode_pass(
    policy: ApiServer, service: Service, last: int
) -> None:
    """The new model at 0 %, weights, at 0 % the old model; then without the field."""
    service(KNATIVE)
    patch(policy, {"spec": {"predictor": {PERCENT: 0, "model": {"storageUri": V2}}}})
    for weight in (10, 50, last):
        patch(policy, {"spec": {"predictor": {PERCENT: weight}}})
    if last == 0:
        patch(policy, {"spec": {"predictor": {PERCENT: 0, "model": {"storageUri": V1}}}})
    make_revision_ready(policy)
    patch(policy, {"spec": {"predictor": {PERCENT: None}}})


def make_revision_ready(server: ApiServer) -> None:
    """As Knative does, for the model of now."""
    revisions = {"latestCreatedRevision": "emb-00002", "latestReadyRevision": "emb-00002"}
    server.set_status("inferenceservice", "emb", {"components": {"predictor": revisions}})


def test_a_second_release_does_not_collide(policy: ApiServer) -> None:
    """Of the same name, in another namespace; and the files applied by hand."""
    arguments = ("rt", str(helm.CHARTS / helm.RUNTIME), "-n", OTHER_NAMESPACE)
    others = ("rbac.create=false", "runtimes.cpu.name=embedding-other")
    sets = helm.flags((*helm.NEEDED[helm.RUNTIME], *others), ())
    helm.run("install", *arguments, *sets, environment=policy.environment)
    try:
        policy.kubectl("apply", "--server-side", "-f", str(FOLDER))
    finally:
        policy.kubectl("delete", "--ignore-not-found", "-f", str(FOLDER))
        helm.run("uninstall", "rt", "-n", OTHER_NAMESPACE, environment=policy.environment)
