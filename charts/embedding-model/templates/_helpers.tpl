{{/* Name of the InferenceService. Never cut: a name that does not fit is refused. */}}
{{- define "embedding-model.fullname" -}}
{{ .Values.fullnameOverride | default .Release.Name }}
{{- end }}

{{- define "embedding-model.labels" -}}
{{ include "embedding-model.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: predictor
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Of pods that are ours (Redis): immutable, hence never more than this. */}}
{{- define "embedding-model.selectorLabels" -}}
app.kubernetes.io/name: {{ .Values.nameOverride | default .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* KServe's labels on the pods of stable and canary, and on their Services. For selectors only: KServe
deletes Deployments and Services that carry them and are not its own. */}}
{{- define "embedding-model.kserveLabels" -}}
serving.kserve.io/inferenceservice: {{ include "embedding-model.fullname" . }}
component: predictor
{{- end }}

{{/* KServe's name of the Deployment and Service. Takes root and name, a predictor's. */}}
{{- define "embedding-model.deployment" -}}
{{ include "embedding-model.fullname" .root }}{{ with .name }}-{{ . }}{{ end }}-predictor
{{- end }}

{{- define "embedding-model.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "embedding-model.fullname" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end }}
{{- end }}

{{/* Takes root and image, whose empty fields come from .Values.image. A digest beats a tag. */}}
{{- define "embedding-model.image" -}}
{{- $own := .root.Values.image -}}
{{- $repository := .image.repository | default $own.repository -}}
{{- if .image.digest -}}
{{ $repository }}@{{ .image.digest }}
{{- else if .image.tag -}}
{{ $repository }}:{{ .image.tag }}
{{- else if $own.digest -}}
{{ $repository }}@{{ $own.digest }}
{{- else -}}
{{ $repository }}:{{ $own.tag | default .root.Chart.AppVersion }}
{{- end }}
{{- end }}

{{- define "embedding-model.runtime" -}}
{{ .Values.runtime.name | default (eq .Values.deploymentMode "Knative" | ternary "embedding-knative" "embedding-cpu") }}
{{- end }}

{{/* Security of the containers that are ours: Redis and the smoke test. */}}
{{- define "embedding-model.containerSecurity" -}}
runAsNonRoot: true
readOnlyRootFilesystem: true
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* KServe's HTTPRoutes: both, or the host of the second would be a way around the policy. */}}
{{- define "embedding-model.routes" -}}
{{- $name := include "embedding-model.fullname" . -}}
- {group: gateway.networking.k8s.io, kind: HTTPRoute, name: {{ $name }}}
- {group: gateway.networking.k8s.io, kind: HTTPRoute, name: {{ $name }}-predictor}
{{- if include "embedding-model.byHeader" . }}
# The rollout controller's, while two versions are compared: no way round a policy.
- {group: gateway.networking.k8s.io, kind: HTTPRoute, name: {{ $name }}-compare}
{{- end }}
{{- end }}
