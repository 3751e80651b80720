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

{{- define "embedding-model.skippedStandard" -}}
{{- $values := .root.Values -}}
{{- $old := first (dig "spec" "canary" (list dict) .living) -}}
{{- $canary := dig "predictor" "name" "" $old -}}
{{- $weight := int (dig "trafficPercent" 0 $old) -}}
{{- $stable := dig "spec" "predictor" "name" "" .living -}}
{{- $stays := and $canary (eq $canary $values.canary.name) -}}
{{- if and $canary (not $stays) (eq $canary $values.predictor.name) }}
{{- include "embedding-model.skippedPromotion" (dict "root" .root "living" .living "old" $old) }}
{{- else if ne $stable $values.predictor.name }}
predictor.name would change from {{ $stable | quote }} to {{ $values.predictor.name | quote }} and there is no canary of that name at 100 %: the old pods would go before the new ones are there.
Make it a canary first: {{ include "embedding-model.upgrade" .root }} --set predictor.name={{ $stable }} --set canary.name={{ $values.predictor.name }} --set canary.storageUri=...
{{- else if and $canary (not $stays) (gt $weight 0) }}
canary {{ $canary }} still has {{ $weight }} % of the traffic; removed in one step, it would take requests with it. First:
  {{ include "embedding-model.upgrade" .root }} --set canary.name={{ $canary }} --set canary.storageUri={{ dig "predictor" "model" "storageUri" "" $old }} --set canary.trafficPercent=0
{{- else if and $stays (gt (int $values.canary.trafficPercent) $weight) }}
{{- include "embedding-model.tooFewReady" (dict "root" .root "stable" $stable) }}
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
{{- $stable := include "embedding-model.deployment" (dict "root" .root "name" .stable) -}}
{{- $pods := int (dig "status" "readyReplicas" 0 (lookup "apps/v1" "Deployment" $namespace $stable)) -}}
{{- $ready := int (dig "status" "readyReplicas" 0 (lookup "apps/v1" "Deployment" $namespace $deployment)) -}}
{{- $wanted := max 1 (divf (mul $pods $percent) 100 | ceil | int) -}}
{{- if lt $ready $wanted }}
canary.trafficPercent={{ $percent }} wants {{ $wanted }} ready pods of canary {{ $name }} (the stable predictor has {{ $pods }}); it has {{ $ready }}. First, at the weight of now:
  {{ include "embedding-model.upgrade" .root }} --set canary.replicas={{ $wanted }}
  kubectl -n {{ $namespace }} rollout status deployment/{{ $deployment }}
{{- end }}
{{- end }}

{{- define "embedding-model.skippedKnative" -}}
{{- $values := .root.Values -}}
{{- $old := dig "spec" "predictor" "model" "storageUri" "" .living -}}
{{- $revisions := dig "status" "components" "predictor" dict .living -}}
{{- if and (hasKey .living.spec.predictor "canaryTrafficPercent") (not $values.canary.storageUri) }}
{{- if ne $old $values.model.storageUri }}
the model would change and the canary's percent go in one step: all traffic would go to {{ $old }} until the new revision is ready. First, at 0 %:
  {{ include "embedding-model.upgrade" .root }} --set canary.trafficPercent=0 --set canary.storageUri={{ $values.model.storageUri }}
{{- else if ne (dig "latestReadyRevision" "" $revisions) (dig "latestCreatedRevision" "" $revisions) }}
revision {{ $revisions.latestCreatedRevision }} is not ready: all traffic would go to {{ dig "latestReadyRevision" "the one before" $revisions }}. Wait for it:
  kubectl -n {{ .root.Release.Namespace }} wait --for=condition=Ready --timeout=10m inferenceservice/{{ include "embedding-model.fullname" .root }}
{{- end }}
{{- end }}
{{- end }}

{{- define "embedding-model.upgrade" -}}
helm upgrade {{ .Release.Name }} charts/{{ .Chart.Name }} -n {{ .Release.Namespace }} --reuse-values
{{- end }}
