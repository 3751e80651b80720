"""A real API server takes the CRD: rules with their words, defaults, status, columns."""

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from predictor.rollout.spec import DEFAULT_STEPS, Spec, Target, read_spec
from predictor.rollout.state import Measurement, State, Transition
from predictor.rollout.status import read_state, status_of
from tests.charts import helm
from tests.charts.api_server import ApiServer, Rejected
from tests.charts.test_rollout_crd import CRD

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

Change = Callable[[Any], object]

KIND, NAME = "embeddingrollouts.predictor.dev", "emb"
NOW = 1764000000.25
GOOD: helm.Object = {
    "apiVersion": "predictor.dev/v1alpha1",
    "kind": "EmbeddingRollout",
    "metadata": {"name": NAME, "namespace": helm.NAMESPACE},
    "spec": {
        "inferenceService": "emb",
        "target": {"storageUri": "pvc://models/minilm/2", "name": "v2"},
    },
}
TOO_LONG = "a duration is 30 days (720h) at most"
NOTHING = "the duration must be more than 0s"


def steps(*weights: int) -> Change:
    return lambda spec: spec.update(steps=[{"weight": weight} for weight in weights])


def analysis(**fields: Any) -> Change:
    return lambda spec: spec.update(analysis=fields)


def limits(**fields: Any) -> Change:
    return lambda spec: spec.update(limits=fields)


def target(**fields: Any) -> Change:
    return lambda spec: spec["target"].update(fields)


def hold(duration: str) -> Change:
    return lambda spec: spec.update(steps=[{"weight": 5, "hold": duration}])


def by_header(**fields: str) -> Change:
    return lambda spec: spec.update(strategy="Compare", steps=[{"weight": 9}], compare=fields)


# What breaks it, and the words that kubectl shows.
BROKEN: dict[str, tuple[Change, str]] = {
    # Rules of CEL.
    "not rising": (steps(5, 25, 10), "the weights of steps must rise from one to the next"),
    "twice the same": (steps(5, 5), "the weights of steps must rise from one to the next"),
    "compare at 100": (
        lambda s: s.update(strategy="Compare"),
        "strategy Compare keeps both versions: the last step's weight must be below 100",
    ),
    "compare by headers without two": (
        lambda s: s.update(compare={"userHeader": "x-user"}),
        "compare is for strategy Compare",
    ),
    "compare by nothing": (by_header(), "compare needs versionHeader, userHeader or both"),
    "compare by one header twice": (
        by_header(versionHeader="X-A", userHeader="x-a"),
        "versionHeader and userHeader must be two headers",
    ),
    "compare by no header": (by_header(userHeader="x user"), "should match"),
    "names too long": (
        lambda s: s.update(inferenceService="e" * 46),
        "KServe's label isvc.NAME-TARGET-predictor would be longer than 63",
    ),
    "interval too long": (analysis(interval="721h"), TOO_LONG),
    "interval of nothing": (analysis(interval="0s"), NOTHING),
    "hold too long": (hold("43201m"), TOO_LONG),
    "deadline too long": (limits(progressDeadline="2592001s"), TOO_LONG),
    "deadline of nothing": (limits(progressDeadline="0h0s"), NOTHING),
    "error too long": (limits(error={"after": "720h1s", "then": "Hold"}), TOO_LONG),
    "doubt too long": (limits(inconclusive={"after": "999h", "then": "Hold"}), TOO_LONG),
    "shadow too long": (lambda s: s.update(shadow={"hold": "721h"}), TOO_LONG),
    # The schema itself.
    "no service": (
        lambda s: s.pop("inferenceService"),
        'missing required field "inferenceService"',
    ),
    "no target": (lambda s: s.pop("target"), 'missing required field "target"'),
    "no model": (lambda s: s["target"].pop("storageUri"), 'missing required field "storageUri"'),
    "no name": (lambda s: s["target"].pop("name"), 'missing required field "name"'),
    "name is no label": (target(name="V2"), "spec.target.name in body should match"),
    "name ends in a dash": (target(name="v2-"), "spec.target.name in body should match"),
    "no scheme": (target(storageUri="models/2"), "spec.target.storageUri in body should match"),
    "blank in it": (target(storageUri="pvc://a b"), "spec.target.storageUri in body should match"),
    "image with blank": (target(image="a b"), "spec.target.image in body should match"),
    "no steps": (steps(), "spec.steps in body should have at least 1 items"),
    "many steps": (steps(*range(21)), "must have at most 20 items"),
    "weight of 101": (steps(101), "spec.steps[0].weight in body should be less than or equal"),
    "weight of -1": (steps(-1), "spec.steps[0].weight in body should be greater than or equal"),
    "days": (hold("1d"), "spec.steps[0].hold in body should match"),
    "no duration": (hold(""), "spec.steps[0].hold in body should be at least 2 chars long"),
    "unknown vectors": (lambda s: s.update(vectors="same"), 'supported values: "Same", "Changed"'),
    "strategy": (lambda s: s.update(strategy="Wait"), 'supported values: "Promote", "Compare"'),
    "then": (limits(error={"after": "5m", "then": "Ask"}), '"Hold", "RollBack"'),
    "no increase": (analysis(errors={"maxIncrease": 0}), "should be greater than 0"),
    "over 1": (analysis(slow={"maxIncrease": 1.1}), "should be less than or equal to 1"),
    "tolerance": (analysis(vectors={"tolerance": 1.5}), "should be less than or equal to 1"),
    "no requests": (analysis(minRequests=0), "should be greater than or equal to 1"),
    "no failures": (analysis(failures=0), "should be greater than or equal to 1"),
    "no texts": (lambda s: s.update(shadow={"share": 0}), "should be greater than 0"),
    "unknown field": (lambda s: s.update(step=[]), 'unknown field "step"'),
}


@pytest.fixture
def made(api_server: ApiServer) -> Iterator[ApiServer]:
    """A server with the good one in it."""
    api_server.apply([GOOD])
    yield api_server
    api_server.delete([GOOD])


def changed(change: Change) -> helm.Object:
    rollout = copy.deepcopy(GOOD)
    change(rollout["spec"])
    return rollout


def refusal(server: ApiServer, rollout: helm.Object) -> str:
    with pytest.raises(Rejected) as rejected:
        server.apply([rollout], "--dry-run=server")
    return str(rejected.value)


@pytest.mark.parametrize("case", BROKEN)
def test_an_impossible_spec_is_refused(api_server: ApiServer, case: str) -> None:
    change, words = BROKEN[case]
    assert words in refusal(api_server, changed(change))


@pytest.mark.parametrize(
    "change",
    [
        steps(100), steps(0, 1, 100), steps(*range(20)), hold("0s"), hold("720h"), hold("1h30m"),
        analysis(interval="1s"), limits(error={"after": "0s", "then": "RollBack"}),
        lambda s: s.update(strategy="Compare", steps=[{"weight": 99}], vectors="Changed"),
        by_header(userHeader="X-User-Id"), by_header(userHeader="x-user", versionHeader="x-v"),
        lambda s: s.update(inferenceService="e" * 45), lambda s: s.update(shadow={}, paused=True),
        target(image="registry.example.com/predictor@sha256:" + "0" * 64),
    ],
)  # fmt: skip
def test_a_possible_spec_is_admitted(api_server: ApiServer, change: Change) -> None:
    rollout = changed(change)
    read_spec(rollout)
    api_server.apply([rollout], "--dry-run=server")


def test_the_service_stays(made: ApiServer) -> None:
    text = refusal(made, changed(lambda s: s.update(inferenceService="other")))
    assert "inferenceService cannot be changed: make another EmbeddingRollout" in text


@pytest.mark.parametrize(
    "change", [target(storageUri="pvc://models/minilm/3"), target(image="other:1")]
)
def test_a_name_belongs_to_one_version(made: ApiServer, change: Change) -> None:
    rollout = changed(change)
    words = "another storageUri or image needs another name: a name belongs to one version"
    assert words in refusal(made, rollout)
    rollout["spec"]["target"]["name"] = "v3"
    made.apply([rollout], "--dry-run=server")


def test_every_rule_has_an_example() -> None:
    messages: set[str] = set()

    def collect(node: Any) -> None:
        if isinstance(node, dict):
            messages.update(rule["message"] for rule in node.get("x-kubernetes-validations", []))
            node = list(node.values())
        if isinstance(node, list):
            for item in node:
                collect(item)

    collect(CRD)
    of_updates = {m for m in messages if "cannot be changed" in m or "belongs to one version" in m}
    shown = [words for _, words in BROKEN.values()]
    assert len(of_updates) == 2
    assert [m for m in messages - of_updates if not any(words in m for words in shown)] == []


def test_defaults_are_filled_in(made: ApiServer) -> None:
    rollout = made.get(KIND, NAME)
    expected = Spec(
        inference_service="emb", target=Target(storage_uri="pvc://models/minilm/2", name="v2")
    )
    assert read_spec(rollout) == expected
    spec = rollout["spec"]
    assert [step["weight"] for step in spec["steps"]] == [step.weight for step in DEFAULT_STEPS]
    assert spec["limits"]["error"] == {"after": "15m", "then": "Hold"}
    assert spec["analysis"]["vectors"] == {"tolerance": 0.999, "minOverlap": 0.5}
    assert spec["target"]["image"] == ""
    assert "shadow" not in spec


def test_the_state_comes_back_as_it_was_written(made: ApiServer) -> None:
    """By the subresource, and by nothing else; the specification stays."""
    measurement = Measurement("errors", "Failed", "2.00% of 500, stable 0.00%")
    message = "step 1: weight 5"
    started = Transition(1.5, "Progressing", 5, "StepStarted", message, (measurement,))
    state = State(
        phase="RollingBack",
        reason="AnalysisFailed",
        message="errors: too many",
        target="v2 pvc://models/minilm/2",
        canary="v2",
        step=1,
        weight=0,
        previous_weight=5,
        phase_since=1764000000.25,
        consecutive_failures=2,
        undecided_verdict="Error",
        measurements=(measurement,),
        transitions=(started, started),
    )
    before = made.get(KIND, NAME)
    made.set_status(KIND, NAME, status_of(state, 1, {}, NOW))
    after = made.get(KIND, NAME)
    assert read_state(after) == state
    assert after["status"]["observedGeneration"] == 1
    assert after["spec"] == before["spec"]
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    patch = json.dumps({"status": {"phase": "Succeeded"}})
    made.kubectl("patch", KIND, NAME, "-n", helm.NAMESPACE, "--type=merge", "-p", patch)
    assert read_state(made.get(KIND, NAME)) == state


@pytest.mark.parametrize(
    "status",
    [
        {"phase": "Going"},
        {"reason": "errors: too many"},
        {"phaseSince": "yesterday"},
        {"conditions": [{"type": "Ready", "status": "True"}]},
    ],
)
def test_a_status_outside_of_the_schema_is_refused(made: ApiServer, status: dict[str, Any]) -> None:
    with pytest.raises(Rejected, match=r"Unsupported value|must be of type date-time|Required"):
        made.set_status(KIND, NAME, status)


def test_kubectl_get_shows_phase_weight_step_canary_and_reason(made: ApiServer) -> None:
    state = State(
        phase="Progressing",
        reason="StepStarted",
        message="step 2: weight 10",
        step=1,
        weight=50,
        served_weight=10,
        canary="v2",
    )
    made.set_status(KIND, NAME, status_of(state, 1, {}, NOW))
    head, row = made.kubectl("get", "er", NAME, "-n", helm.NAMESPACE).splitlines()
    assert head.split() == ["NAME", "PHASE", "WEIGHT", "STEP", "CANARY", "REASON", "AGE"]
    assert row.split()[:6] == [NAME, "Progressing", "10", "1", "v2", "StepStarted"]
    assert NAME in made.kubectl("get", "predictor", "-n", helm.NAMESPACE)
    wide = made.kubectl("get", "er", NAME, "-n", helm.NAMESPACE, "-o", "wide")
    assert "step 2: weight 10" in wide


def test_the_commands_of_the_notes_are_admitted(made: ApiServer) -> None:
    """The commands of the chart's notes."""
    notes = helm.notes(helm.MODEL, "rollout.mode=controller")
    ours = [line.strip() for line in notes.splitlines() if " er emb" in line]
    commands = [line for line in ours if "annotate" in line or "patch" in line]
    assert len(commands) == 6
    for command in commands:
        made.kubectl(*command.replace("'", "").split()[1:])
    rollout = made.get(KIND, NAME)
    assert rollout["metadata"]["annotations"]["predictor.dev/action"] == "retry"
    assert rollout["spec"]["paused"] is False
