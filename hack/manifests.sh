#!/usr/bin/env bash
# Usage: hack/manifests.sh [--check]
#
# Renders the files of manifests/ that come out of the charts. With --check it changes nothing, and
# fails if a file is not what the charts render, or if an overlay's patches do not give what the
# chart gives for the same wish: one source, two ways to install. Needs helm and kubectl, which
# hack/tools.sh fetches.

set -o errexit -o nounset -o pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source hack/lib.sh
help_if_asked "$@"
PATH=$PWD/.cache/tools:$PATH

check=
case ${1:-} in
  --check) check=1 ;;
  '') ;;
  *) fail "unknown argument $1; see --help" ;;
esac
for tool in helm kubectl; do
  command -v "$tool" >/dev/null || fail "no $tool: run hack/tools.sh"
done

WITH_IMAGE=image.repository=predictor,image.tag=latest
# What base says about the model, beyond the chart's defaults.
MODEL=model.storageUri=pvc://models/v1,smokeTest.enabled=false
MODEL+=,autoscaling.mode=cpu,autoscaling.maxReplicas=3,podDisruptionBudget.enabled=true
# What the overlays with patches say beyond base.
GPU=runtime.name=embedding-gpu
GPU_TEXT=resources.requests.cpu=4,resources.limits.cpu=4
GPU+=,resources.requests.memory=8Gi,resources.limits.memory=8Gi
# Helm splits keys at dots; in lists JSON says it shorter.
GPU_JSON=('resources.limits.nvidia\.com/gpu=1' 'tolerations=[{"key":"nvidia.com/gpu","operator":"Exists","effect":"NoSchedule"}]')
KNATIVE=deploymentMode=Knative,autoscaling.mode=none

made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
stale=()

# Helm's output without what is Helm's: its labels, the comments about files, the namespace, which
# is the one that is applied to.
without_helm() {
  sed --regexp-extended \
    -e '/^# Source: /d' -e '/^ +helm\.sh\/chart: /d' -e '/^ +app\.kubernetes\.io\/managed-by: /d' \
    -e '/^ +namespace: unset$/d' -e '/^ +namespaceSelector:$/,/matchNames: \[unset\]/d' \
    -e 's/[[:space:]]+$//' | cat --squeeze-blank
}

# Without the policy, whose file is applied as it is.
runtime() {
  helm template embedding charts/embedding-runtime --namespace unset --set "$WITH_IMAGE,canaryPolicy.enabled=false" "$@" \
    | without_helm
}

# The runtime names the image, and only there: kustomize's `images:` knows containers, but not the
# model of an InferenceService.
model() {
  helm template embedding charts/embedding-model --namespace unset --set "$WITH_IMAGE" --set "$MODEL" "$@" \
    | without_helm | sed '/^ *image: predictor:latest$/d'
}

# Writes a file, or compares it.
put() {
  local file=manifests/$1
  { echo "# Rendered from the charts by hack/manifests.sh."; cat; } >"$made/file"
  if [[ -z $check ]]; then
    cp "$made/file" "$file"
  elif ! diff --unified "$file" "$made/file" >&2; then
    stale+=("$file")
  fi
}

# All objects of a kustomization in one order.
sorted() {
  local folder=$made/sorted
  rm -rf "$folder"
  mkdir "$folder"
  cat >"$folder/all.yaml"
  printf 'sortOptions: {order: legacy}\nresources: [all.yaml]\n' >"$folder/kustomization.yaml"
  kubectl kustomize "$folder"
}

# Compares an overlay with what the charts give for the same wish (standard input).
same() {
  kubectl kustomize "manifests/overlays/$1" | sorted >"$made/overlay"
  sorted >"$made/charts"
  diff --unified "$made/overlay" "$made/charts" >&2 || stale+=("manifests/overlays/$1")
}

only() { echo "runtimes.cpu.enabled=false,runtimes.$1.enabled=true"; }

model | put base/model.yaml
runtime | put overlays/cpu/runtime.yaml
runtime --set "$(only gpu),runtimes.gpu.image.tag=latest" | put overlays/gpu/runtime.yaml
runtime --set "$(only knative)" | put overlays/knative/runtime.yaml
runtime --set scope=Namespace | put overlays/namespaced/runtime.yaml
{
  model --set serviceMonitor.enabled=true --show-only templates/servicemonitor.yaml
  runtime --set rules.enabled=true,dashboards.enabled=true \
    --show-only templates/prometheusrule.yaml --show-only templates/dashboards.yaml
} | put overlays/monitoring/monitoring.yaml

if [[ -n $check ]]; then
  { runtime; echo ---; model; } | same cpu
  {
    cat manifests/overlays/gpu/runtime.yaml
    echo ---
    model --set "$GPU" --set-string "$GPU_TEXT" --set "${GPU_JSON[0]}" --set-json "${GPU_JSON[1]}"
  } | same gpu
  { cat manifests/overlays/knative/runtime.yaml; echo ---; model --set "$KNATIVE"; } | same knative
  if ((${#stale[@]})); then
    fail "not what the charts render: ${stale[*]}; run hack/manifests.sh, then mend the patches"
  fi
fi
