{{- define "embedding-runtime.fullname" -}}
{{- $name := .Release.Name -}}
{{- if not (contains .Chart.Name $name) }}{{ $name = printf "%s-%s" $name .Chart.Name }}{{ end -}}
{{ .Values.fullnameOverride | default $name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "embedding-runtime.labels" -}}
app.kubernetes.io/name: embedding-runtime
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: predictor
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Not empty if the release makes the policy of files/policies, which is cluster-wide. */}}
{{- define "embedding-runtime.makesCanaryPolicy" -}}
{{- if and .Values.canaryPolicy.enabled (eq .Values.scope "Cluster") }}true{{ end }}
{{- end }}

{{/* With the namespace: releases of one name in two namespaces have a policy each. */}}
{{- define "embedding-runtime.canaryPolicy" -}}
{{ include "embedding-runtime.fullname" . }}-{{ .Release.Namespace }}-canaries
{{- end }}

{{/* Takes root, image (repository, tag, digest may be empty) and the suffix of the default tag. */}}
{{- define "embedding-runtime.image" -}}
{{- $repository := .image.repository | default .root.Values.image.repository -}}
{{- if not $repository }}
{{- include "embedding-runtime.noImage" .root | fail }}
{{- end }}
{{- if .image.digest -}}
{{ $repository }}@{{ .image.digest }}
{{- else -}}
{{ $repository }}:{{ .image.tag | default (print .root.Chart.AppVersion .suffix) }}
{{- end }}
{{- end }}

{{- define "embedding-runtime.noImage" }}
{{- if .Release.IsUpgrade }}

To keep that of the release: {{ include "embedding-runtime.upgrade" . }}
{{- end }}

image.repository is required: the charts bring no image of their own. Build it, push it, name it:
  docker build -t REGISTRY/predictor:{{ .Chart.AppVersion }} .
  docker push REGISTRY/predictor:{{ .Chart.AppVersion }}
  helm upgrade --install {{ .Release.Name }} charts/{{ .Chart.Name }} -n {{ .Release.Namespace }} --set image.repository=REGISTRY/predictor
{{ end }}

{{/* A ServingRuntime. Takes root, key (of .Values.runtimes), image and ports (name, port). */}}
{{- define "embedding-runtime.runtime" -}}
{{- $runtime := index .root.Values.runtimes .key -}}
{{- $server := .root.Values.server -}}
apiVersion: serving.kserve.io/v1alpha1
kind: {{ if eq .root.Values.scope "Cluster" }}ClusterServingRuntime{{ else }}ServingRuntime{{ end }}
metadata:
  name: {{ $runtime.name }}
  {{- if eq .root.Values.scope "Namespace" }}
  namespace: {{ .root.Release.Namespace }}
  {{- end }}
  labels:
    {{- include "embedding-runtime.labels" .root | nindent 4 }}
spec:
  # Models name their runtime; two that select themselves would be refused by KServe.
  supportedModelFormats:
    - {name: embedding, version: "1", autoSelect: false}
  protocolVersions: {{ .protocols | toJson }}
  multiModel: false
  {{- with .root.Values.imagePullSecrets }}
  imagePullSecrets: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- with $runtime.nodeSelector }}
  nodeSelector: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- with $runtime.tolerations }}
  tolerations: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- with $runtime.affinity }}
  affinity: {{ toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: kserve-container
      image: {{ .image }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      args:
        - serve
        # KServe puts the InferenceService's name in.
        - --model_name={{ "{{.Name}}" }}
        - --cache-dir=/cache
        - --log-format={{ $server.logFormat }}
        - --drain-delay-s={{ $server.drainDelaySeconds }}
        - --grace-period-s={{ $server.gracePeriodSeconds }}
        {{- range .args }}
        - {{ . | quote }}
        {{- end }}
        {{- range $runtime.args }}
        - {{ . | quote }}
        {{- end }}
      {{- with $runtime.env }}
      env: {{ toYaml . | nindent 8 }}
      {{- end }}
      ports: {{ toYaml .ports | nindent 8 }}
      # Ports open once the model reproduces its canonical vectors; a conversion takes its time.
      startupProbe:
        httpGet: {path: /v2/health/ready, port: 8080}
        periodSeconds: 2
        timeoutSeconds: 2
        failureThreshold: 300
      readinessProbe:
        httpGet: {path: /v2/health/ready, port: 8080}
        periodSeconds: 5
        timeoutSeconds: 2
        failureThreshold: 2
      livenessProbe:
        httpGet: {path: /v2/health/live, port: 8080}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      resources: {{ toYaml $runtime.resources | nindent 8 }}
      securityContext:
        runAsNonRoot: true
        readOnlyRootFilesystem: true
        allowPrivilegeEscalation: false
        capabilities: {drop: [ALL]}
        seccompProfile: {type: RuntimeDefault}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        - {name: cache, mountPath: /cache}
  volumes:
    - name: tmp
      emptyDir: {sizeLimit: {{ $server.tmpDir.sizeLimit }}}
    - name: cache
      emptyDir: {sizeLimit: {{ $server.cacheDir.sizeLimit }}}
{{- end }}
