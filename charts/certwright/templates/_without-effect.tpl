{{/* Which of cert-manager's values were given that certwright has no use for (yet), a line each. */}}
{{- define "certwright.withoutEffect" -}}
{{- $values := .Values -}}
{{- if omit $values.cainjector "enabled" }}
  cainjector, but for its enabled
{{- end }}
{{- range list "ingressShim" "prometheus" "serviceAnnotations" "serviceIPFamilies" "serviceIPFamilyPolicy" "serviceLabels" "startupapicheck" "webhook" }}
{{- if index $values . }}
  {{ . }}
{{- end }}
{{- end }}
{{- if $values.global.podSecurityPolicy }}
  global.podSecurityPolicy
{{- end }}
{{- end }}
