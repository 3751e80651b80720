"""What the controller's account may do on a real API server, and what it may not."""

import re
from collections.abc import Iterator

import pytest

from tests.charts import helm
from tests.charts.api_server import ApiServer, Rejected
from tests.charts.test_rollout import ON, RIGHTS

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

ACCOUNT = f"system:serviceaccount:{helm.NAMESPACE}:emb-embedding-runtime-rollout"
UNPRIVILEGED = f"system:serviceaccount:{helm.NAMESPACE}:nobody"
LEASE = "emb-embedding-runtime-rollout"
LINE = re.compile(r"(?P<resource>\S*) +\[(?P<urls>.*?)\] +\[(?P<names>.*?)\] +\[(?P<verbs>.*?)\]")
OWNER = f"system:serviceaccount:{helm.NAMESPACE}:owner"
OTHER = "monitoring"

Rights = dict[tuple[str, str], set[str]]


@pytest.fixture(scope="module", params=["Cluster", "Namespace"])
def scope(api_server: ApiServer, request: pytest.FixtureRequest) -> Iterator[str]:
    """The rights of the controller are in the cluster."""
    made = [
        item
        for item in helm.template(helm.RUNTIME, *ON, f"scope={request.param}")
        if "rbac.authorization.k8s.io" in item["apiVersion"] or item["kind"] == "ServiceAccount"
    ]
    api_server.apply(made)
    yield str(request.param)
    api_server.delete(made)


def all_rights(server: ApiServer, account: str, namespace: str = helm.NAMESPACE) -> Rights:
    """Of an account: (resource, names) -> verbs, as `kubectl auth can-i --list` says."""
    text = server.kubectl("auth", "can-i", "--list", f"--as={account}", "-n", namespace)
    rights: Rights = {}
    for line in text.splitlines()[1:]:
        matched = LINE.match(line)
        assert matched, line
        if matched["resource"]:
            key = (matched["resource"], matched["names"])
            rights.setdefault(key, set()).update(matched["verbs"].split())
    return rights


def may(server: ApiServer, *what: str, namespace: str = helm.NAMESPACE) -> bool:
    try:
        server.kubectl("auth", "can-i", *what, f"--as={ACCOUNT}", "-n", namespace, "-q")
    except Rejected:
        return False
    return True


def test_the_controller_has_the_rights_that_it_needs_and_no_others(
    api_server: ApiServer, scope: str
) -> None:
    everybodys = all_rights(api_server, UNPRIVILEGED)
    rights = {
        key: verbs
        for key, verbs in all_rights(api_server, ACCOUNT).items()
        if everybodys.get(key) != verbs
    }
    expected: Rights = {(resource, ""): verbs for resource, verbs in RIGHTS.items()}
    expected[("leases.coordination.k8s.io", "")] = {"create"}
    expected[("leases.coordination.k8s.io", LEASE)] = {"get", "update"}
    assert rights == expected


def test_elsewhere_it_has_the_rights_of_its_scope(api_server: ApiServer, scope: str) -> None:
    everybodys = all_rights(api_server, UNPRIVILEGED, OTHER)
    elsewhere = all_rights(api_server, ACCOUNT, OTHER)
    rights = {key: verbs for key, verbs in elsewhere.items() if everybodys.get(key) != verbs}
    expected: Rights = {(resource, ""): verbs for resource, verbs in RIGHTS.items()}
    assert rights == (expected if scope == "Cluster" else {})


@pytest.mark.parametrize(
    "what",
    [
        ("get", "secrets"), ("get", "pods", "--subresource=log"), ("create", "pods"),
        ("delete", "inferenceservices"),
        ("create", "inferenceservices"), ("patch", "inferenceservices", "--subresource=status"),
        ("patch", "deployments"), ("delete", "deployments"), ("list", "httproutes"),
        ("create", "embeddingrollouts"), ("delete", "embeddingrollouts"),
        ("get", "servingruntimes"), ("create", "horizontalpodautoscalers"), ("list", "leases"),
        ("update", "leases/another"), ("get", "leases/another"), ("delete", f"leases/{LEASE}"),
        ("create", "clusterrolebindings"), ("impersonate", "users"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_the_controller_may_not_do_anything_else(
    api_server: ApiServer, scope: str, what: tuple[str, ...]
) -> None:
    assert not may(api_server, *what)


def test_what_may_be_is_asked_in_the_same_way(api_server: ApiServer, scope: str) -> None:
    """So that the answers above mean something."""
    assert may(api_server, "patch", "inferenceservices")
    assert may(api_server, "patch", "deployments", "--subresource=scale")
    assert may(api_server, "update", f"leases/{LEASE}")
    assert may(api_server, "patch", "inferenceservices", namespace=OTHER) is (scope == "Cluster")


@pytest.fixture
def owner(api_server: ApiServer) -> Iterator[tuple[str, ...]]:
    """Helm's flags for somebody who may do everything in one namespace and nothing beyond."""
    name, _, account = OWNER.rpartition(":")
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "owner", "namespace": helm.NAMESPACE},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin",
        },
        "subjects": [
            {"kind": "ServiceAccount", "name": account, "namespace": name.rpartition(":")[2]}
        ],
    }  # fmt: skip
    api_server.apply([binding])
    yield ("--kube-as-user", OWNER, "-n", helm.NAMESPACE)
    api_server.delete([binding])


def test_the_owner_of_a_namespace_installs_all_of_it(
    api_server: ApiServer, owner: tuple[str, ...]
) -> None:
    """Controller and model; only the CRD is there already."""
    environment = api_server.environment
    sets = (*helm.NEEDED[helm.RUNTIME], *ON, "scope=Namespace")
    chart, model = str(helm.CHARTS / helm.RUNTIME), str(helm.CHARTS / helm.MODEL)
    try:
        helm.run("install", "rt", chart, *owner, *helm.flags(sets, ()), environment=environment)
        sets = (*helm.NEEDED[helm.MODEL], "rollout.mode=controller")
        arguments = (model, *owner, *helm.flags(sets, ()))
        helm.run("install", "mine", *arguments, environment=environment)
        helm.run("upgrade", "mine", *arguments, environment=environment)
        assert api_server.get("er", "mine")["spec"]["inferenceService"] == "mine"
    finally:
        for release in ("mine", "rt"):
            helm.run("uninstall", release, *owner, "--ignore-not-found", environment=environment)


def test_the_owner_of_a_namespace_gives_nobody_the_cluster(
    api_server: ApiServer, owner: tuple[str, ...]
) -> None:
    sets = (*helm.NEEDED[helm.RUNTIME], *ON)
    chart = str(helm.CHARTS / helm.RUNTIME)
    try:
        with pytest.raises(helm.Refused, match="forbidden"):
            helm.run(
                "install", "rt", chart, *owner, *helm.flags(sets, ()),
                environment=api_server.environment,
            )  # fmt: skip
    finally:
        helm.run(
            "uninstall", "rt", *owner, "--ignore-not-found", environment=api_server.environment
        )
