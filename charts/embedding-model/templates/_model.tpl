{{/* The model of a predictor. Stable and canary share it, so that a promotion changes no pod template
and starts no pod anew. Takes root, storageUri and image, a whole reference. */}}
{{- define "embedding-model.model" -}}
{{- $values := .root.Values -}}
modelFormat: {name: embedding, version: "1"}
runtime: {{ include "embedding-model.runtime" .root }}
protocolVersion: v2
storageUri: {{ .storageUri | quote }}
{{- with .image }}
image: {{ . }}
{{- end }}
imagePullPolicy: {{ $values.image.pullPolicy }}
# Why a container ended can be read without a right to its logs.
terminationMessagePolicy: FallbackToLogsOnError
args:
  {{- include "embedding-model.args" .root | trim | nindent 2 }}
{{- with include "embedding-model.env" .root | trim }}
env:
  {{- . | nindent 2 }}
{{- end }}
resources: {{ toYaml $values.resources | nindent 2 }}
startupProbe:
  httpGet: {path: /v2/health/ready, port: 8080}
  timeoutSeconds: 2
  {{- toYaml $values.probes.startup | nindent 2 }}
readinessProbe:
  httpGet: {path: /v2/health/ready, port: 8080}
  timeoutSeconds: 2
  {{- toYaml $values.probes.readiness | nindent 2 }}
livenessProbe:
  httpGet: {path: /v2/health/live, port: 8080}
  timeoutSeconds: 5
  {{- toYaml $values.probes.liveness | nindent 2 }}
{{- if and $values.server.preStopSleepSeconds (eq $values.deploymentMode "Standard") }}
lifecycle:
  preStop:
    sleep: {seconds: {{ $values.server.preStopSleepSeconds }}}
{{- end }}
{{- with include "embedding-model.mounts" .root | trim }}
volumeMounts:
  {{- . | nindent 2 }}
{{- end }}
{{- end }}

{{/* KServe puts them after the runtime's: the last of two flags counts. */}}
{{- define "embedding-model.args" -}}
{{- with .Values.model.servedName }}
- {{ print "--model_name=" . | quote }}
{{- end }}
{{- range .Values.model.aliases }}
- {{ print "--model-alias=" . | quote }}
{{- end }}
- --variant={{ .Values.model.variant }}
{{- if ne (.Values.model.normalize | default "unit") "unit" }}
- --normalize={{ .Values.model.normalize }}
{{- end }}
{{- range $name, $text := .Values.model.prompts }}
- {{ printf "--prompt=%s=%s" $name $text | quote }}
{{- end }}
{{- if eq (toString .Values.model.defaultPrompt) "false" }}
- --no-default-prompt
{{- end }}
- --cache-mb={{ .Values.cache.mb }}
- --drain-delay-s={{ .Values.server.drainDelaySeconds }}
- --grace-period-s={{ .Values.server.gracePeriodSeconds }}
{{- with include "embedding-model.threads" . }}
- --threads={{ . }}
{{- end }}
{{- with .Values.access.apiKeysSecret }}
{{- if .name }}
- --api-keys-file=/etc/predictor/keys/{{ .key }}
{{- end }}
{{- end }}
{{- with .Values.access.adminTokenSecret }}
{{- if .name }}
- --admin-token-file=/etc/predictor/admin/{{ .key }}
{{- end }}
{{- end }}
{{- range .Values.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end }}

{{- define "embedding-model.env" -}}
{{- $redis := .Values.cache.redis -}}
{{- if $redis.urlSecret.name }}
- name: PREDICTOR_CACHE_REDIS_URL
  valueFrom: {secretKeyRef: {name: {{ $redis.urlSecret.name }}, key: {{ $redis.urlSecret.key }}}}
{{- else if $redis.deploy.enabled }}
- name: PREDICTOR_CACHE_REDIS_URL
  value: redis://{{ include "embedding-model.fullname" . }}-cache:6379
{{- else if $redis.url }}
- name: PREDICTOR_CACHE_REDIS_URL
  value: {{ $redis.url | quote }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Secrets as directories: what is mounted with subPath never changes. */}}
{{- define "embedding-model.mounts" -}}
{{- if .Values.access.apiKeysSecret.name }}
- {name: api-keys, mountPath: /etc/predictor/keys, readOnly: true}
{{- end }}
{{- if .Values.access.adminTokenSecret.name }}
- {name: admin-token, mountPath: /etc/predictor/admin, readOnly: true}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "embedding-model.volumes" -}}
{{- with .Values.access.apiKeysSecret.name }}
- name: api-keys
  secret: {secretName: {{ . }}}
{{- end }}
{{- with .Values.access.adminTokenSecret.name }}
- name: admin-token
  secret: {secretName: {{ . }}}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}
