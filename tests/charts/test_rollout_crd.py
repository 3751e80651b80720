"""The CRD says what predictor.rollout reads and writes, in the same words and with its defaults."""

from typing import Any, get_args

import msgspec
import pytest
import yaml

from predictor.rollout.spec import GROUP, KIND, PLURAL, VERSION, Spec, read_spec
from predictor.rollout.state import Measure, Move, Phase, State, Verdict, status_of
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


def defaulted(schema: dict[str, Any], given: Any) -> Any:
    """What the API server makes of an object: missing fields filled in, at any depth."""
    if schema["type"] == "array":
        return [defaulted(schema["items"], item) for item in given]
    if schema["type"] != "object":
        return given
    filled = dict(given)
    for name, below in schema["properties"].items():
        if name not in filled and "default" in below:
            filled[name] = below["default"]
        if name in filled:
            filled[name] = defaulted(below, filled[name])
    return filled


def fields(kind: Any) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(kind)}


def test_the_names_are_those_that_the_controller_asks_for() -> None:
    assert CRD["metadata"]["name"] == f"{PLURAL}.{GROUP}"
    assert (CRD["spec"]["group"], SERVED["name"]) == (GROUP, VERSION)
    assert (NAMES["kind"], NAMES["plural"], NAMES["shortNames"]) == (KIND, PLURAL, ["er"])
    assert SERVED["subresources"] == {"status": {}}


def test_a_person_sees_phase_weight_step_canary_and_reason() -> None:
    columns = {one["name"]: one["jsonPath"] for one in SERVED["additionalPrinterColumns"]}
    assert list(columns) == ["Phase", "Weight", "Step", "Canary", "Reason", "Age"]
    for path in columns.values():
        part, _, name = path.removeprefix(".").partition(".")
        assert part == "metadata" or name in ROOT[part]["properties"]


def mirror(struct: type[msgspec.Struct], schema: dict[str, Any], where: str = "spec") -> list[str]:
    """Fields that only one of the two knows, at any depth."""
    known, described = fields(struct), set(schema["properties"])
    found = [f"{where}.{name}" for name in known ^ described]
    for field in msgspec.structs.fields(struct):
        below = schema["properties"].get(field.encode_name, {})
        for part in (field.type, *get_args(field.type)):
            inner = below.get("items", below)
            if isinstance(part, type) and issubclass(part, msgspec.Struct):
                found += mirror(part, inner, f"{where}.{field.encode_name}")
    return found


def test_every_field_of_the_specification_is_there_and_no_other() -> None:
    assert mirror(Spec, SPEC) == []


def test_every_field_of_the_status_is_there_and_no_other() -> None:
    """One that is missing is dropped by the API server, and forgotten by the controller."""
    assert mirror(State, STATUS, "status") == ["status.observedGeneration"]


def test_a_missing_field_would_be_found() -> None:
    steps = SPEC["properties"]["steps"]
    items = {**steps["items"], "properties": {"weight": {"type": "integer"}}}
    broken = {**SPEC, "properties": {**SPEC["properties"], "steps": {**steps, "items": items}}}
    assert sorted(mirror(Spec, broken)) == ["spec.steps.hold", "spec.steps.pause"]


def test_the_words_of_a_state_are_all_admitted() -> None:
    properties = STATUS["properties"]
    move = properties["history"]["items"]["properties"]
    assert properties["phase"]["enum"] == move["phase"]["enum"] == list(get_args(Phase))
    for schema in (properties["measures"], move["measures"]):
        assert schema["items"]["properties"]["verdict"]["enum"] == list(get_args(Verdict))
    wrong = next(f for f in msgspec.structs.fields(State) if f.name == "wrong")
    assert properties["wrong"]["enum"] == list(get_args(wrong.type))


def test_what_may_be_none_may_be_null() -> None:
    status = status_of(State(), 1)
    may_be_null = {name for name, below in STATUS["properties"].items() if below.get("nullable")}
    assert {name for name, value in status.items() if value is None} == may_be_null


def test_what_the_controller_writes_has_the_types_of_the_schema() -> None:
    measure = Measure("errors", "Failed", "2 % of 100")
    moved = Move(1.5, "Failed", 5, "why", (measure,))
    full = State(
        arrived=1.0, unready_since=2.0, unrouted_since=3.0, measures=(measure,), history=(moved,)
    )
    kinds: dict[str, Any] = {
        "string": str, "integer": int, "number": float, "boolean": bool, "array": list | tuple,
    }  # fmt: skip
    status = status_of(full, 1)
    del status["observedGeneration"]
    for name, value in status.items():
        assert isinstance(value, kinds[STATUS["properties"][name]["type"]]), name


def test_the_defaults_of_the_schema_are_those_of_the_code() -> None:
    assert read_spec({"spec": defaulted(SPEC, LEAST)}) == read_spec({"spec": LEAST})
    shadowed = {**LEAST, "shadow": {}}
    assert read_spec({"spec": defaulted(SPEC, shadowed)}) == read_spec({"spec": shadowed})


def test_the_defaults_of_the_chart_are_those_of_the_code() -> None:
    found = helm.only(helm.template(helm.MODEL, "rollout.mode=controller"), "EmbeddingRollout")
    target = found["spec"]["target"]
    plain = {"spec": {"inferenceService": "emb", "target": target}}
    assert read_spec(found) == read_spec(plain)
    with_shadow = helm.template(
        helm.MODEL, "rollout.mode=controller", "rollout.shadow.enabled=true",
        "access.adminTokenSecret.name=admin",
    )  # fmt: skip
    shadowed = {"spec": {**plain["spec"], "shadow": {}}}
    assert read_spec(helm.only(with_shadow, "EmbeddingRollout")) == read_spec(shadowed)


def test_the_template_makes_the_file_and_helm_keeps_it() -> None:
    sets = ("rollout.enabled=true", "rollout.prometheus.address=http://p")
    found = helm.only(helm.template(helm.RUNTIME, *sets), "CustomResourceDefinition")
    assert (found["metadata"]["name"], found["spec"]) == (CRD["metadata"]["name"], CRD["spec"])
    assert found["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


@pytest.mark.parametrize("sets", ["rollout.crd.install=false", "scope=Namespace"])
def test_the_crd_can_be_left_to_others(sets: str) -> None:
    given = ("rollout.enabled=true", "rollout.prometheus.address=http://p", sets)
    assert not helm.of_kind(helm.template(helm.RUNTIME, *given), "CustomResourceDefinition")
    text = helm.notes(helm.RUNTIME, *given)
    command = "kubectl apply --server-side -f charts/embedding-runtime/files/crds/"
    assert command + PATH.name in text
