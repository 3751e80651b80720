{{/* What the pods will wait for, in words, or nothing. Not refused: it may come later. */}}
{{- define "embedding-model.absent" -}}
{{- $ns := .Release.Namespace -}}
{{- /* Every namespace has it; `helm template` sees nothing at all. */}}
{{- if lookup "v1" "ServiceAccount" $ns "default" -}}
{{- range compact (list .Values.model.storageUri .Values.canary.storageUri) }}
{{- $claim := regexFind "^pvc://[^/]+" . | trimPrefix "pvc://" }}
{{- if and $claim (not (lookup "v1" "PersistentVolumeClaim" $ns $claim)) }}
there is no PersistentVolumeClaim {{ $claim }} in namespace {{ $ns }}: the pods stay Pending until it is there.
{{- end }}
{{- end }}
{{- $secrets := list .Values.access.apiKeysSecret.name .Values.access.adminTokenSecret.name .Values.cache.redis.urlSecret.name .Values.storage.secretName .Values.smokeTest.apiKeySecret.name }}
{{- range compact (append $secrets .Values.gateway.apiKeys.secretName) }}
{{- if not (lookup "v1" "Secret" $ns .) }}
there is no Secret {{ . }} in namespace {{ $ns }}: what needs it does not start until it is there.
{{- end }}
{{- end }}
{{- end }}
{{- end }}
