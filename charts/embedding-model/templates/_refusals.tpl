{{/* What no schema can say: values that do not fit together, and what KServe would silently ignore. */}}
{{- define "embedding-model.refusals" -}}
{{- include "embedding-model.refuseMissing" . }}
{{- if eq .Values.rollout.mode "controller" }}
{{- include "embedding-model.refuseController" . }}
{{- end }}
{{- include "embedding-model.refuseNames" . }}
{{- if eq .Values.deploymentMode "Knative" }}
{{- include "embedding-model.refuseKnative" . }}
{{- else }}
{{- include "embedding-model.refuseStandard" . }}
{{- end }}
{{- include "embedding-model.refuseRest" . }}
{{- end }}

{{- define "embedding-model.refuseMissing" -}}
{{- if not (and .Values.image.repository .Values.model.storageUri) }}
{{- include "embedding-model.missing" . | fail }}
{{- end }}
{{- range list .Values.model.storageUri .Values.canary.storageUri }}
{{- if and . (not (regexMatch "^[a-z][a-z0-9+]*://." .)) }}
{{- printf "%q is no storageUri: it begins with a scheme, such as pvc://CLAIM/PATH, s3://BUCKET/PATH or hf://OWNER/NAME" . | fail }}
{{- end }}
{{- end }}
{{- end }}

{{- define "embedding-model.missing" }}
{{- if .Release.IsUpgrade }}

To keep those of the release: {{ include "embedding-model.upgrade" . }}
{{- end }}

image.repository and model.storageUri are required. Build the image, push it, and name both:
  docker build -t REGISTRY/predictor:{{ .Chart.AppVersion }} .
  docker push REGISTRY/predictor:{{ .Chart.AppVersion }}
  helm upgrade --install {{ .Release.Name }} charts/{{ .Chart.Name }} -n {{ .Release.Namespace }} \
    --set image.repository={{ .Values.image.repository | default "REGISTRY/predictor" }} \
    --set model.storageUri={{ .Values.model.storageUri | default "pvc://CLAIM/PATH" }}
{{ end }}

{{- define "embedding-model.refuseNames" -}}
{{- $name := include "embedding-model.fullname" . -}}
{{- range list $name .Values.predictor.name .Values.canary.name }}
{{- if and . (not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" .)) }}
{{- printf "%q is no name for KServe: small letters, digits and '-', a letter first, no '-' last" . | fail }}
{{- end }}
{{- end }}
{{- range list .Values.predictor.name .Values.canary.name }}
{{- $label := printf "isvc.%s" (include "embedding-model.deployment" (dict "root" $ "name" .)) }}
{{- if gt (len $label) 63 }}
{{- printf "the name is too long: KServe makes the label %q of it, %d characters, and Kubernetes takes 63. Set fullnameOverride to a shorter one" $label (len $label) | fail }}
{{- end }}
{{- end }}
{{- $host := printf "%s-predictor-%s" $name .Release.Namespace }}
{{- if gt (len $host) 63 }}
{{- printf "the name is too long: KServe makes the host name %q of it, %d characters, and DNS takes 63. Set fullnameOverride to a shorter one" $host (len $host) | fail }}
{{- end }}
{{- end }}

{{- define "embedding-model.refuseStandard" -}}
{{- $canary := .Values.canary -}}
{{- $scaling := .Values.autoscaling -}}
{{- if lt (int $scaling.minReplicas) 1 }}
{{- fail "autoscaling.minReplicas=0 is for Knative mode: in Standard mode nothing would start pods again" }}
{{- end }}
{{- if $canary.storageUri }}
{{- if not $canary.name }}
{{- fail "canary.name is required in Standard mode, such as v2: its Deployment and, after the promotion, predictor.name are called so" }}
{{- end }}
{{- if eq $canary.name .Values.predictor.name }}
{{- printf "canary.name %q is the stable predictor's name: choose another, such as the model's version" $canary.name | fail }}
{{- end }}
{{- if eq $canary.storageUri .Values.model.storageUri }}
{{- fail "canary.storageUri is the stable model's: KServe would refuse the promotion. Give each version a storageUri of its own" }}
{{- end }}
{{- else if or $canary.name $canary.trafficPercent }}
{{- fail "canary.name or canary.trafficPercent is set and canary.storageUri is not: a canary needs a model. To remove the canary, empty all three" }}
{{- end }}
{{- if and (eq $scaling.mode "queue") (not $scaling.queue.serverAddress) }}
{{- fail "autoscaling.mode=queue needs autoscaling.queue.serverAddress, the URL of Prometheus, such as http://prometheus-operated.monitoring:9090" }}
{{- end }}
{{- end }}

{{- define "embedding-model.refuseRest" -}}
{{- $scaling := .Values.autoscaling -}}
{{- $fixed := and (eq $scaling.mode "none") (eq .Values.deploymentMode "Standard") -}}
{{- if and (not $fixed) (lt (int $scaling.maxReplicas) (int $scaling.minReplicas)) }}
{{- printf "autoscaling.maxReplicas (%d) is below autoscaling.minReplicas (%d)" (int $scaling.maxReplicas) (int $scaling.minReplicas) | fail }}
{{- end }}
{{- $budget := .Values.podDisruptionBudget }}
{{- if and (ne (toString $budget.minAvailable) "") (ne (toString $budget.maxUnavailable) "") }}
{{- fail "podDisruptionBudget.minAvailable and maxUnavailable are both set: Kubernetes takes one of them" }}
{{- end }}
{{- if and .Values.storage.secretName (not .Values.serviceAccount.create) }}
{{- fail "storage.secretName goes on the ServiceAccount that the chart makes; with serviceAccount.create=false, name the Secret in the `secrets` of your own" }}
{{- end }}
{{- $redis := .Values.cache.redis }}
{{- if gt (len (compact (list $redis.url $redis.urlSecret.name (ternary "deploy" "" $redis.deploy.enabled)))) 1 }}
{{- fail "more than one Redis: set one of cache.redis.url, cache.redis.urlSecret.name and cache.redis.deploy.enabled" }}
{{- end }}
{{- if and $redis.deploy.enabled (not $redis.deploy.image) }}
{{- fail "cache.redis.deploy.image is required: the chart brings no third-party image. Name a Redis or Valkey that you trust" }}
{{- end }}
{{- if and .Values.gateway.enabled .Values.gateway.apiKeys.enabled (not .Values.gateway.apiKeys.secretName) }}
{{- fail "gateway.apiKeys.secretName is required: a Secret with a client a key and its API key as the value" }}
{{- end }}
{{- include "embedding-model.refusePolicy" . }}
{{- range .Values.extraEnv }}
{{- if eq .name "PYTHONPATH" }}
{{- fail "extraEnv: KServe refuses PYTHONPATH, which could replace the server's code; put modules into the image" }}
{{- end }}
{{- end }}
{{- end }}

{{/* A NetworkPolicy that cuts off what other values ask for. */}}
{{- define "embedding-model.refusePolicy" -}}
{{- $policy := .Values.networkPolicy -}}
{{- if $policy.enabled }}
{{- range compact (list .Values.model.storageUri .Values.canary.storageUri) }}
{{- if not (or (regexMatch "^(pvc|oci|file)" .) $policy.egress.storage $policy.extraEgress) }}
{{- printf "networkPolicy is enabled and egress.storage is empty: the container that fetches %s could not reach its storage" . | fail }}
{{- end }}
{{- end }}
{{- if and .Values.serviceMonitor.enabled $policy.ingressFrom (not $policy.metricsFrom) }}
{{- fail "networkPolicy.ingressFrom keeps Prometheus out, and serviceMonitor is enabled: name Prometheus in networkPolicy.metricsFrom" }}
{{- end }}
{{- end }}
{{- end }}
