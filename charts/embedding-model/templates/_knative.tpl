{{/* What only Knative mode has: one port, a queue-proxy beside the server, readiness of its own. */}}
{{- define "embedding-model.refuseKnative" -}}
{{- if or .Values.predictor.name .Values.canary.name }}
{{- fail "predictor.name and canary.name are for deploymentMode Standard (spec.canary); Knative mode has revisions: set canary.storageUri and canary.trafficPercent only" }}
{{- end }}
{{- if and .Values.canary.trafficPercent (not .Values.canary.storageUri) }}
{{- fail "canary.trafficPercent is set and canary.storageUri is not: a canary needs a model" }}
{{- end }}
{{- if .Values.canary.replicas }}
{{- fail "canary.replicas is for deploymentMode Standard: Knative scales each revision itself" }}
{{- end }}
{{- if ne .Values.autoscaling.mode "none" }}
{{- printf "autoscaling.mode=%s is for deploymentMode Standard: Knative scales itself, by autoscaling.knative between minReplicas and maxReplicas" .Values.autoscaling.mode | fail }}
{{- end }}
{{- if .Values.gateway.enabled }}
{{- fail "gateway is for deploymentMode Standard: its policies attach to HTTPRoutes of KServe, which Knative mode has not" }}
{{- end }}
{{- include "embedding-model.refuseTwoPorts" . }}
{{- include "embedding-model.refuseKnativePolicy" . }}
{{- end }}

{{/* Knative admits one container port; it says so only in a condition of its own objects. */}}
{{- define "embedding-model.refuseTwoPorts" -}}
{{- range .Values.extraArgs }}
{{- if and (regexMatch "^--enable[-_]grpc(=|$)" .) (not (regexMatch "=(false|False|0|no)$" .)) }}
{{- printf "extraArgs: %s needs a second port, and Knative takes one, which serves REST: gRPC needs deploymentMode Standard" . | fail }}
{{- end }}
{{- end }}
{{- $name := include "embedding-model.runtime" . -}}
{{- $runtime := lookup "serving.kserve.io/v1alpha1" "ServingRuntime" .Release.Namespace $name -}}
{{- if not $runtime }}
{{- $runtime = lookup "serving.kserve.io/v1alpha1" "ClusterServingRuntime" "" $name -}}
{{- end }}
{{- $ports := 0 }}
{{- range dig "spec" "containers" list $runtime }}
{{- $ports = add $ports (len (.ports | default list)) }}
{{- end }}
{{- /* By its name, where the cluster is not asked or does not have it yet. */}}
{{- if or (gt (int $ports) 1) (and (not $runtime) (has $name (list "embedding-cpu" "embedding-gpu"))) }}
{{- printf "runtime.name=%s: the runtime has two ports, and Knative takes one, which serves REST. Use embedding-knative (runtimes.knative.enabled of chart embedding-runtime); gRPC needs deploymentMode Standard" $name | fail }}
{{- end }}
{{- end }}

{{/* A NetworkPolicy that cuts off what goes past the queue-proxy, or to Knative's gateway. */}}
{{- define "embedding-model.refuseKnativePolicy" -}}
{{- $policy := .Values.networkPolicy -}}
{{- if $policy.enabled }}
{{- if and .Values.serviceMonitor.enabled (not $policy.metricsFrom) }}
{{- fail "networkPolicy keeps Prometheus out, which in Knative mode scrapes the server's own port, and serviceMonitor is enabled: name Prometheus in networkPolicy.metricsFrom" }}
{{- end }}
{{- if and (eq .Values.rollout.mode "controller") .Values.rollout.shadow.enabled }}
{{- if not $policy.controllerFrom }}
{{- fail "networkPolicy keeps the rollout controller from the pods' admin routes, and rollout.shadow is enabled: name it in networkPolicy.controllerFrom" }}
{{- end }}
{{- if not $policy.extraEgress }}
{{- fail "networkPolicy keeps the stable pods from Knative's local gateway, through which they reach the canary, and rollout.shadow is enabled: name the gateway in networkPolicy.extraEgress" }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "embedding-model.knativeService" -}}
{{ include "embedding-model.fullname" . }}-predictor
{{- end }}

{{/* Waits for the Knative Service: KServe writes its generation into the InferenceService's status,
so that `kubectl wait` on the InferenceService may wait for ever. */}}
{{- define "embedding-model.waitForKnative" -}}
kubectl -n {{ .Release.Namespace }} wait --for=condition=Ready --timeout=10m ksvc/{{ include "embedding-model.knativeService" . }}
{{- end }}

{{/* Waits until KServe has put a model into the Knative Service; before, that is ready with the old
one. Takes root and storageUri. */}}
{{- define "embedding-model.waitForModel" -}}
kubectl -n {{ .root.Release.Namespace }} wait --timeout=1m ksvc/{{ include "embedding-model.knativeService" .root }} --for=jsonpath='{.spec.template.metadata.annotations.internal\.serving\.kserve\.io/storage-initializer-sourceuri}'={{ .storageUri }}
{{- end }}

{{/* Steps that send traffic to the wrong revision. */}}
{{- define "embedding-model.skippedKnative" -}}
{{- $values := .root.Values -}}
{{- $old := dig "spec" "predictor" "model" "storageUri" "" .living -}}
{{- if and (hasKey .living.spec.predictor "canaryTrafficPercent") (not $values.canary.storageUri) }}
{{- if ne $old $values.model.storageUri }}
the model would change and the canary's percent go in one step: all traffic would go to {{ $old }} until the new revision is ready. First, at 0 %:
  {{ include "embedding-model.upgrade" .root }} --set canary.trafficPercent=0 --set canary.storageUri={{ $values.model.storageUri }}
{{- else }}
{{- include "embedding-model.notReadyKnative" (dict "root" .root "storageUri" $old) }}
{{- end }}
{{- end }}
{{- end }}

{{/* By the Knative Service, if it is there: its template has the model, and its revision is ready. */}}
{{- define "embedding-model.notReadyKnative" -}}
{{- $service := lookup "serving.knative.dev/v1" "Service" .root.Release.Namespace (include "embedding-model.knativeService" .root) -}}
{{- if $service }}
{{- $status := dig "status" dict $service -}}
{{- $model := dig "spec" "template" "metadata" "annotations" "internal.serving.kserve.io/storage-initializer-sourceuri" "" $service -}}
{{- $ready := "" -}}
{{- range dig "conditions" list $status }}
{{- if eq .type "ConfigurationsReady" }}{{ $ready = .status }}{{ end }}
{{- end }}
{{- $observed := eq (int (dig "observedGeneration" 0 $status)) (int $service.metadata.generation) -}}
{{- if not (and (eq $model .storageUri) $observed (eq $ready "True")) }}
the revision that serves {{ .storageUri }} is not ready: all traffic would go to {{ dig "latestReadyRevisionName" "the one before" $status }}. Wait for it:
  {{ include "embedding-model.waitForModel" . }}
  {{ include "embedding-model.waitForKnative" .root }}
{{- end }}
{{- end }}
{{- end }}

{{/* Threads of the engine, or nothing: then the server takes as many as its CPU limit allows. */}}
{{- define "embedding-model.threads" -}}
{{- $threads := int .Values.server.threads -}}
{{- $limit := dig "limits" "cpu" "" .Values.resources | toString -}}
{{- if gt $threads 0 -}}
{{ $threads }}
{{- else if and $limit (eq .Values.deploymentMode "Knative") -}}
{{- $cpus := hasSuffix "m" $limit | ternary (divf (trimSuffix "m" $limit | float64) 1000) (float64 $limit) | ceil | int -}}
{{ max 1 (sub $cpus 1) }}
{{- end }}
{{- end }}
