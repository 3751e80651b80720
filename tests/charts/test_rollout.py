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
    "services.serving.knative.dev": {"get"},
    "revisions.serving.knative.dev": {"get"},
    "deployments.apps": {"get", "list"},
    "deployments.apps/scale": {"patch"},
    "horizontalpodautoscalers.autoscaling": {"list", "patch", "delete"},
    "scaledobjects.keda.sh": {"list", "patch", "delete"},
    "pods": {"list"},
    "events": {"create"},
}


def controller(*sets: str) -> list[helm.Object]:
    """The objects of the controller alone."""
    objects = helm.template(helm.RUNTIME, *ON, *sets)
    label = "app.kubernetes.io/component"
    return [item for item in objects if item["metadata"]["labels"].get(label) == "rollout"]


def arguments(*sets: str) -> list[str]:
    deployment = helm.only(controller(*sets), "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    args: list[str] = container["args"]
    return args


def rights(role: helm.Object) -> dict[str, set[str]]:
    """Of a role: resource -> verbs."""
    verbs: dict[str, set[str]] = {}
    for rule in role["rules"]:
        (group,) = rule["apiGroups"]
        for resource in rule["resources"]:
            plural, _, part = resource.partition("/")
            whole = ".".join(filter(None, (plural, group))) + (f"/{part}" if part else "")
            verbs[whole] = set(rule["verbs"])
    return verbs


def test_the_controller_is_off_by_default() -> None:
    kinds = {item["kind"] for item in helm.template(helm.RUNTIME)}
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
    args = arguments("rollout.extraArgs={--log-format=text}")
    assert args[-2:] == ["--log-format=json", "--log-format=text"]


def test_the_scope_is_the_charts() -> None:
    cluster, namespace = controller(), controller("scope=Namespace")
    assert not [flag for flag in arguments() if flag.startswith("--namespace")]
    assert "--namespace=search" in arguments("scope=Namespace")
    assert helm.of_kind(cluster, "ClusterRole")
    wide = {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"}
    assert not {item["kind"] for item in namespace} & wide
    assert {item["metadata"]["namespace"] for item in namespace} == {helm.NAMESPACE}


@pytest.mark.parametrize(("scope", "kind"), [("Cluster", "ClusterRole"), ("Namespace", "Role")])
def test_the_rights_are_the_least(scope: str, kind: str) -> None:
    roles = helm.of_kind(controller(f"scope={scope}"), kind)
    (rollout_role,) = (role for role in roles if role["metadata"]["name"].endswith("-rollout"))
    assert rights(rollout_role) == RIGHTS
    assert "*" not in str(rollout_role["rules"])


def test_the_admin_token_is_mounted_and_needs_no_further_right() -> None:
    sets = ("rollout.adminTokenSecret.name=admin", "rollout.adminTokenSecret.key=it")
    role = helm.only(controller(*sets), "ClusterRole")
    assert rights(role) == RIGHTS
    assert "--admin-token-file=/etc/predictor/admin/it" in arguments(*sets)
    pod = helm.only(controller(*sets), "Deployment")["spec"]["template"]["spec"]
    assert {"name": "admin-token", "secret": {"secretName": "admin"}} in pod["volumes"]
    (container,) = pod["containers"]
    mount = {"name": "admin-token", "mountPath": "/etc/predictor/admin", "readOnly": True}
    assert mount in container["volumeMounts"]


def test_the_rights_go_to_the_account_of_the_pods() -> None:
    for sets in ((), ("rollout.serviceAccount.create=false", "rollout.serviceAccount.name=mine")):
        objects = controller(*sets)
        pod = helm.only(objects, "Deployment")["spec"]["template"]["spec"]
        bindings = [o for o in objects if o["kind"].endswith("Binding")]
        assert len(bindings) == 2
        for binding in bindings:
            (subject,) = binding["subjects"]
            assert subject["name"] == pod["serviceAccountName"]
        assert bool(helm.of_kind(objects, "ServiceAccount")) is not bool(sets)


def test_the_token_is_the_controllers_alone() -> None:
    objects = controller()
    assert helm.only(objects, "ServiceAccount")["automountServiceAccountToken"] is False
    pod = helm.only(objects, "Deployment")["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is True


def test_rights_can_be_given_by_others() -> None:
    kinds = {item["kind"] for item in controller("rollout.rbac.create=false")}
    assert kinds == {"CustomResourceDefinition", "Deployment", "PodDisruptionBudget",
                     "ServiceAccount"}  # fmt: skip


def test_people_may_see_and_change_rollouts() -> None:
    roles = {
        role["metadata"]["name"].rpartition("-")[2]: rights(role)
        for role in helm.of_kind(helm.template(helm.RUNTIME, *ON), "ClusterRole")
    }
    of_rollouts = "embeddingrollouts.predictor.dev"
    assert roles["view"][of_rollouts] == {"get", "list", "watch"}
    assert roles["edit"][of_rollouts] == {"create", "delete", "deletecollection", "patch", "update"}
    assert f"{of_rollouts}/status" not in roles["edit"]
    without = helm.of_kind(helm.template(helm.RUNTIME), "ClusterRole")
    assert not any(of_rollouts in rights(role) for role in without)


def test_selectors_match_the_controllers_pods_only() -> None:
    objects = controller("rollout.serviceMonitor.enabled=true", "rollout.podLabels.team=search")
    pods = helm.only(objects, "Deployment")["spec"]["template"]["metadata"]["labels"]
    service = helm.only(objects, "Service")
    selectors = [
        helm.only(objects, kind)["spec"]["selector"]["matchLabels"]
        for kind in ("Deployment", "PodDisruptionBudget")
    ]
    for selector in (*selectors, service["spec"]["selector"]):
        assert selector.items() <= pods.items()
        assert selector["app.kubernetes.io/component"] == "rollout"
        assert "team" not in selector
    monitor = helm.only(objects, "ServiceMonitor")["spec"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]


def test_a_name_never_gets_too_long() -> None:
    for item in controller(f"fullnameOverride={'a' * 63}", "rollout.serviceMonitor.enabled=true"):
        assert len(item["metadata"]["name"]) <= 63


def test_the_notes_name_the_controller() -> None:
    text = helm.notes(helm.RUNTIME, *ON)
    assert "rollout status deployment/emb-embedding-runtime-rollout" in text
    assert "makes no CRD" not in text
