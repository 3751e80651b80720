#!/usr/bin/env bash
# Usage: hack/cluster.sh up|install|demo|down
#
# Brings the server onto a Kubernetes cluster with the charts.
#
#   up        the cluster: with KUBECONFIG set, looks whether it has what is needed; else starts the
#             test cluster (`kit`), builds the image into it and starts a stand-in for KServe
#   install   up, then both charts, and waits until the model is ready
#   demo      install, then a first request and a canary that gets 10 % of the traffic
#   down      removes what was installed, and stops the test cluster
#
#   KUBECONFIG      any cluster with KServe >= 0.20 in Standard mode and the Gateway API
#   IMAGE           the server's image there, REPOSITORY:TAG (default on the test cluster: built here)
#   MODEL_URI       storageUri of the model (default on the test cluster: all-MiniLM-L6-v2)
#   CANARY_URI      storageUri of the second version (default on the test cluster: the same once more)
#   RUNTIME_VALUES  file with values of chart embedding-runtime
#   MODEL_VALUES    file with values of chart embedding-model, such as `resources`
#   NAMESPACE       default: demo
#   WAIT_SECONDS    how long the model may take to be ready (default: 600)
#   GATEWAY         service of the gateway, NAMESPACE/NAME (default: Envoy Gateway's for KServe)
#   KIT             script of the test cluster (default: ../shared/cluster/kit); needs root and buildah
#
# Before it installs it says whether the requests of the pods fit on a node. While it waits it says
# every ten seconds what the pods wait for, and once more if they are not ready in time.

set -o errexit -o nounset -o pipefail
# Files of the caller are found from the folder of the caller.
[[ -z ${RUNTIME_VALUES:-} ]] || RUNTIME_VALUES=$(realpath -- "$RUNTIME_VALUES")
[[ -z ${MODEL_VALUES:-} ]] || MODEL_VALUES=$(realpath -- "$MODEL_VALUES")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source hack/lib.sh
help_if_asked "$@"

STATE=.cache/cluster
RELEASE=minilm
REPORT_SECONDS=10
WAIT_SECONDS=${WAIT_SECONDS:-600}
KIT=${KIT:-../shared/cluster/kit}
NAMESPACE=${NAMESPACE:-demo}
REQUESTS=200
own=
if [[ -z ${KUBECONFIG:-} ]]; then
  own=1
  export KUBECONFIG=${KIT_DIR:-/tmp/kit-cluster}/conf/admin.kubeconfig
  IMAGE=${IMAGE:-localhost/predictor:demo}
  MODEL_URI=${MODEL_URI:-pvc://models/v1}
  CANARY_URI=${CANARY_URI:-pvc://models/v2}
fi
PATH=$PWD/.cache/tools:$PATH

say() { echo "== $*" >&2; }

for file in "${RUNTIME_VALUES:-}" "${MODEL_VALUES:-}"; do
  [[ -z $file || -r $file ]] || fail "cannot read $file; see RUNTIME_VALUES and MODEL_VALUES in --help"
done

up() {
  hack/tools.sh >/dev/null
  mkdir -p "$STATE"
  if [[ -n $own ]]; then
    up_kit
  else
    look
  fi
}

# What a cluster of yours must have; each line that is missing says what it is for.
look() {
  local missing=() crd
  for crd in inferenceservices.serving.kserve.io clusterservingruntimes.serving.kserve.io; do
    kubectl get crd "$crd" >/dev/null 2>&1 || missing+=("KServe: no CRD $crd")
  done
  kubectl explain inferenceservice.spec.canary >/dev/null 2>&1 \
    || missing+=("KServe >= 0.20: its InferenceService has no spec.canary")
  kubectl get crd httproutes.gateway.networking.k8s.io >/dev/null 2>&1 \
    || missing+=("Gateway API: no HTTPRoutes, which split the traffic")
  [[ -n ${IMAGE:-} ]] || missing+=("IMAGE: build it (hack/image.sh), push it, name it")
  [[ -n ${MODEL_URI:-} ]] || missing+=("MODEL_URI: such as s3://BUCKET/PATH or pvc://CLAIM/PATH")
  if ((${#missing[@]})); then
    printf '%s\n' "${missing[@]}" >&2
    fail "the cluster of $KUBECONFIG is not ready for it"
  fi
}

up_kit() {
  [[ -x $KIT ]] || fail "no test cluster at $KIT; set KIT, or KUBECONFIG for a cluster of yours"
  say "starting Kubernetes and Envoy Gateway (a minute)"
  # A session of its own: Ctrl-C here does not stop the cluster.
  setsid --wait "$KIT" up node >/dev/null
  kubectl -n kserve get gateway kserve-ingress-gateway >/dev/null 2>&1 || setsid --wait "$KIT" add gateway
  say "building the image (two minutes the first time)"
  hack/image.sh --base "$("$KIT" base)" --tag "$IMAGE"
  buildah push --quiet "$IMAGE" "docker-archive:$STATE/image.tar:$IMAGE" >/dev/null
  "$KIT" load "$STATE/image.tar" 2>/dev/null
  rm "$STATE/image.tar"
  start_stand_in
}

# KServe's controller is not on the test cluster; tests/cluster/standin makes what it would make.
start_stand_in() {
  install_package cpu,test
  stop_stand_in
  setsid "$VENV/bin/python" -m tests.cluster.standin.controller "$KUBECONFIG" \
    >"$STATE/stand-in.log" 2>&1 </dev/null &
  echo $! >"$STATE/stand-in.pid"
}

stop_stand_in() {
  if [[ -s $STATE/stand-in.pid ]]; then
    kill "$(cat "$STATE/stand-in.pid")" 2>/dev/null || true
    rm "$STATE/stand-in.pid"
  fi
}

# The demonstration model twice, on a volume of the node.
make_volume() {
  local version folder=$PWD/$STATE/models
  fetch_model
  for version in v1 v2; do
    mkdir -p "$folder/$version"
    cp -r "$MODEL_DIR/." "$folder/$version/"
  done
  chmod -R a+rX "$folder"
  kubectl apply --filename - >/dev/null <<YAML
apiVersion: v1
kind: PersistentVolume
metadata: {name: $NAMESPACE-models}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadOnlyMany]
  hostPath: {path: $folder}
  claimRef: {namespace: $NAMESPACE, name: models}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: models, namespace: $NAMESPACE}
spec:
  accessModes: [ReadOnlyMany]
  storageClassName: ""
  volumeName: $NAMESPACE-models
  resources: {requests: {storage: 1Gi}}
YAML
}

# The values that MODEL_VALUES may change: those of a demonstration.
demo_values() {
  echo "autoscaling: {mode: cpu}"
  echo "gateway: {enabled: true}"
  if [[ -n $own ]]; then
    # The node is this machine: leave it some.
    echo "resources: {requests: {cpu: 200m}, limits: {cpu: 1}}"
  fi
}

# Installs both charts. The argument: pods of the model that come to those of the values.
charts() {
  local more=$1
  up
  kubectl create namespace "$NAMESPACE" --dry-run=client --output yaml | kubectl apply --filename - >/dev/null
  local image="image.repository=${IMAGE%:*},image.tag=${IMAGE##*:}"
  local runtime=(--namespace "$NAMESPACE" --set "$image") model
  [[ -z ${RUNTIME_VALUES:-} ]] || runtime+=(--values "$RUNTIME_VALUES")
  demo_values >"$STATE/model.yaml"
  model=(--namespace "$NAMESPACE" --values "$STATE/model.yaml")
  [[ -z ${MODEL_VALUES:-} ]] || model+=(--values "$MODEL_VALUES")
  model+=(--set "$image,model.storageUri=$MODEL_URI")
  [[ -z $own ]] || make_volume
  say_room "$more" "${model[@]}"
  say "installing the charts"
  helm upgrade --install predictor charts/embedding-runtime "${runtime[@]}" --hide-notes >/dev/null
  helm upgrade --install "$RELEASE" charts/embedding-model "${model[@]}"
  say "waiting for the model"
  # Not --for=condition=Ready: KServe writes the Deployment's observedGeneration into the status, and
  # kubectl waits until that is the InferenceService's own generation, which may be never.
  with_reports kubectl --namespace "$NAMESPACE" wait inferenceservice "$RELEASE" \
    "--for=jsonpath={.status.conditions[?(@.type==\"Ready\")].status}=True" "--timeout=${WAIT_SECONDS}s"
}

# Says whether the pods fit on the nodes. Arguments: pods that come to those of the values, and flags
# of helm. It is no refusal: some clusters get a node when pods wait for it.
say_room() {
  local more=$1 folder pods=() python status=0
  shift
  folder=$(mktemp -d)
  python=$(find_python)
  helm template "$RELEASE" charts/embedding-model "$@" --show-only templates/inferenceservice.yaml \
    | kubectl create --dry-run=client --validate=false --output json --filename - >"$folder/service"
  say "room on the nodes"
  if ! kubectl get nodes --output json >"$folder/nodes" 2>"$folder/error"; then
    echo "not known: $(cat "$folder/error")" >&2
    rm -r "$folder"
    return
  fi
  if kubectl get pods --all-namespaces --output json >"$folder/pods" 2>/dev/null; then
    pods=("$folder/pods")
  else
    echo "other pods may not be listed, and are not counted" >&2
  fi
  "$python" hack/node_room.py "$more" "$folder/service" "$folder/nodes" "${pods[@]}" >&2 || status=$?
  rm -r "$folder"
  ((status == 0)) || echo "pods that do not fit stay Pending: set \`resources\` in MODEL_VALUES, or make room" >&2
}

# Says for each pod of the model that is not ready what it waits for; without pods, what the service
# says.
report() {
  local python lines
  python=$(find_python)
  lines=$(kubectl --namespace "$NAMESPACE" get pods --output json \
    --selector "serving.kserve.io/inferenceservice=$RELEASE" | "$python" hack/pod_reasons.py)
  if [[ -z $lines ]]; then
    lines=$(kubectl --namespace "$NAMESPACE" get inferenceservice "$RELEASE" --output \
      'jsonpath={range .status.conditions[?(@.status!="True")]}{.type}: {.reason} {.message}{"\n"}{end}')
  fi
  echo "${lines:-no pods yet}" >&2
}

# Runs a command that waits, and reports all the while; if it fails, it reports last and ends.
with_reports() {
  local status=0 reporter
  {
    trap 'kill $! 2>/dev/null; exit' TERM
    while true; do
      sleep "$REPORT_SECONDS" &
      wait $!
      report || true
    done
  } &
  reporter=$!
  "$@" || status=$?
  kill "$reporter" 2>/dev/null || true
  wait "$reporter" 2>/dev/null || true
  if ((status)); then
    say "not ready:"
    report || true
    exit "$status"
  fi
}

# Opens a way to the gateway and sets its local port; the process ends with this script.
open_gateway() {
  local gateway=${GATEWAY:-} deadline=$((SECONDS + 30))
  if [[ -z $gateway ]]; then
    gateway=$(kubectl get service --all-namespaces \
      --selector gateway.envoyproxy.io/owning-gateway-name=kserve-ingress-gateway \
      --output 'jsonpath={.items[0].metadata.namespace}/{.items[0].metadata.name}')
  fi
  kubectl --namespace "${gateway%/*}" port-forward "service/${gateway#*/}" :80 >"$STATE/forward" 2>&1 &
  forward=$!
  trap 'kill "$forward" 2>/dev/null' EXIT
  until port=$(sed -n 's/^Forwarding from 127.0.0.1:\([0-9]*\) .*/\1/p' "$STATE/forward") && [[ -n $port ]]; do
    ((SECONDS < deadline)) || fail "no way to the gateway $gateway: $(cat "$STATE/forward")"
    sleep 0.2
  done
}

ask() {
  curl --silent --show-error --fail --max-time 20 "http://127.0.0.1:$port/v1/embeddings" \
    --header "Host: $host" --header 'Content-Type: application/json' \
    --data "{\"model\": \"$RELEASE\", \"input\": \"A man is playing a guitar.\", \"dimensions\": 4}" "$@"
}

# Requests until now that the pods of one predictor have answered, by their own count.
answered() {
  local pod total=0 count
  for pod in $(kubectl --namespace "$NAMESPACE" get pods --selector "app=isvc.$1" --output name); do
    count=$(kubectl --namespace "$NAMESPACE" get --raw \
      "/api/v1/namespaces/$NAMESPACE/pods/${pod#pod/}:8080/proxy/metrics" \
      | awk '/^predictor_requests_total\{.*code="200"/ {sum += $2} END {print sum + 0}')
    total=$((total + count))
  done
  echo "$total"
}

demo() {
  # One more for the canary.
  charts 1
  local before
  host=$(kubectl --namespace "$NAMESPACE" get inferenceservice "$RELEASE" --output 'jsonpath={.status.url}')
  host=${host#*://}
  open_gateway
  say "a first request: curl -H 'Host: $host' GATEWAY/v1/embeddings"
  ask
  echo
  [[ -n ${CANARY_URI:-} ]] || fail "CANARY_URI names no second version: no canary"
  say "a canary at 10 %"
  with_reports hack/rollout.sh canary "$RELEASE" --namespace "$NAMESPACE" --name v2 --uri "$CANARY_URI" --percent 10 \
    --timeout "$WAIT_SECONDS"
  before=$(answered "$RELEASE-v2-predictor")
  for _ in $(seq "$REQUESTS"); do
    ask --output /dev/null
  done
  echo "the canary answered $(($(answered "$RELEASE-v2-predictor") - before)) of $REQUESTS requests"
  say "next: hack/rollout.sh promote $RELEASE -n $NAMESPACE, or rollback"
}

down() {
  if [[ -z $own ]]; then
    helm uninstall "$RELEASE" predictor --namespace "$NAMESPACE" --ignore-not-found
    return
  fi
  stop_stand_in
  [[ -x $KIT ]] || fail "no test cluster at $KIT"
  "$KIT" down
  rm -rf "$STATE"
}

case ${1:-} in
  up) up ;;
  install) charts 0 ;;
  demo) demo ;;
  down) down ;;
  *) fail "up, install, demo or down; see --help" ;;
esac
if [[ $1 != down && -n $own ]]; then
  say "export KUBECONFIG=$KUBECONFIG"
fi
