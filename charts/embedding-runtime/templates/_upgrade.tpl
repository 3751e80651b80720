{{/* What an upgrade finds in the values of a release that an earlier chart made. */}}

{{/* The command of an upgrade: what the user has set, over the defaults of this chart. */}}
{{- define "embedding-runtime.upgrade" -}}
helm upgrade {{ .Release.Name }} charts/{{ .Chart.Name }} -n {{ .Release.Namespace }} --reset-then-reuse-values
{{- end }}

{{- define "embedding-runtime.refuseEarlierValues" -}}
{{- range .Files.Lines "files/sections.txt" | compact }}
{{- if not (include "embedding-runtime.valueAt" (dict "values" $.Values "path" .)) }}
{{- printf "the values have no %s: they are those of an earlier chart, kept whole by --reuse-values; keep only what you have set: %s" . (include "embedding-runtime.upgrade" $) | fail }}
{{- end }}
{{- end }}
{{- $sentences := list }}
{{- $flags := "" }}
{{- range $old, $new := include "embedding-runtime.renamed" . | fromYaml }}
{{- with include "embedding-runtime.valueAt" (dict "values" $.Values "path" $old) }}
{{- $sentences = append $sentences (printf "%s is now %s" $old $new) }}
{{- $flags = printf "%s --set %s=null" $flags $old }}
{{- /* A section has other keys now, and which of them are meant is the user's to say. */}}
{{- if not (hasPrefix "{" .) }}
{{- $flags = printf "%s --set %s=%s" $flags $new . }}
{{- end }}
{{- end }}
{{- end }}
{{- if $sentences }}
{{- printf "%s; run: %s%s" (join ", " $sentences) (include "embedding-runtime.upgrade" .) $flags | fail }}
{{- end }}
{{- end }}

{{/* Values that had another name, and the new one. The schema has the old ones as deprecated, so that
they get here. */}}
{{- define "embedding-runtime.renamed" -}}
rules.errors: rules.errorsFast and rules.errorsSlow (burn rates, not a share)
rules.latency: rules.latencyFast and rules.latencySlow (burn rates, not seconds)
server.drainDelay: server.drainDelaySeconds
server.gracePeriod: server.gracePeriodSeconds
{{- end }}

{{/* The value at a path such as rollout.mode, as JSON; nothing if there is none. Takes values and path. */}}
{{- define "embedding-runtime.valueAt" -}}
{{- $value := .values -}}
{{- range splitList "." .path -}}
{{- $value = get (kindIs "map" $value | ternary $value dict) . -}}
{{- end -}}
{{- /* Helm leaves a null that is set on a key that this chart does not have. */ -}}
{{- if not (or (kindIs "invalid" $value) (eq (toString $value) "")) }}{{ $value | toJson }}{{ end -}}
{{- end }}
