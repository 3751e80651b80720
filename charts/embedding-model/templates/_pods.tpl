{{/* Pods of the two versions. The stable version keeps those that it had before the canary until it is
promoted away, and the canary has its share of them: whoever has all of the traffic has all pods. */}}

{{/* Whether KServe keeps the number of pods: Standard mode without an autoscaler. */}}
{{- define "embedding-model.fixedPods" -}}
{{- if and (eq .Values.deploymentMode "Standard") (eq .Values.autoscaling.mode "none") }}true{{ end }}
{{- end }}

{{/* Pods of the stable version while there is a canary, or the least number of them without one. With an
autoscaler they are those that were ready when the canary was made, and its least number keeps them;
`helm template` sees no cluster and takes the least number. */}}
{{- define "embedding-model.stablePods" -}}
{{- $least := int .Values.autoscaling.minReplicas -}}
{{- $living := include "embedding-model.living" . | fromJson -}}
{{- $old := dig "spec" "canary" list $living -}}
{{- $wanted := and (eq .Values.rollout.mode "helm") .Values.canary.storageUri -}}
{{- if or (ne .Values.deploymentMode "Standard") (include "embedding-model.fixedPods" .) -}}
{{ $least }}
{{- else if $old -}}
{{ and (or $wanted (eq .Values.rollout.mode "controller")) (include "embedding-model.heldPods" . | int | max $least) | default $least }}
{{- else if and $wanted $living -}}
{{- $stable := include "embedding-model.deployment" (dict "root" . "name" (dig "spec" "predictor" "name" "" $living)) -}}
{{- $deployment := lookup "apps/v1" "Deployment" .Release.Namespace $stable -}}
{{ max $least (int (dig "status" "readyReplicas" 0 $deployment)) }}
{{- else -}}
{{ $least }}
{{- end }}
{{- end }}

{{/* The least number that the living autoscaler of the stable version has; 0 without one. */}}
{{- define "embedding-model.heldPods" -}}
{{- $name := printf "%s-autoscale" (include "embedding-model.fullname" .) -}}
{{- if eq .Values.autoscaling.mode "queue" -}}
{{ dig "spec" "minReplicaCount" 0 (lookup "keda.sh/v1alpha1" "ScaledObject" .Release.Namespace $name) | int }}
{{- else -}}
{{ dig "spec" "minReplicas" 0 (lookup "autoscaling/v2" "HorizontalPodAutoscaler" .Release.Namespace $name) | int }}
{{- end }}
{{- end }}

{{/* Pods of the canary: its share of the stable ones, and one at least. */}}
{{- define "embedding-model.canaryReplicas" -}}
{{- $stable := include "embedding-model.stablePods" . | int -}}
{{- $share := divf (mul $stable (int .Values.canary.trafficPercent)) 100 | ceil | int -}}
{{ int .Values.canary.replicas | default (max 1 $share) }}
{{- end }}

{{/* minReplicas and maxReplicas of the InferenceService, in YAML. KServe takes the pods of a ready canary
off the stable version's, so both numbers have them on top. With a controller they are its own while
there is a canary, and stay as they are. */}}
{{- define "embedding-model.replicas" -}}
{{- $scaling := .Values.autoscaling -}}
{{- $least := int $scaling.minReplicas -}}
{{- $most := int $scaling.maxReplicas -}}
{{- if include "embedding-model.fixedPods" . -}}
{{- $living := include "embedding-model.living" . | fromJson -}}
{{- $predictor := dig "spec" "predictor" dict $living -}}
{{- $most = $least -}}
{{- if and (eq .Values.rollout.mode "controller") (dig "spec" "canary" list $living) -}}
{{- $least = int ($predictor.minReplicas | default $least) -}}
{{- $most = int ($predictor.maxReplicas | default $least) -}}
{{- else if .Values.canary.storageUri -}}
{{- $least = add $least (include "embedding-model.canaryReplicas" . | int) -}}
{{- $most = $least -}}
{{- end }}
{{- end -}}
minReplicas: {{ $least }}
maxReplicas: {{ $most }}
{{- end }}

{{/* What an autoscaler of ours is made for: a list of {name, deployment, min} in YAML. */}}
{{- define "embedding-model.scaled" -}}
{{- $name := include "embedding-model.fullname" . -}}
- name: {{ $name }}-autoscale
  deployment: {{ include "embedding-model.deployment" (dict "root" . "name" (include "embedding-model.stable" . | fromYaml).name) }}
  min: {{ include "embedding-model.stablePods" . }}
{{- if .Values.canary.storageUri }}
- name: {{ $name }}-{{ .Values.canary.name }}-autoscale
  deployment: {{ include "embedding-model.deployment" (dict "root" . "name" .Values.canary.name) }}
  min: {{ include "embedding-model.canaryReplicas" . }}
{{- end }}
{{- end }}
