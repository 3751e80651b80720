"""Whether pods fit on the nodes of a cluster, as the scheduler would count."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from tests.scripts import load

Object = dict[str, Any]
script = load("node_room")

GIB = 1024.0**3
TAINT = {"key": "nvidia.com/gpu", "value": "true", "effect": "NoSchedule"}


def node(name: str = "a", cpu: str = "2", memory: str = "4Gi", **spec: Any) -> Object:
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/arch": "amd64"}},
        "spec": spec,
        "status": {"allocatable": {"cpu": cpu, "memory": memory, "pods": "110"}},
    }


def pod(cpu: str, on: str = "a", phase: str = "Running", **metadata: Any) -> Object:
    return {
        "metadata": {"name": "p", "namespace": "demo", **metadata},
        "spec": {"nodeName": on, "containers": [{"resources": {"requests": {"cpu": cpu}}}]},
        "status": {"phase": phase},
    }


def service(requests: Object | None = None, **predictor: Any) -> Object:
    resources = {"requests": requests or {"cpu": "1", "memory": "1Gi"}}
    return {
        "metadata": {"name": "minilm", "namespace": "demo"},
        "spec": {"predictor": {"minReplicas": 1, "model": {"resources": resources}, **predictor}},
    }


@pytest.mark.parametrize(
    ("quantity", "value"),
    [
        ("2", 2), ("150m", 0.15), ("0.5", 0.5), ("1e3", 1000), ("1Gi", GIB), ("900Mi", 900 * 2**20),
        ("1G", 1e9), ("128974848", 128974848), ("129e6", 129e6), ("1500000u", 1.5), ("2k", 2000),
    ],
)  # fmt: skip
def test_quantities_are_read_as_kubernetes_does(quantity: str, value: float) -> None:
    assert script.amount(quantity) == pytest.approx(value)


@pytest.mark.parametrize("quantity", ["", "two", "1 Gi", "1GB", "-"])
def test_what_is_no_quantity_is_an_error(quantity: str) -> None:
    with pytest.raises(ValueError, match="is no quantity"):
        script.amount(quantity)


def test_a_pod_that_fits_is_said_with_what_is_left() -> None:
    lines, fits = script.report(0, service(), [node()], [pod("500m")])
    assert fits
    assert lines == [
        "minilm wants 1 x (cpu 1, memory 1024Mi)",
        "node a has cpu 1.5, memory 4096Mi left: room for 1",
        "they fit",
    ]


@pytest.mark.parametrize("requests", [{"cpu": "2001m"}, {"memory": "5Gi"}, {"nvidia.com/gpu": "1"}])
def test_one_request_that_no_node_meets_is_enough(requests: Object) -> None:
    lines, fits = script.report(0, service(requests), [node(), node("b")], [])
    assert not fits
    assert lines[-1] == "they do not fit: there is room for 0"


def test_pods_are_not_spread_over_two_halves_of_nodes() -> None:
    halves = [node("a", cpu="1500m"), node("b", cpu="1500m")]
    assert not script.report(0, service({"cpu": "2"}), halves, [])[1]
    assert script.report(1, service({"cpu": "1"}), halves, [])[1]


def test_the_replicas_and_the_canary_are_counted() -> None:
    assert script.report(0, service(minReplicas=2), [node()], [])[1]
    assert not script.report(1, service(minReplicas=2), [node()], [])[1]


def test_decimal_parts_add_up_exactly() -> None:
    assert script.report(0, service({"cpu": "0.1"}, minReplicas=20), [node()], [])[1]
    assert not script.report(0, service({"cpu": "0.1"}, minReplicas=21), [node()], [])[1]


def test_only_pods_that_run_there_take_room() -> None:
    others = [pod("2", phase="Succeeded"), pod("2", phase="Failed"), pod("2", on="b")]
    assert script.report(0, service({"cpu": "2"}), [node()], others)[1]
    assert not script.report(0, service({"cpu": "2"}), [node()], [*others, pod("1m")])[1]


def test_the_pods_of_the_service_itself_are_replaced() -> None:
    labels = {"serving.kserve.io/inferenceservice": "minilm"}
    assert script.report(0, service({"cpu": "2"}), [node()], [pod("2", labels=labels)])[1]
    elsewhere = pod("2", labels=labels, namespace="search")
    assert not script.report(0, service({"cpu": "2"}), [node()], [elsewhere])[1]


def test_the_number_of_pods_of_a_node_is_limited() -> None:
    full = node()
    full["status"]["allocatable"]["pods"] = "1"
    assert not script.report(0, service(), [full], [pod("1m")])[1]


def test_limits_alone_are_requests() -> None:
    limited = service()
    limited["spec"]["predictor"]["model"]["resources"] = {"limits": {"cpu": "3"}}
    assert not script.report(0, limited, [node()], [])[1]


@pytest.mark.parametrize(
    ("where", "predictor", "fits"),
    [
        (node(unschedulable=True), {}, False),
        (node(taints=[TAINT]), {}, False),
        (node(taints=[TAINT | {"effect": "PreferNoSchedule"}]), {}, True),
        (node(taints=[TAINT]), {"tolerations": [{"operator": "Exists"}]}, True),
        (node(taints=[TAINT]), {"tolerations": [{"key": "nvidia.com/gpu", "value": "true"}]}, True),
        (node(taints=[TAINT]), {"tolerations": [{"key": "nvidia.com/gpu"}]}, False),
        (node(taints=[TAINT]), {"tolerations": [{"key": "a", "operator": "Exists"}]}, False),
        (node(), {"nodeSelector": {"kubernetes.io/arch": "amd64"}}, True),
        (node(), {"nodeSelector": {"kubernetes.io/arch": "arm64"}}, False),
    ],
)
def test_a_node_that_does_not_take_the_pods_has_no_room(
    where: Object, predictor: Object, fits: bool
) -> None:
    assert script.report(0, service(**predictor), [where], [])[1] is fits


def test_a_service_that_requests_nothing_fits() -> None:
    nothing = copy.deepcopy(service())
    del nothing["spec"]["predictor"]["model"]["resources"]
    lines, fits = script.report(0, nothing, [node()], [])
    assert fits
    assert lines[0] == "minilm wants 1 x (nothing)"


@pytest.mark.parametrize(("cpu", "code"), [("1", 0), ("3", 1)])
def test_the_exit_code_is_the_verdict(
    cpu: str, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    contents = [service({"cpu": cpu}), {"items": [node()]}, {"items": []}]
    files = []
    for number, content in enumerate(contents):
        path = tmp_path / str(number)
        path.write_text(json.dumps(content))
        files.append(str(path))
    assert script.main(["0", *files]) == code
    assert script.main(["0", *files[:2]]) == code
    assert "node a has cpu 2 left" in capsys.readouterr().out
