"""Wrong values are refused before anything reaches the cluster, in words that say what to do."""

import pytest

from tests.charts import helm

CANARY = ("canary.name=v2", "canary.storageUri=pvc://models/minilm/2", "canary.trafficPercent=10")
KNATIVE = "deploymentMode=Knative"
REDIS = "cache.redis.deploy.enabled=true"
CONTROLLER = "rollout.mode=controller"
COMPARE = "rollout.strategy=Compare"
TWO = (COMPARE, "rollout.steps[0].weight=9")
BY_USER = "rollout.compare.userHeader=X-User"
SHADOW = ("rollout.shadow.enabled=true", "access.adminTokenSecret.name=token")
ROLLOUT = "rollout.enabled=true"

# What is set, and a part of the sentence that is read.
SCHEMA: dict[tuple[str, ...], str] = {
    ("canary.trafficPercnt=10",): "at '/canary': additional properties 'trafficPercnt' not allowed",
    ("replicas=3",): "at '': additional properties 'replicas' not allowed",
    ("canary.trafficPercent=120",): "at '/canary/trafficPercent': maximum: got 120, want 100",
    ("canary.trafficPercent=-1",): "at '/canary/trafficPercent': minimum: got -1, want 0",
    ("canary.trafficPercent=ten",): "at '/canary/trafficPercent': got string, want integer",
    ("autoscaling.mode=hpa",): "value must be one of 'none', 'cpu', 'queue', 'external'",
    ("autoscaling.mode={cpu,queue}",): "value must be one of 'none', 'cpu', 'queue', 'external'",
    ("deploymentMode=RawDeployment",): "value must be one of 'Standard', 'Knative'",
    ("image.pullPolicy=always",): "value must be one of 'IfNotPresent', 'Always', 'Never'",
    ("model.variant=int4",): "value must be one of 'auto', 'fp32', 'int8', 'int8-weights', 'fp16'",
    ("smokeTest.vector={a,b}",): "at '/smokeTest/vector/0': 'a' does not match",
    ("image.digest=latest",): "at '/image/digest': 'latest' does not match pattern",
    ("serviceMonitor.interval=15",): "at '/serviceMonitor/interval': got number, want string",
    ("tolerations.key=gpu",): "at '/tolerations': got object, want array",
    (CONTROLLER, "rollout.steps[0].weight=101"): "at '/rollout/steps/0/weight': maximum: got 101",
    (CONTROLLER, "rollout.steps[0].hold=5m"): "at '/rollout/steps/0': missing property 'weight'",
    (CONTROLLER, "rollout.analysis.interval=30"): "at '/rollout/analysis/interval': got number",
    (CONTROLLER, "rollout.analysis.interval=1d"): "'1d' does not match pattern",
    (CONTROLLER, "rollout.analysis.errors.maxIncrease=0"): "exclusiveMinimum: got 0, want 0",
    (CONTROLLER, "rollout.limits.error.then=Ask"): "value must be one of 'Hold', 'RollBack'",
    (CONTROLLER, "rollout.vectors=same"): "value must be one of 'Same', 'Changed'",
    (CONTROLLER, "rollout.paused=true"): "additional properties 'paused' not allowed",
}
TEMPLATES: dict[tuple[str, ...], str] = {
    (
        "model.storageUri=models/minilm",
    ): '"models/minilm" is no storageUri: it begins with a scheme',
    (CONTROLLER, "canary.storageUri=pvc://models/minilm/2"): "canary is for rollout.mode=helm",
    (CONTROLLER, "canary.name=v2"): "set model.storageUri to the new model, and the controller",
    (CONTROLLER, "canary.image.tag=v2"): "canary is for rollout.mode=helm",
    (CONTROLLER, "canary.allowSkippedStep=true"): "Empty all of canary",
    (CONTROLLER, KNATIVE, "canary.trafficPercent=10"): "canary is for rollout.mode=helm",
    (CONTROLLER, KNATIVE, "predictor.name=v2"): "are for deploymentMode Standard",
    (CONTROLLER, "rollout.target.name=V2"): 'rollout.target.name "V2" is no name for KServe',
    (CONTROLLER, f"rollout.target.name={'v' * 45}"): 'the label "isvc.emb-vvv',
    (CONTROLLER, "rollout.steps[0].weight=5", "rollout.steps[1].weight=5"): (
        "rollout.steps: the weights must rise, and 5 comes after 5"
    ),
    (CONTROLLER, BY_USER): "set rollout.strategy=Compare",
    (CONTROLLER, *TWO, BY_USER, KNATIVE): "headers choose a version in Standard mode only",
    (CONTROLLER, *TWO, BY_USER, "rollout.compare.versionHeader=x-User"): "must be two headers",
    (CONTROLLER, *TWO, "rollout.compare.userHeader=x user"): "/rollout/compare/userHeader",
    (CONTROLLER, COMPARE): "the last of rollout.steps must have a weight below 100",
    (
        CONTROLLER,
        "networkPolicy.enabled=true",
        "networkPolicy.ingressFrom[0].podSelector.matchLabels.a=b",
    ): "name it in networkPolicy.controllerFrom",
    (CONTROLLER, "rollout.shadow.enabled=true"): "so set access.adminTokenSecret",
    ("rollout.target.name=v2",): "rollout.target.name is for rollout.mode=controller",
    ("fullnameOverride=Emb",): '"Emb" is no name for KServe: small letters, digits',
    ("fullnameOverride=1st",): '"1st" is no name for KServe',
    (*CANARY, "canary.name=v_2"): '"v_2" is no name for KServe',
    (f"fullnameOverride={'a' * 49}",): "64 characters, and Kubernetes takes 63",
    (f"fullnameOverride={'a' * 46}", *CANARY): '-v2-predictor" of it, 64 characters',
    (f"fullnameOverride={'a' * 47}",): "makes the host name",
    (*CANARY, "canary.name="): "canary.name is required in Standard mode",
    (*CANARY, "predictor.name=v2"): 'canary.name "v2" is the stable predictor\'s name',
    (*CANARY, "canary.storageUri=pvc://models/minilm/1"): "KServe would refuse the promotion",
    ("canary.trafficPercent=10",): "a canary needs a model",
    ("canary.name=v2",): "a canary needs a model. To remove the canary, empty all three",
    (KNATIVE, *CANARY): "predictor.name and canary.name are for deploymentMode Standard",
    (KNATIVE, "predictor.name=v2"): "predictor.name and canary.name are for deploymentMode",
    (KNATIVE, "canary.trafficPercent=10"): "a canary needs a model",
    (KNATIVE, "canary.replicas=1"): "canary.replicas is for deploymentMode Standard",
    (KNATIVE, "autoscaling.mode=cpu"): "autoscaling.mode=cpu is for deploymentMode Standard",
    (KNATIVE, "runtime.name=embedding-cpu"): "the runtime has two ports, and Knative takes one",
    (KNATIVE, "extraArgs={--enable-grpc}"): "gRPC needs deploymentMode Standard",
    (KNATIVE, "extraArgs={--enable_grpc=true}"): "--enable_grpc=true needs a second port",
    (KNATIVE, "networkPolicy.enabled=true", "serviceMonitor.enabled=true"): (
        "name Prometheus in networkPolicy.metricsFrom"
    ),
    (KNATIVE, CONTROLLER, *SHADOW, "networkPolicy.enabled=true"): (
        "name it in networkPolicy.controllerFrom"
    ),
    (
        *(KNATIVE, CONTROLLER, *SHADOW, "networkPolicy.enabled=true"),
        "networkPolicy.controllerFrom[0].podSelector.matchLabels.c=d",
    ): "name the gateway in networkPolicy.extraEgress",
    (KNATIVE, "gateway.enabled=true"): "gateway is for deploymentMode Standard",
    ("autoscaling.minReplicas=0",): "autoscaling.minReplicas=0 is for Knative mode",
    ("autoscaling.mode=cpu", "autoscaling.minReplicas=3"): "maxReplicas (1) is below",
    ("autoscaling.mode=queue",): "autoscaling.mode=queue needs autoscaling.queue.serverAddress",
    ("podDisruptionBudget.minAvailable=1", "podDisruptionBudget.maxUnavailable=1"): (
        "podDisruptionBudget.minAvailable and maxUnavailable are both set"
    ),
    ("storage.secretName=s3", "serviceAccount.create=false"): "in the `secrets` of your own",
    ("cache.redis.url=redis://r:6379", REDIS): "more than one Redis: set one of",
    (REDIS,): "cache.redis.deploy.image is required: the chart brings no third-party image",
    ("gateway.enabled=true", "gateway.apiKeys.enabled=true"): "gateway.apiKeys.secretName is",
    ("networkPolicy.enabled=true", "model.storageUri=s3://models/minilm/1"): (
        "the container that fetches s3://models/minilm/1 could not reach its storage"
    ),
    (
        "networkPolicy.enabled=true",
        "networkPolicy.ingressFrom[0].podSelector.matchLabels.a=b",
        "serviceMonitor.enabled=true",
    ): "name Prometheus in networkPolicy.metricsFrom",
    ("extraEnv[0].name=PYTHONPATH", "extraEnv[0].value=/x"): "KServe refuses PYTHONPATH",
}
RUNTIME: dict[tuple[str, ...], str] = {
    ("scope=cluster",): "value must be one of 'Cluster', 'Namespace'",
    ("runtimes.tpu.enabled=true",): "at '/runtimes': additional properties 'tpu' not allowed",
    ("rules.rejected.threshold=5",): "at '/rules/rejected/threshold': maximum: got 5, want 1",
    ("runtimes.knative.enabled=true", "runtimes.knative.args={--enable-grpc}"): (
        "gRPC needs a runtime for Standard mode"
    ),
    (ROLLOUT,): "rollout.prometheus.address is required: the controller judges a canary by",
    (ROLLOUT, "rollout.prometheus.address=prometheus:9090"): "at '/rollout/prometheus/address'",
    (
        ROLLOUT,
        "rollout.prometheus.address=http://p",
        "rollout.serviceAccount.create=false",
    ): "the rights are not given to `default`",
    ("runtimes.gpu.enabled=true", "runtimes.gpu.resources.limits.nvidia\\.com/gpu=null"): (
        "runtimes.gpu.resources.limits names no GPU (nvidia.com/gpu: 1)"
    ),
}
CASES = [(helm.MODEL, sets, words) for sets, words in (SCHEMA | TEMPLATES).items()]
CASES += [(helm.RUNTIME, sets, words) for sets, words in RUNTIME.items()]


@pytest.mark.parametrize(
    ("name", "sets", "words"), CASES, ids=[",".join(sets)[:60] for _, sets, _ in CASES]
)
def test_values_that_do_not_fit_together_are_refused(
    name: str, sets: tuple[str, ...], words: str
) -> None:
    with pytest.raises(helm.Refused) as refused:
        helm.template(name, *sets)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("name", "sets"),
    [
        (helm.RUNTIME, "image.repository="),
        (helm.MODEL, "image.repository="),
        (helm.MODEL, "model.storageUri="),
    ],
)
def test_a_missing_value_is_refused_with_the_commands_that_make_it(name: str, sets: str) -> None:
    with pytest.raises(helm.Refused) as refused:
        helm.template(name, sets)
    text = str(refused.value)
    assert "docker build -t REGISTRY/predictor:0.1.0 ." in text
    assert "docker push REGISTRY/predictor:0.1.0" in text
    assert f"helm upgrade --install emb charts/{name} -n search" in text
    assert "--set image.repository=" in text
    assert ("--set model.storageUri=" in text) == (name == helm.MODEL)


def test_the_longest_name_that_fits_is_taken() -> None:
    """isvc.NAME-predictor and NAME-predictor-NAMESPACE have 63 characters at most."""
    name = "a" * (63 - len("-predictor-") - len(helm.NAMESPACE))
    isvc = helm.only(helm.template(helm.MODEL, f"fullnameOverride={name}"), "InferenceService")
    assert isvc["metadata"]["name"] == name
