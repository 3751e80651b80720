{{/* The InferenceService that lives, or an empty map; `helm template` sees none. */}}
{{- define "embedding-model.living" -}}
{{ lookup "serving.kserve.io/v1beta1" "InferenceService" .Release.Namespace (include "embedding-model.fullname" .) | toJson }}
{{- end }}

{{/* The stable predictor: {name, storageUri, image} in YAML. The values say it; with a controller, only
until the InferenceService is there: then it is the controller's, and stays as it lives. */}}
{{- define "embedding-model.stable" -}}
{{- $image := include "embedding-model.image" (dict "root" . "image" dict) -}}
{{- $stable := dict "name" .Values.predictor.name "storageUri" .Values.model.storageUri "image" $image -}}
{{- if eq .Values.rollout.mode "controller" -}}
{{- $predictor := dig "spec" "predictor" dict (include "embedding-model.living" . | fromJson) -}}
{{- with dig "model" "storageUri" "" $predictor -}}
{{- $stable = dict "name" ($predictor.name | default "") "storageUri" . "image" (dig "model" "image" "" $predictor) -}}
{{- end }}
{{- end }}
{{- $stable | toYaml }}
{{- end }}

{{/* The version that the controller shall bring in: {name, storageUri, image} in YAML. */}}
{{- define "embedding-model.target" -}}
{{- $image := include "embedding-model.image" (dict "root" . "image" dict) -}}
{{- $made := printf "%s %s" .Values.model.storageUri $image | sha256sum | trunc 8 | print "v" -}}
{{- dict "name" (.Values.rollout.target.name | default $made) "storageUri" .Values.model.storageUri "image" $image | toYaml }}
{{- end }}

{{- define "embedding-model.refuseController" -}}
{{- $name := include "embedding-model.fullname" . -}}
{{- $target := include "embedding-model.target" . | fromYaml -}}
{{- $canary := .Values.canary -}}
{{- if or $canary.name $canary.storageUri $canary.trafficPercent $canary.replicas $canary.image.repository $canary.image.tag $canary.image.digest $canary.allowSkippedStep }}
{{- fail "canary is for rollout.mode=helm: with controller, set model.storageUri to the new model, and the controller makes the canary. Empty all of canary" }}
{{- end }}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $target.name) }}
{{- printf "rollout.target.name %q is no name for KServe: small letters, digits and '-', a letter first, no '-' last" $target.name | fail }}
{{- end }}
{{- if gt (add (len $name) (len $target.name)) 47 }}
{{- printf "the name is too long: KServe makes the label \"isvc.%s-%s-predictor\" of it, and Kubernetes takes 63 characters. Set fullnameOverride or rollout.target.name to a shorter one" $name $target.name | fail }}
{{- end }}
{{- $before := -1 }}
{{- range .Values.rollout.steps }}
{{- if le (int .weight) $before }}
{{- printf "rollout.steps: the weights must rise, and %d comes after %d" (int .weight) $before | fail }}
{{- end }}
{{- $before = int .weight }}
{{- end }}
{{- if and (eq .Values.rollout.strategy "Compare") (eq $before 100) }}
{{- fail "rollout.strategy=Compare keeps both versions: the last of rollout.steps must have a weight below 100" }}
{{- end }}
{{- if include "embedding-model.byHeader" . }}
{{- if ne .Values.rollout.strategy "Compare" }}
{{- fail "rollout.compare: headers choose a version while two are compared; set rollout.strategy=Compare" }}
{{- end }}
{{- if eq .Values.deploymentMode "Knative" }}
{{- fail "rollout.compare: headers choose a version in Standard mode only" }}
{{- end }}
{{- if eq (lower .Values.rollout.compare.versionHeader) (lower .Values.rollout.compare.userHeader) }}
{{- fail "rollout.compare: versionHeader and userHeader must be two headers" }}
{{- end }}
{{- end }}
{{- if and .Values.rollout.shadow.enabled (not .Values.access.adminTokenSecret.name) }}
{{- fail "rollout.shadow.enabled: the controller tells the pods by their admin routes, so set access.adminTokenSecret, and rollout.adminTokenSecret of chart embedding-runtime to the same token" }}
{{- end }}
{{- $policy := .Values.networkPolicy }}
{{- if and $policy.enabled $policy.ingressFrom (not $policy.controllerFrom) }}
{{- fail "networkPolicy.ingressFrom keeps the rollout controller out, which compares vectors: name it in networkPolicy.controllerFrom" }}
{{- end }}
{{- end }}

{{/* Not empty if headers choose a version. */}}
{{- define "embedding-model.byHeader" -}}
{{- $rollout := .Values.rollout -}}
{{- if and (eq $rollout.mode "controller") (or $rollout.compare.versionHeader $rollout.compare.userHeader) }}true{{ end }}
{{- end }}

{{/* What only the cluster knows. */}}
{{- define "embedding-model.refuseHandover" -}}
{{- $living := include "embedding-model.living" . | fromJson -}}
{{- $name := include "embedding-model.fullname" . -}}
{{- $stable := include "embedding-model.stable" . | fromYaml -}}
{{- $target := include "embedding-model.target" . | fromYaml -}}
{{- $mode := dig "metadata" "annotations" "serving.kserve.io/deploymentMode" .Values.deploymentMode $living -}}
{{- if $living }}
{{- if ne $mode .Values.deploymentMode }}
{{- printf "deploymentMode cannot be changed from %s to %s: install a second release and move the clients" $mode .Values.deploymentMode | fail }}
{{- end }}
{{- if and (eq $target.name $stable.name) (or (ne $target.storageUri $stable.storageUri) (ne $target.image $stable.image)) }}
{{- printf "rollout.target.name %s is the name of the stable predictor, which serves %s with %s: a new version needs another name" $target.name $stable.storageUri $stable.image | fail }}
{{- end }}
{{- $canary := first (dig "spec" "canary" (list dict) $living) -}}
{{- $isTarget := and (eq (dig "predictor" "name" "" $canary) $target.name) (eq (dig "predictor" "model" "storageUri" "" $canary) $target.storageUri) }}
{{- if and (or $canary (hasKey $living.spec.predictor "canaryTrafficPercent")) (not $isTarget) }}
{{- if not (lookup "predictor.dev/v1alpha1" "EmbeddingRollout" .Release.Namespace $name) }}
{{- fail "the service has a canary that no controller created and that is not the target: promote it or roll it back with rollout.mode=helm, then hand over; or make it the target with rollout.target.name and model.storageUri" }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Name of a canary that a controller takes over from Helm, or from an EmbeddingRollout that was deleted.
It has to stay in the manifest while it lives: Helm removes what was in the manifest before and is not any
more. The EmbeddingRollout remembers it. */}}
{{- define "embedding-model.canaryOfHelm" -}}
{{- if and (eq .Values.rollout.mode "controller") (eq .Values.deploymentMode "Standard") -}}
{{- $living := include "embedding-model.living" . | fromJson -}}
{{- $canary := dig "predictor" "name" "" (first (dig "spec" "canary" (list dict) $living)) -}}
{{- if $canary -}}
{{- $rollout := lookup "predictor.dev/v1alpha1" "EmbeddingRollout" .Release.Namespace (include "embedding-model.fullname" .) -}}
{{- $known := dig "metadata" "annotations" "predictor.dev/canary-of-helm" "" $rollout -}}
{{- if or (not $rollout) (eq $canary $known) -}}
{{ $canary }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "embedding-model.controllerNotes" -}}
{{- $name := include "embedding-model.fullname" . -}}
{{- $kubectl := printf "kubectl -n %s" .Release.Namespace -}}
{{- $target := include "embedding-model.target" . | fromYaml -}}
EmbeddingRollout {{ $name }} wants {{ $target.storageUri }} as {{ $target.name }}; the controller of chart embedding-runtime rolls it out.
A new version is another model.storageUri or image:

  {{ include "embedding-model.upgrade" . }} --set model.storageUri=NEW_URI{{ if .Values.rollout.target.name }} --set rollout.target.name=NEW_NAME{{ end }}

How far it is, and why (phase, weight, step; the transitions have the figures):

  {{ $kubectl }} get er {{ $name }} -w
  {{ $kubectl }} describe er {{ $name }}

Wait for its end:

  {{ $kubectl }} wait --for=condition=Promoted --timeout=2h er/{{ $name }}

No further step for now, and on again:

  {{ $kubectl }} patch er {{ $name }} --type=merge -p '{"spec":{"paused":true}}'
  {{ $kubectl }} patch er {{ $name }} --type=merge -p '{"spec":{"paused":false}}'

Commands: continue after a pause; promote now; roll back; try a target that failed again:

{{- range list "resume" "promote" "abort" "retry" }}
  {{ $kubectl }} annotate er {{ $name }} --overwrite predictor.dev/action={{ . }}
{{- end }}

`helm rollback` may put an old model straight into the stable predictor: to go back, set the old model.storageUri.
{{- if not .Values.serviceMonitor.enabled }}

The controller queries Prometheus for the pods' metrics. serviceMonitor.enabled is false, so make sure that Prometheus
scrapes them with the label `deployment`.
{{- end }}
{{- end }}
