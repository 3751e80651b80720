#!/usr/bin/env bash
# Usage: hack/rollout.sh COMMAND RELEASE [-n NAMESPACE] [OPTION ...]
#
# Brings a new model version in through a canary, by `helm upgrade`, in the order that loses no
# request. For a release of charts/embedding-model in Standard mode.
#
#   canary RELEASE --name NAME --uri STORAGE_URI [--percent 10]
#                     a second predictor with the new model and that share of the traffic
#   weight RELEASE --percent N
#                     another share; pods for it come first
#   promote RELEASE   the canary becomes the stable predictor: through 100 %, then its name
#   rollback RELEASE  the canary goes: through 0 %, then removed
#   status RELEASE    who has which share
#
#   -n, --namespace   namespace of the release (default: the kubeconfig's)
#   --timeout S       seconds to wait for pods and routes (default: 600)
#   --settle S        seconds between the gateway's word and the next step (default: 2)
#   --chart PATH      another chart than charts/embedding-model
#   --help            this text
#
# A step waits until the canary has ready pods for its share (ceil(N * share), where N is the pods
# that the stable version had before the canary and keeps until it is promoted away) and until the
# gateway has taken over the HTTPRoute. Every step can be called again. KUBECONFIG names the
# cluster; helm and kubectl are those on PATH, else those of hack/tools.sh.

set -o errexit -o nounset -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source hack/lib.sh
help_if_asked "$@"
PATH=$PATH:$PWD/.cache/tools

(($# >= 2)) || fail "wants a command and a release; see --help"
command=$1 release=$2
shift 2
name='' uri='' percent='' timeout=600 settle=2 chart=charts/embedding-model
kube=(kubectl)
upgrade=(helm upgrade "$release" --reset-then-reuse-values --hide-notes)
# Helm 4 applies on the server and would refuse a step over a weight that was set with kubectl.
[[ $(helm version --template '{{.Version}}' 2>/dev/null) == v4.* ]] && upgrade+=(--force-conflicts)
while (($#)); do
  (($# > 1)) || fail "$1 needs a value"
  case $1 in
    -n | --namespace)
      kube+=(--namespace "$2")
      upgrade+=(--namespace "$2")
      ;;
    --name) name=$2 ;;
    --uri) uri=$2 ;;
    --percent) percent=$2 ;;
    --timeout) timeout=$2 ;;
    --settle) settle=$2 ;;
    --chart) chart=$2 ;;
    *) fail "unknown argument $1; see --help" ;;
  esac
  shift 2
done
[[ -z $percent || $percent =~ ^[0-9]+$ && $percent -le 100 ]] || fail "--percent $percent: 0 to 100"

say() { echo "$release: $*" >&2; }

# Prints a field of the living InferenceService.
service() { "${kube[@]}" get inferenceservice "$release" --output "jsonpath={$1}"; }
canary_name() { service '.spec.canary[0].predictor.name'; }
canary_percent() { service '.spec.canary[0].trafficPercent'; }

# Prints KServe's name of the Deployment and Service of a predictor.
deployment() { echo "$release${1:+-$1}-predictor"; }

ready_pods() {
  local found
  found=$("${kube[@]}" get deployment "$1" --ignore-not-found --output 'jsonpath={.status.readyReplicas}')
  echo "${found:-0}"
}

# Prints the pods that the stable version keeps while there is a canary: those that it had before.
stable_pods() {
  local stable=$1 kept ready canary_pods
  if [[ $(service '.metadata.annotations.serving\.kserve\.io/autoscalerClass') == none ]]; then
    # The chart puts the canary's pods on top of them, since KServe takes those off again.
    kept=$(service .spec.predictor.minReplicas)
    canary_pods=$(service '.spec.canary[0].predictor.minReplicas')
    echo $((${kept:-1} - ${canary_pods:-0}))
    return
  fi
  ready=$(ready_pods "$stable")
  for kept in $(held_pods horizontalpodautoscalers minReplicas "$stable") \
    $(held_pods scaledobjects.keda.sh minReplicaCount "$stable"); do
    ((ready >= kept)) || ready=$kept
  done
  echo "$ready"
}

# Prints the least numbers of the autoscalers of a Deployment; none where there is no such kind.
held_pods() {
  local select="{.items[?(@.spec.scaleTargetRef.name=='$3')].spec.$2}"
  "${kube[@]}" get "$1" --output "jsonpath=$select" 2>/dev/null || true
}

# Repeats a command until it succeeds.
await() {
  local what=$1 deadline=$((SECONDS + timeout))
  shift
  until "$@"; do
    ((SECONDS < deadline)) || fail "$release: $what did not come within $timeout s"
    sleep 1
  done
}

has_pods() { (($(ready_pods "$1") >= $2)); }

# Prints a field of the backends that the route has for REST.
backends() { "${kube[@]}" get httproute "$release" --output "jsonpath={.spec.rules[-1:].backendRefs$1}"; }

# Whether a predictor has that share and the gateway has taken it over.
route_has() { [[ $(backends "[?(@.name=='$1')].weight") == "$2" ]] && is_programmed; }

# Whether no other predictor is left in the route.
route_is() { [[ $(backends '[*].name') == "$1" ]] && is_programmed; }

# Every gateway has accepted and resolved this generation of the route.
is_programmed() {
  local generation condition
  generation=$("${kube[@]}" get httproute "$release" --output 'jsonpath={.metadata.generation}')
  for condition in $("${kube[@]}" get httproute "$release" --output \
    'jsonpath={range .status.parents[*].conditions[*]}{.status}/{.observedGeneration}{" "}{end}'); do
    [[ $condition == "True/$generation" ]] || return 1
  done
  [[ -n ${condition:-} ]]
}

# Prints the values that give an image; the second argument goes before their names. The values of a
# canary become the release's as they are: another pod template would start its pods anew.
image_values() {
  local image=$1 prefix=${2:-}
  case $image in
    *@*) echo "${prefix}image.repository=${image%%@*},${prefix}image.digest=${image#*@}" ;;
    *) echo "${prefix}image.repository=${image%:*},${prefix}image.tag=${image##*:},${prefix}image.digest=" ;;
  esac
}

# Prints the values of the stable predictor that the service has. Those of the release are older after
# a `helm rollback` that was refused.
stable_values() {
  echo "predictor.name=$(service .spec.predictor.name),model.storageUri=$(service .spec.predictor.model.storageUri)"
  image_values "$(service .spec.predictor.model.image)"
}

# The same of both predictors.
service_values() {
  local canary='.spec.canary[0].predictor'
  stable_values
  echo "canary.name=$(canary_name),canary.storageUri=$(service "$canary.model.storageUri")"
  image_values "$(service "$canary.model.image")" canary.
}

# Ready pods first, at the weight of now; then the weight.
move_to() {
  local share=$1 canary wanted values
  canary=$(canary_name)
  [[ -n $canary ]] || fail "$release has no canary; see: hack/rollout.sh canary --help"
  wanted=$((($(stable_pods "$(deployment "$(service .spec.predictor.name)")") * share + 99) / 100))
  values=$(service_values | paste --serial --delimiters=,)
  if ((share > $(canary_percent))) && ! has_pods "$(deployment "$canary")" "$wanted"; then
    say "$canary gets $wanted pods for $share %"
    "${upgrade[@]}" "$chart" --set "$values,canary.trafficPercent=$(canary_percent)" \
      --set "canary.replicas=$wanted" >/dev/null
    await "$wanted ready pods of $canary" has_pods "$(deployment "$canary")" "$wanted"
  fi
  # Also where the service has that share: the release may have another one.
  "${upgrade[@]}" "$chart" --set "$values,canary.trafficPercent=$share" >/dev/null
  await "weight $share of $canary at the gateway" route_has "$(deployment "$canary")" "$share"
  say "$canary has $share %"
}

begin() {
  [[ -n $name && -n $uri ]] || fail "canary wants --name and --uri; see --help"
  if [[ $(canary_name) != "$name" ]]; then
    # Without traffic first, so that its pods are ready before they get requests.
    "${upgrade[@]}" "$chart" --set "canary.name=$name,canary.storageUri=$uri,canary.trafficPercent=0" >/dev/null
    await "a ready pod of $name" has_pods "$(deployment "$name")" 1
  fi
  move_to "${percent:-10}"
}

NO_CANARY=canary.name=,canary.storageUri=,canary.trafficPercent=0,canary.replicas=0
NO_CANARY+=,canary.image.repository=,canary.image.tag=,canary.image.digest=

promote() {
  local canary model image
  canary=$(canary_name)
  if [[ -z $canary ]]; then
    say "no canary; $(service .spec.predictor.name) is stable"
    return
  fi
  move_to 100
  sleep "$settle"
  model=$(service '.spec.canary[0].predictor.model.storageUri')
  image=$(service '.spec.canary[0].predictor.model.image')
  "${upgrade[@]}" "$chart" --set "predictor.name=$canary,model.storageUri=$model" \
    --set "$(image_values "$image")" --set "$NO_CANARY" >/dev/null
  await "the route to $canary alone" route_is "$(deployment "$canary")"
  say "$canary is stable"
}

rollback() {
  local canary
  canary=$(canary_name)
  if [[ -z $canary ]]; then
    say "no canary"
    return
  fi
  move_to 0
  sleep "$settle"
  "${upgrade[@]}" "$chart" --set "$NO_CANARY" >/dev/null
  await "the route without $canary" route_is "$(deployment "$(service .spec.predictor.name)")"
  say "$canary is gone"
}

# Shares as the route has them, and the pods that are ready. One alone has all: its weight is 1.
report() {
  local names shares position
  read -ra names <<<"$(backends '[*].name')"
  read -ra shares <<<"$(backends '[*].weight')"
  ((${#names[@]} > 1)) || shares=(100)
  for position in "${!names[@]}"; do
    echo "${names[position]} ${shares[position]} % $(ready_pods "${names[position]}") ready"
  done
}

case $command in
  canary) begin ;;
  weight)
    [[ -n $percent ]] || fail "weight wants --percent"
    move_to "$percent"
    ;;
  promote) promote ;;
  rollback) rollback ;;
  status) ;;
  *) fail "unknown command $command; see --help" ;;
esac
report
