"""The CRD says what predictor.rollout reads and writes, in the same words and with its defaults."""

from datetime import datetime
from typing import Any, get_args

import msgspec
import pytest
import yaml

from predictor.rollout.spec import GROUP, KIND, PLURAL, VERSION, Spec, read_spec
from predictor.rollout.state import (
    Measurement,
    Phase,
    State,
    Transition,
    TransitionReason,
    Verdict,
)
from predictor.rollout.status import Condition, ConditionStatus, ConditionType, status_of
from tests.charts import helm

PATH = helm.CHARTS / helm.RUNTIME / "files/crds/embeddingrollouts.yaml"
CRD: dict[str, Any] = yaml.safe_load(PATH.read_text(encoding="utf-8"))
NAMES: dict[str, Any] = CRD["spec"]["names"]
(SERVED,) = CRD["spec"]["versions"]
ROOT: dict[str, Any] = SERVED["schema"]["openAPIV3Schema"]["properties"]
SPEC, STATUS = ROOT["spec"], ROOT["status"]
LEAST: dict[str, Any] = {
    "inferenceService": "emb",
    "target": {"storageUri": "pvc://models/minilm/2", "name": "v2"},
}


def defaulted(schema: dict[str, Any], value: Any) -> Any:
    """What the API server makes of an object: missing fields filled in, at any depth."""
    if schema["type"] == "array":
        return [defaulted(schema["items"], item) for item in value]
    if schema["type"] != "object":
        return value
    filled = dict(value)
    for name, field in schema["properties"].items():
        if name not in filled and "default" in field:
            filled[name] = field["default"]
        if name in filled:
            filled[name] = defaulted(field, filled[name])
    return filled


def fields(kind: Any) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(kind)}


def test_the_names_are_those_that_the_controller_asks_for() -> None:
    assert CRD["metadata"]["name"] == f"{PLURAL}.{GROUP}"
    assert (CRD["spec"]["group"], SERVED["name"]) == (GROUP, VERSION)
    assert (NAMES["kind"], NAMES["plural"], NAMES["shortNames"]) == (KIND, PLURAL, ["er"])
    assert SERVED["subresources"] == {"status": {}}


def test_the_printer_columns_are_phase_weight_step_canary_and_reason() -> None:
    columns = {column["name"]: column["jsonPath"] for column in SERVED["additionalPrinterColumns"]}
    assert list(columns) == ["Phase", "Weight", "Step", "Canary", "Reason", "Age", "Message"]
    wide = [
        column["name"] for column in SERVED["additionalPrinterColumns"] if column.get("priority")
    ]
    assert wide == ["Message"], "only with -o wide"
    for path in columns.values():
        part, _, name = path.removeprefix(".").partition(".")
        assert part == "metadata" or name in ROOT[part]["properties"]


def mirror(struct: type[msgspec.Struct], schema: dict[str, Any], where: str = "spec") -> list[str]:
    """Fields that only one of the two knows, at any depth."""
    known, described = fields(struct), set(schema["properties"])
    faults = [f"{where}.{name}" for name in known ^ described]
    for field in msgspec.structs.fields(struct):
        property_schema = schema["properties"].get(field.encode_name, {})
        for part in (field.type, *get_args(field.type)):
            inner = property_schema.get("items", property_schema)
            if isinstance(part, type) and issubclass(part, msgspec.Struct):
                faults += mirror(part, inner, f"{where}.{field.encode_name}")
    return faults


def test_every_field_of_the_specification_is_there_and_no_other() -> None:
    assert mirror(Spec, SPEC) == []


def test_every_field_of_the_status_is_there_and_no_other() -> None:
    """One that is missing is dropped by the API server, and forgotten by the controller."""
    only_written = {"status.observedGeneration", "status.conditions"}
    assert set(mirror(State, STATUS, "status")) == only_written
    conditions = STATUS["properties"]["conditions"]
    assert mirror(Condition, conditions["items"], "status.conditions") == []
    assert conditions["x-kubernetes-list-type"] == "map"
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]


def test_a_missing_field_would_be_found() -> None:
    steps = SPEC["properties"]["steps"]
    items = {**steps["items"], "properties": {"weight": {"type": "integer"}}}
    broken = {**SPEC, "properties": {**SPEC["properties"], "steps": {**steps, "items": items}}}
    assert sorted(mirror(Spec, broken)) == ["spec.steps.hold", "spec.steps.pause"]


def test_every_value_of_a_state_is_admitted() -> None:
    properties = STATUS["properties"]
    transition = properties["transitions"]["items"]["properties"]
    condition = properties["conditions"]["items"]["properties"]
    assert properties["phase"]["enum"] == transition["phase"]["enum"] == list(get_args(Phase))
    for schema in (properties, transition, condition):
        assert schema["reason"]["enum"] == list(get_args(TransitionReason))
    for schema in (properties["measurements"], transition["measurements"]):
        assert schema["items"]["properties"]["verdict"]["enum"] == list(get_args(Verdict))
    assert condition["type"]["enum"] == list(get_args(ConditionType))
    assert condition["status"]["enum"] == list(get_args(ConditionStatus))
    undecided = next(f for f in msgspec.structs.fields(State) if f.name == "undecided_verdict")
    assert properties["undecidedVerdict"]["enum"] == list(get_args(undecided.type))


def conforms(value: Any, schema: dict[str, Any]) -> bool:
    """Whether a value has the types of a schema, at any depth; nothing is null."""
    match schema["type"]:
        case "object":
            return all(conforms(part, schema["properties"][name]) for name, part in value.items())
        case "array":
            return all(conforms(part, schema["items"]) for part in value)
        case "string" if schema.get("format") == "date-time":
            return datetime.fromisoformat(value).tzinfo is not None
        case kind:
            return isinstance(value, {"string": str, "integer": int, "boolean": bool}[kind])


def test_what_the_controller_writes_has_the_types_of_the_schema() -> None:
    measurement = Measurement("errors", "Failed", "2 % of 100")
    transition = Transition(1.5, "Failed", 5, "AnalysisFailed", "errors: 2 %", (measurement,))
    full = State(
        weight_applied_at=1.0,
        phase_since=1.0,
        last_analysis_time=1.0,
        undecided_since=1.0,
        no_success_since=1.0,
        unready_since=2.0,
        unrouted_since=3.0,
        write_failed_at=3.0,
        measurements=(measurement,),
        transitions=(transition,),
    )
    status = status_of(full, 1, {}, 4.0)
    assert set(status) == set(STATUS["properties"])
    assert conforms(status, STATUS)


def test_every_reason_and_condition_is_documented() -> None:
    text = (helm.CHARTS / "ROLLOUTS.md").read_text(encoding="utf-8")
    for value in (*get_args(TransitionReason), *get_args(ConditionType), *get_args(Phase)):
        assert f"| `{value}` |" in text, value


def test_the_defaults_of_the_schema_are_those_of_the_code() -> None:
    assert read_spec({"spec": defaulted(SPEC, LEAST)}) == read_spec({"spec": LEAST})
    shadowed = {**LEAST, "shadow": {}}
    assert read_spec({"spec": defaulted(SPEC, shadowed)}) == read_spec({"spec": shadowed})


def test_the_defaults_of_the_chart_are_those_of_the_code() -> None:
    rollout = helm.only(helm.template(helm.MODEL, "rollout.mode=controller"), "EmbeddingRollout")
    target = rollout["spec"]["target"]
    numbers = {"minReplicas": 1, "maxReplicas": 1}  # autoscaling.minReplicas of the values
    plain = {"spec": {"inferenceService": "emb", "target": target, **numbers}}
    assert read_spec(rollout) == read_spec(plain)
    with_shadow = helm.template(
        helm.MODEL, "rollout.mode=controller", "rollout.shadow.enabled=true",
        "access.adminTokenSecret.name=admin",
    )  # fmt: skip
    shadowed = {"spec": {**plain["spec"], "shadow": {}}}
    assert read_spec(helm.only(with_shadow, "EmbeddingRollout")) == read_spec(shadowed)


def test_the_template_makes_the_file_and_helm_keeps_it() -> None:
    sets = ("rollout.enabled=true", "rollout.prometheus.address=http://p")
    crd = helm.only(helm.template(helm.RUNTIME, *sets), "CustomResourceDefinition")
    assert (crd["metadata"]["name"], crd["spec"]) == (CRD["metadata"]["name"], CRD["spec"])
    assert crd["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


@pytest.mark.parametrize("sets", ["rollout.crd.install=false", "scope=Namespace"])
def test_the_crd_can_be_left_to_others(sets: str) -> None:
    values = ("rollout.enabled=true", "rollout.prometheus.address=http://p", sets)
    assert not helm.of_kind(helm.template(helm.RUNTIME, *values), "CustomResourceDefinition")
    text = helm.notes(helm.RUNTIME, *values)
    command = "kubectl apply --server-side -f charts/embedding-runtime/files/crds/"
    assert command + PATH.name in text
