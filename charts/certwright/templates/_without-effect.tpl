{{/* Which of cert-manager's values were given that certwright has no use for (yet), a line each. */}}
{{- define "certwright.withoutEffect" -}}
{{- $values := .Values -}}
{{- if omit $values.cainjector "enabled" }}
  cainjector, but for its enabled
{{- end }}
{{- if not $values.webhook.enabled }}
{{- if omit $values.webhook "enabled" }}
  webhook, unless webhook.enabled
{{- end }}
{{- else }}
{{- range keys $values.webhook | sortAlpha }}
{{- if not (has . (include "certwright.webhookValues" $ | splitList " ")) }}
  webhook.{{ . }}
{{- end }}
{{- end }}
{{- end }}
{{- if $values.startupapicheck }}
  startupapicheck
{{- end }}
{{- if $values.global.podSecurityPolicy }}
  global.podSecurityPolicy
{{- end }}
{{- end }}
