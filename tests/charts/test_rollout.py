"""The rollout controller that embedding-runtime makes, its rights and its scope."""

import pytest

from tests.charts import helm

ON = ("rollout.enabled=true", "rollout.prometheus.address=http://prometheus:9090")

# All that the controller may do with objects of others.
RIGHTS: dict[str, set[str]] = {
    "embeddingrollouts.predictor.dev": {"get", "list", "patch"},
    "embeddingrollouts.predictor.dev/status": {"patch"},
    "inferenceservices.serving.kserve.io": {"get", "patch"},
    "httproutes.gateway.networking.k8s.io": {"get", "create", "patch", "delete"},
    "deployments.apps": {"get", "list"},
    "deployments.apps/scale": {"patch"},
    "horizontalpodautoscalers.autoscaling": {"list", "patch", "delete"},
    "scaledobjects.keda.sh": {"list", "patch", "delete"},
    "events": {"create"},
}


def controller(*sets: str) -> list[helm.Object]:
    """The objects of the controller alone."""
    found = helm.template(helm.RUNTIME, *ON, *sets)
    label = "app.kubernetes.io/component"
    return [one for one in found if one["metadata"]["labels"].get(label) == "rollout"]


def arguments(*sets: str) -> list[str]:
    deployment = helm.only(controller(*sets), "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    given: list[str] = container["args"]
    return given


def rights(role: helm.Object) -> dict[str, set[str]]:
    """Of a role: resource -> verbs."""
    found: dict[str, set[str]] = {}
    for rule in role["rules"]:
        (group,) = rule["apiGroups"]
        for resource in rule["resources"]:
            plural, _, part = resource.partition("/")
            whole = ".".join(filter(None, (plural, group))) + (f"/{part}" if part else "")
            found[whole] = set(rule["verbs"])
    return found


def test_nothing_of_it_is_made_unasked() -> None:
    kinds = {found["kind"] for found in helm.template(helm.RUNTIME)}
    assert not kinds & {"Deployment", "CustomResourceDefinition", "Role"}
    assert not helm.of_kind(helm.template(helm.MODEL), "EmbeddingRollout")


def test_two_controllers_share_a_lease() -> None:
    deployment = helm.only(controller(), "Deployment")
    assert deployment["spec"]["replicas"] == 2
    assert arguments()[:2] == ["rollout", "controller"]
    lease = "--lease-name=emb-embedding-runtime-rollout"
    assert {lease, "--lease-namespace=search", "--prometheus=http://prometheus:9090"} <= set(
        arguments()
    )
    role = helm.only(controller(), "Role")
    assert [rule.get("resourceNames") for rule in role["rules"]] == [
        None, ["emb-embedding-runtime-rollout"],
    ]  # fmt: skip


def test_the_last_of_two_flags_is_the_users() -> None:
    given = arguments("rollout.extraArgs={--log-format=text}")
    assert given[-2:] == ["--log-format=json", "--log-format=text"]


def test_the_scope_is_the_charts() -> None:
    cluster, namespace = controller(), controller("scope=Namespace")
    assert "--all-namespaces" in arguments()
    assert "--namespace=search" in arguments("scope=Namespace")
    assert "--all-namespaces" not in arguments("scope=Namespace")
    assert helm.of_kind(cluster, "ClusterRole")
    wide = {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"}
    assert not {found["kind"] for found in namespace} & wide
    assert {found["metadata"]["namespace"] for found in namespace} == {helm.NAMESPACE}


@pytest.mark.parametrize(("scope", "kind"), [("Cluster", "ClusterRole"), ("Namespace", "Role")])
def test_the_rights_are_the_least(scope: str, kind: str) -> None:
    roles = helm.of_kind(controller(f"scope={scope}"), kind)
    (role,) = (found for found in roles if found["metadata"]["name"].endswith("-rollout"))
    assert rights(role) == RIGHTS
    assert "*" not in str(role["rules"])


def test_pods_are_listed_only_to_send_them_copies() -> None:
    sets = ("rollout.adminTokenSecret.name=admin", "rollout.adminTokenSecret.key=it")
    role = helm.only(controller(*sets), "ClusterRole")
    assert rights(role) == RIGHTS | {"pods": {"list"}}
    assert "--admin-token-file=/etc/predictor/admin/it" in arguments(*sets)
    pod = helm.only(controller(*sets), "Deployment")["spec"]["template"]["spec"]
    assert {"name": "admin-token", "secret": {"secretName": "admin"}} in pod["volumes"]
    (container,) = pod["containers"]
    mount = {"name": "admin-token", "mountPath": "/etc/predictor/admin", "readOnly": True}
    assert mount in container["volumeMounts"]


def test_the_rights_go_to_the_account_of_the_pods() -> None:
    for sets in ((), ("rollout.serviceAccount.create=false", "rollout.serviceAccount.name=mine")):
        found = controller(*sets)
        pod = helm.only(found, "Deployment")["spec"]["template"]["spec"]
        bindings = [o for o in found if o["kind"].endswith("Binding")]
        assert len(bindings) == 2
        for binding in bindings:
            (subject,) = binding["subjects"]
            assert subject["name"] == pod["serviceAccountName"]
        assert bool(helm.of_kind(found, "ServiceAccount")) is not bool(sets)


def test_the_token_is_the_controllers_alone() -> None:
    found = controller()
    assert helm.only(found, "ServiceAccount")["automountServiceAccountToken"] is False
    pod = helm.only(found, "Deployment")["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is True


def test_rights_can_be_given_by_others() -> None:
    kinds = {found["kind"] for found in controller("rollout.rbac.create=false")}
    assert kinds == {"CustomResourceDefinition", "Deployment", "PodDisruptionBudget",
                     "ServiceAccount"}  # fmt: skip


def test_people_may_see_and_change_rollouts() -> None:
    roles = {
        found["metadata"]["name"].rpartition("-")[2]: rights(found)
        for found in helm.of_kind(helm.template(helm.RUNTIME, *ON), "ClusterRole")
    }
    of_rollouts = "embeddingrollouts.predictor.dev"
    assert roles["view"][of_rollouts] == {"get", "list", "watch"}
    assert roles["edit"][of_rollouts] == {"create", "delete", "deletecollection", "patch", "update"}
    assert f"{of_rollouts}/status" not in roles["edit"]
    without = helm.of_kind(helm.template(helm.RUNTIME), "ClusterRole")
    assert not any(of_rollouts in rights(found) for found in without)


def test_everything_selects_the_controllers_pods_and_nobody_elses() -> None:
    found = controller("rollout.serviceMonitor.enabled=true", "rollout.podLabels.team=search")
    pods = helm.only(found, "Deployment")["spec"]["template"]["metadata"]["labels"]
    service = helm.only(found, "Service")
    selectors = [
        helm.only(found, kind)["spec"]["selector"]["matchLabels"]
        for kind in ("Deployment", "PodDisruptionBudget")
    ]
    for selector in (*selectors, service["spec"]["selector"]):
        assert selector.items() <= pods.items()
        assert selector["app.kubernetes.io/component"] == "rollout"
        assert "team" not in selector
    monitor = helm.only(found, "ServiceMonitor")["spec"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]


def test_a_name_never_gets_too_long() -> None:
    for found in controller(f"fullnameOverride={'a' * 63}", "rollout.serviceMonitor.enabled=true"):
        assert len(found["metadata"]["name"]) <= 63


def test_the_notes_name_the_controller() -> None:
    text = helm.notes(helm.RUNTIME, *ON)
    assert "rollout status deployment/emb-embedding-runtime-rollout" in text
    assert "makes no CRD" not in text
