{{/* Which of cert-manager's values were given that certwright has no use for (yet), a line each. */}}
{{- define "certwright.withoutEffect" -}}
{{- $values := .Values -}}
{{- range list "cainjector" "ingressShim" "prometheus" "serviceAnnotations" "serviceIPFamilies" "serviceIPFamilyPolicy" "serviceLabels" "startupapicheck" "webhook" }}
{{- if index $values . }}
  {{ . }}
{{- end }}
{{- end }}
{{- if $values.global.podSecurityPolicy }}
  global.podSecurityPolicy
{{- end }}
{{- end }}
