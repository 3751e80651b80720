{{/* The rollout controller. */}}
{{- define "embedding-runtime.rollout" -}}
{{ include "embedding-runtime.fullname" . | trunc 49 | trimSuffix "-" }}-rollout
{{- end }}

{{- define "embedding-runtime.rolloutLabels" -}}
{{ include "embedding-runtime.labels" . }}
app.kubernetes.io/component: rollout
{{- end }}

{{/* Immutable in a Deployment, hence never more than this. */}}
{{- define "embedding-runtime.rolloutSelector" -}}
app.kubernetes.io/name: embedding-runtime
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: rollout
{{- end }}

{{- define "embedding-runtime.rolloutAccount" -}}
{{- with .Values.rollout.serviceAccount -}}
{{ .create | ternary (.name | default (include "embedding-runtime.rollout" $)) .name }}
{{- end }}
{{- end }}

{{- define "embedding-runtime.refuseRollout" -}}
{{- $rollout := .Values.rollout -}}
{{- if not $rollout.prometheus.address }}
{{- fail "rollout.prometheus.address is required: the controller judges a canary by Prometheus; such as http://prometheus-operated.monitoring:9090" }}
{{- end }}
{{- if not (or $rollout.serviceAccount.create $rollout.serviceAccount.name) }}
{{- fail "rollout.serviceAccount.name is required with rollout.serviceAccount.create=false: the rights are not given to `default`, which every pod of the namespace may use" }}
{{- end }}
{{- end }}
