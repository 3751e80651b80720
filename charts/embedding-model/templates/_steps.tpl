{{/* Order of a rollout. In one step a promotion or rollback costs a dozen 500s, because KServe deletes
a Service before the gateway has the new route; through weight 100 or 0 it costs none. The living
InferenceService says where we are; `helm template` sees none, and nothing is refused. */}}
{{- define "embedding-model.refuseSkippedStep" -}}
{{- $skipped := include "embedding-model.skippedStep" . | trim -}}
{{- if and $skipped (not .Values.canary.allowSkippedStep) }}
{{- printf "%s\nOr let it pass with --set canary.allowSkippedStep=true." $skipped | fail }}
{{- end }}
{{- end }}

{{/* The step that is skipped, in words, or nothing. */}}
{{- define "embedding-model.skippedStep" -}}
{{- $living := lookup "serving.kserve.io/v1beta1" "InferenceService" .Release.Namespace (include "embedding-model.fullname" .) -}}
{{- $mode := dig "metadata" "annotations" "serving.kserve.io/deploymentMode" .Values.deploymentMode $living -}}
{{- $given := dict "root" . "living" $living -}}
{{- if not $living }}
{{- else if ne $mode .Values.deploymentMode }}
deploymentMode cannot be changed from {{ $mode }} to {{ .Values.deploymentMode }}: install a second release and move the clients.
{{- else if eq $mode "Knative" }}
{{- include "embedding-model.skippedKnative" $given }}
{{- else }}
{{- include "embedding-model.skippedStandard" $given }}
{{- end }}
{{- end }}

{{/* After the steps: a service that a controller has moved is taken over with one command, which empties it. */}}
{{- define "embedding-model.refuseTarget" -}}
{{- if .Values.rollout.target.name }}
{{- fail "rollout.target.name is for rollout.mode=controller: with helm, canary.name names the new version" }}
{{- end }}
{{- end }}

{{- define "embedding-model.skippedStandard" -}}
{{- $values := .root.Values -}}
{{- $old := first (dig "spec" "canary" (list dict) .living) -}}
{{- $canary := dig "predictor" "name" "" $old -}}
{{- $weight := int (dig "trafficPercent" 0 $old) -}}
{{- $stable := dig "spec" "predictor" "name" "" .living -}}
{{- $stays := and $canary (eq $canary $values.canary.name) -}}
{{- if and $canary (not $stays) (eq $canary $values.predictor.name) }}
{{- include "embedding-model.skippedPromotion" (dict "root" .root "living" .living "old" $old) }}
{{- else if and (ne $stable $values.predictor.name) (eq (include "embedding-model.isControllers" .root) "true") }}
{{- include "embedding-model.takeOver" (dict "root" .root "living" .living "old" $old) }}
{{- else if and $canary (not $stays) (eq (include "embedding-model.isControllers" .root) "true") }}
{{- include "embedding-model.takeOver" (dict "root" .root "living" .living "old" $old) }}
{{- else if ne $stable $values.predictor.name }}
predictor.name would change from {{ $stable | quote }} to {{ $values.predictor.name | quote }} and there is no canary of that name at 100 %: the old pods would go before the new ones are there.
Make it a canary first: {{ include "embedding-model.upgrade" .root }} --set predictor.name={{ $stable }} --set canary.name={{ $values.predictor.name }} --set canary.storageUri=...
{{- else if and $canary (not $stays) (gt $weight 0) }}
canary {{ $canary }} still has {{ $weight }} % of the traffic; removed in one step, it would take requests with it. First:
  {{ include "embedding-model.upgrade" .root }} --set canary.name={{ $canary }} --set canary.storageUri={{ dig "predictor" "model" "storageUri" "" $old }} --set canary.trafficPercent=0
{{- else if and $stays (gt (int $values.canary.trafficPercent) $weight) }}
{{- include "embedding-model.tooFewReady" (dict "root" .root) }}
{{- end }}
{{- end }}

{{/* Whether the service is a controller's now. */}}
{{- define "embedding-model.isControllers" -}}
{{- $rollout := lookup "predictor.dev/v1alpha1" "EmbeddingRollout" .Release.Namespace (include "embedding-model.fullname" .) -}}
{{- if $rollout }}true{{ end }}
{{- end }}

{{/* What the controller has made of the service, as values, so that nothing is undone. */}}
{{- define "embedding-model.takeOver" -}}
{{- $predictor := .living.spec.predictor -}}
{{- $image := dig "model" "image" "" $predictor -}}
the rollout controller has changed the service; rollout.mode=helm takes it over as it is with:
  {{ include "embedding-model.upgrade" .root }} --set rollout.mode=helm{{ with .root.Values.rollout.target.name }} --set rollout.target.name={{ "" }}{{ end }} --set predictor.name={{ $predictor.name | default "" }} --set model.storageUri={{ dig "model" "storageUri" "" $predictor }}
{{- if ne $image (include "embedding-model.image" (dict "root" .root "image" dict)) }} --set {{ include "embedding-model.imageValues" $image }}{{ end }}
{{- with .old.predictor }} --set canary.name={{ .name }} --set canary.storageUri={{ .model.storageUri }} --set canary.trafficPercent={{ $.old.trafficPercent }} --set canary.replicas={{ .minReplicas | default 0 }}
{{- if ne (dig "model" "image" "" .) $image }} --set {{ include "embedding-model.imageValues" (dig "model" "image" "" .) | replace "image." "canary.image." }}{{ end }}
{{- end }}
{{- end }}

{{/* An image as values of `image`. */}}
{{- define "embedding-model.imageValues" -}}
{{- if contains "@" . -}}
image.repository={{ splitList "@" . | first }},image.digest={{ splitList "@" . | last }}
{{- else -}}
image.repository={{ regexReplaceAll ":[^:/]*$" . "" }},image.tag={{ splitList ":" . | last }},image.digest=
{{- end }}
{{- end }}

{{/* Promotion: the canary has all of the traffic, is ready, and becomes stable as it is. */}}
{{- define "embedding-model.skippedPromotion" -}}
{{- $name := dig "predictor" "name" "" .old -}}
{{- $uri := dig "predictor" "model" "storageUri" "" .old -}}
{{- $weight := int (dig "trafficPercent" 0 .old) -}}
{{- $image := dig "predictor" "model" "image" "" .old -}}
{{- $ready := true -}}
{{- range dig "status" "canaryStatuses" list .living }}
{{- if and (eq .name $name) (not .ready) }}{{ $ready = false }}{{ end }}
{{- end }}
{{- if lt $weight 100 }}
canary {{ $name }} has {{ $weight }} % of the traffic; promoted in one step, requests to the stable pods would be lost. First:
  {{ include "embedding-model.upgrade" .root }} --set predictor.name={{ dig "spec" "predictor" "name" "" .living }} --set canary.name={{ $name }} --set canary.storageUri={{ $uri }} --set canary.trafficPercent=100
{{- else if ne $uri .root.Values.model.storageUri }}
model.storageUri is not that of canary {{ $name }}: its pods would all be replaced. Promote with --set model.storageUri={{ $uri }}
{{- else if ne $image (include "embedding-model.image" (dict "root" .root "image" dict)) }}
image is not that of canary {{ $name }}: its pods would all be replaced. Promote with the values of `image` that give {{ $image }}
{{- else if not $ready }}
canary {{ $name }} is not ready: all traffic would go to pods that do not answer. See kubectl -n {{ .root.Release.Namespace }} describe inferenceservice {{ include "embedding-model.fullname" .root }}
{{- end }}
{{- end }}

{{/* A weight rises only when the canary has pods for it. */}}
{{- define "embedding-model.tooFewReady" -}}
{{- $namespace := .root.Release.Namespace -}}
{{- $percent := int .root.Values.canary.trafficPercent -}}
{{- $name := .root.Values.canary.name -}}
{{- $deployment := include "embedding-model.deployment" (dict "root" .root "name" $name) -}}
{{- $pods := include "embedding-model.stablePods" .root | int -}}
{{- $ready := int (dig "status" "readyReplicas" 0 (lookup "apps/v1" "Deployment" $namespace $deployment)) -}}
{{- $wanted := max 1 (divf (mul $pods $percent) 100 | ceil | int) -}}
{{- if lt $ready $wanted }}
canary.trafficPercent={{ $percent }} wants {{ $wanted }} ready pods of canary {{ $name }} (the stable predictor keeps {{ $pods }}); it has {{ $ready }}. First, at the weight of now:
  {{ include "embedding-model.upgrade" .root }} --set canary.replicas={{ $wanted }}
  kubectl -n {{ $namespace }} rollout status deployment/{{ $deployment }}
{{- end }}
{{- end }}
