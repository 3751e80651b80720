{{/* The text of a file of files/rules. Takes root, name, and given: what stands in it as $key. */}}
{{- define "embedding-runtime.ruleText" -}}
{{- $slo := .root.Values.rules.slo -}}
{{- $scope := "" -}}
{{- if eq .root.Values.scope "Namespace" }}{{ $scope = printf "namespace=%q," .root.Release.Namespace }}{{ end -}}
{{- /* As text formats say it: 1 and 1.0 are one bucket. */}}
{{- $bucket := printf "%s([.]0)?" (toString $slo.latencyBound | replace "." "[.]") -}}
{{- $given := merge (dict "scope" $scope "bucket" $bucket "bound" $slo.latencyBound
      "availability" $slo.availability "latency" $slo.latency "minimum" $slo.minimum) .given -}}
{{- $text := .root.Files.Get (printf "files/rules/%s.yaml" .name) -}}
{{- $text = $text | replace "$scope " (ternary (print $scope " ") "" (ne $scope "")) -}}
{{- range $key, $value := $given }}
{{- $text = replace (print "$" $key) (toString $value) $text }}
{{- end }}
{{- $text | replace ",}" "}" | replace "{}" "" }}
{{- end }}

{{/* A list of recording rules; takes what ruleText takes. */}}
{{- define "embedding-runtime.rules" -}}
{{ include "embedding-runtime.ruleText" . | fromYamlArray | toYaml }}
{{- end }}

{{/* The alerts that are switched on, as a list. */}}
{{- define "embedding-runtime.alerts" -}}
{{- $alerts := list -}}
{{- range $name := list "down" "errorsFast" "errorsSlow" "latencyFast" "latencySlow" "queue" "rejected"
      "restarts" "vectors" "unwatched" "drift" "cache" "failed" "worse" "rolledBack" "waiting" }}
{{- $rule := index $.Values.rules $name }}
{{- if $rule.enabled }}
{{- $given := pick $rule "threshold" "longThreshold" }}
{{- $alert := include "embedding-runtime.ruleText" (dict "root" $ "name" (kebabcase $name) "given" $given) | fromYaml }}
{{- $book := printf "%s#%s" $.Values.rules.runbook (lower $alert.alert) }}
{{- $alerts = append $alerts (merge $alert (dict "for" $rule.for "labels" (dict "severity" $rule.severity)
      "annotations" (dict "runbook_url" $book))) }}
{{- end }}
{{- end }}
{{- if $alerts }}{{ toYaml $alerts }}{{ end }}
{{- end }}
