{{/* The optional webhook has the names of cert-manager's. */}}
{{- define "certwright.webhookName" -}}
{{ include "certwright.fullname" . | trunc 55 | trimSuffix "-" }}-webhook
{{- end }}

{{- define "certwright.webhookServiceAccountName" -}}
{{- $given := default dict .Values.webhook.serviceAccount -}}
{{- default (include "certwright.webhookName" .) $given.name -}}
{{- end }}

{{- define "certwright.webhookSelector" -}}
app.kubernetes.io/name: webhook
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: webhook
{{- end }}

{{- define "certwright.webhookLabels" -}}
{{- $own := include "certwright.webhookSelector" . | fromYaml -}}
{{- mergeOverwrite (include "certwright.labels" . | fromYaml) (dict "app" "webhook") $own | toYaml -}}
{{- end }}

{{/* The values of `webhook` that have an effect, once it is enabled. */}}
{{- define "certwright.webhookValues" -}}
enabled replicaCount timeoutSeconds securePort hostNetwork serviceType strategy resources securityContext containerSecurityContext nodeSelector affinity tolerations topologySpreadConstraints podLabels podAnnotations extraArgs serviceAccount validatingWebhookConfiguration mutatingWebhookConfiguration
{{- end }}
