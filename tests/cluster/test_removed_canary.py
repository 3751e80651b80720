"""What removing a canary in one step costs at a real Envoy with the chart's policy.

KServe's order, as seen on its controller: the canary's pods and Service are deleted, and the
HTTPRoutes follow 0.2 s later. The pods are a few lines of Python, so nothing else can fail.
"""

import copy
import time
from collections.abc import Iterator

import pytest

from tests.charts import helm
from tests.cluster import kit as kits
from tests.cluster.api import Api, Object, wait_for
from tests.cluster.load import Load
from tests.cluster.standin.routes import host, routes
from tests.cluster.standin.workload import predictor_name

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

NAMESPACE, NAME = "removal", "minilm"
STABLE, CANARY = predictor_name(NAME), predictor_name(NAME, "v2")
ROUTES = (NAME, predictor_name(NAME))
# Between the deletion of the Service and the change of the routes.
KSERVE_S = 0.2
# Of 20 requests a second; if all failed, it would be those of 0.15 s.
MAX_FAILED = 3
# Answers with its name, also after SIGTERM, as the server does while it drains.
SERVER = """
import http.server, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("X-Model-Version", sys.argv[1])
        self.send_header("Content-Length", "0")
        self.end_headers()
http.server.ThreadingHTTPServer(("0.0.0.0", int(sys.argv[2])), Handler).serve_forever()
"""


def pod(name: str, service: str, version: str, port: int = 8080) -> Object:
    """A pod of a Service, ready at once; it listens on a port."""
    container = {
        "name": "server",
        "image": f"{kits.REPOSITORY}:{kits.TAG}",
        "imagePullPolicy": "Never",
        "command": ["python3", "-c", SERVER, version, str(port)],
        "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app": service}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 10},
    }


def service(name: str) -> Object:
    ports = [
        {"name": "http", "port": 80, "targetPort": 8080},
        {"name": "h2c-grpc", "port": 8081, "appProtocol": "kubernetes.io/h2c"},
    ]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"selector": {"app": name}, "ports": ports},
    }


def policy() -> Object:
    """As the chart makes it for a model of this name."""
    objects = helm.template(helm.MODEL, "gateway.enabled=true", release=NAME, namespace=NAMESPACE)
    return helm.only(objects, "BackendTrafficPolicy")


def kserve_routes(weight: int | None) -> list[Object]:
    """KServe's two HTTPRoutes; None: without a canary."""
    isvc: Object = {"metadata": {"name": NAME, "namespace": NAMESPACE, "uid": ""}}
    isvc |= {"apiVersion": "", "kind": "", "spec": {"predictor": {}}}
    if weight is not None:
        isvc["spec"]["canary"] = [{"trafficPercent": weight, "predictor": {"name": "v2"}}]
    made = [copy.deepcopy(route) for route in routes(isvc, service(STABLE), {"v2"})]
    for route in made:
        route["metadata"].pop("ownerReferences")
    return made


def set_routes(api: Api, weight: int | None) -> None:
    for route in kserve_routes(weight):
        api.merge("HTTPRoute", route["metadata"]["name"], NAMESPACE, {"spec": route["spec"]})


def is_programmed(api: Api) -> bool:
    """Envoy Gateway has taken over this generation of both routes, with all of their backends."""
    for name in ROUTES:
        route = api.get("HTTPRoute", name, NAMESPACE)
        assert route is not None
        parents = route.get("status", {}).get("parents", [])
        conditions = [condition for parent in parents for condition in parent["conditions"]]
        generation = route["metadata"]["generation"]
        if not conditions or any(
            (condition["status"], condition["observedGeneration"]) != ("True", generation)
            for condition in conditions
        ):
            return False
    return True


def is_ready(api: Api, name: str) -> bool:
    item = api.get("Pod", name, NAMESPACE)
    conditions = (item or {}).get("status", {}).get("conditions", [])
    return any((c["type"], c["status"]) == ("Ready", "True") for c in conditions)


@pytest.fixture(scope="module")
def stable(api: Api) -> Iterator[Api]:
    """A model with two pods, its routes, and the chart's policy."""
    api.ensure({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    pods = [pod(f"stable-{number}", STABLE, "1") for number in (1, 2)]
    for item in (service(STABLE), *pods, *kserve_routes(None), policy()):
        api.ensure(item)
    names = [item["metadata"]["name"] for item in pods]
    wait_for("the pods", lambda: all(is_ready(api, name) for name in names), 60.0)
    yield api
    api.delete("Namespace", NAMESPACE)
    wait_for("the namespace gone", lambda: api.get("Namespace", NAMESPACE) is None, 120.0)


@pytest.fixture
def load(stable: Api) -> Iterator[Load]:
    """20 requests a second, a tenth of which the canary answers."""
    wait_for(
        "the canary of the test before gone",
        lambda: stable.get("Pod", CANARY, NAMESPACE) is None,
        60.0,
    )
    for item in (service(CANARY), pod(CANARY, CANARY, "2")):
        stable.ensure(item)
    wait_for("the canary", lambda: is_ready(stable, CANARY), 60.0)
    set_routes(stable, 10)
    wait_for("the routes", lambda: is_programmed(stable), 60.0)
    address = kits.gateway_address(stable)
    with Load(address, host(NAME, NAMESPACE), NAME, clients=4, pause_s=0.2) as running:
        wait_for("both versions", lambda: is_split(running), 60.0)
        yield running
    for kind in ("Service", "Pod"):
        stable.delete(kind, CANARY, NAMESPACE)
    set_routes(stable, None)


def is_split(load: Load) -> bool:
    return load.settled(60) and any(answer.version == "2" for answer in load.answers[-60:])


def test_a_canary_is_removed_in_one_step(stable: Api, load: Load) -> None:
    before = len(load.answers)
    for kind in ("Pod", "Service"):
        stable.delete(kind, CANARY, NAMESPACE)
    time.sleep(KSERVE_S)  # KServe's own pace, not a wait for something
    set_routes(stable, None)
    wait_for("the routes", lambda: is_programmed(stable), 60.0)
    answered = len(load.answers)
    wait_for("100 answers more", lambda: len(load.answers) >= answered + 100, 60.0)
    failures = [answer for answer in load.answers[before:] if answer.failed]
    assert len(failures) <= MAX_FAILED, load.summary()
    assert load.settled(80), load.summary()


def test_a_canary_that_vanishes_costs_its_own_share(stable: Api, load: Load) -> None:
    """Its Service is deleted, and the routes still name it."""
    started = len(load.answers)
    stable.delete("Service", CANARY, NAMESPACE)
    wait_for("the first failure", lambda: bool(load.failures()), 60.0)
    answered = len(load.answers)
    wait_for("200 answers more", lambda: len(load.answers) >= answered + 200, 60.0)
    answers = load.answers[started:]
    failures = [answer for answer in answers if answer.failed]
    # A tenth is 20 of 200; a third would be nine standard deviations away.
    assert len(failures) < len(answers) / 3, load.summary()
    assert {answer.status for answer in failures} == {500}, load.summary()


def test_a_pod_that_takes_no_connections_costs_nothing(stable: Api, load: Load) -> None:
    """A request that it did not take is retried on another pod of the same version."""
    deaf = pod("stable-deaf", STABLE, "1", port=8090)
    stable.ensure(deaf)
    try:
        wait_for("the deaf pod", lambda: is_ready(stable, "stable-deaf"), 60.0)
        answered = len(load.answers)
        wait_for("200 answers more", lambda: len(load.answers) >= answered + 200, 60.0)
    finally:
        stable.delete("Pod", "stable-deaf", NAMESPACE)
    assert load.failures() == [], load.summary()
