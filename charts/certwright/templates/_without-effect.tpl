{{/* Which of cert-manager's values were given that certwright has no use for (yet), a line each. */}}
{{- define "certwright.withoutEffect" -}}
{{- $values := .Values -}}
{{- range list "cainjector" "config" "ingressShim" "maxConcurrentChallenges" "startupapicheck" "strategy" "webhook" }}
{{- if index $values . }}
  {{ . }}
{{- end }}
{{- end }}
{{- range list "leaderElection" "podSecurityPolicy" }}
{{- if index $values.global . }}
  global.{{ . }}
{{- end }}
{{- end }}
{{- if $values.acmesolver.runtimeClassName }}
  acmesolver.runtimeClassName
{{- end }}
{{- if gt (int $values.replicaCount) 1 }}
  replicaCount above 1
{{- end }}
{{- end }}
