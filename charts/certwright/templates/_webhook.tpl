{{/* The optional webhook has the names of cert-manager's. */}}
{{- define "certwright.webhookName" -}}
{{ include "certwright.fullname" . | trunc 55 | trimSuffix "-" }}-webhook
{{- end }}

{{- define "certwright.webhookServiceAccountName" -}}
{{- $given := default dict .Values.webhook.serviceAccount -}}
{{- $default := ternary "default" (include "certwright.webhookName" .) (and (hasKey $given "create") (not $given.create)) -}}
{{- default $default $given.name -}}
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

{{/* The file of --config. */}}
{{- define "certwright.webhookConfig" -}}
{{- $head := dict "apiVersion" "webhook.config.cert-manager.io/v1alpha1" "kind" "WebhookConfiguration" -}}
{{- merge (deepCopy .Values.webhook.config) $head | toYaml -}}
{{- end }}

{{/* The Secret of the CA that the API server trusts. */}}
{{- define "certwright.webhookSecret" -}}
{{- $given := default dict (default dict (default dict .Values.webhook.config).tlsConfig).dynamic -}}
{{- default (printf "%s-ca" (include "certwright.webhookName" .)) $given.secretName -}}
{{- end }}

{{/* Ports may stand in the file as well. */}}
{{- define "certwright.webhookPort" -}}
{{- int (default (default 10250 .Values.webhook.securePort) (default dict .Values.webhook.config).securePort) -}}
{{- end }}
{{- define "certwright.webhookHealthPort" -}}
{{- int (default 6080 (default dict .Values.webhook.config).healthzPort) -}}
{{- end }}

{{/* The flags of the webhook. What is in the file is left out, and so is one of extraArgs: none may be given twice. */}}
{{- define "certwright.webhookArguments" -}}
{{- $values := .Values -}}
{{- $name := include "certwright.webhookName" . -}}
{{- $config := default dict $values.webhook.config -}}
{{- $flags := dict -}}
{{- if not $config.securePort }}{{ $_ := set $flags "secure-port" (include "certwright.webhookPort" .) }}{{ end -}}
{{- $tls := default dict $config.tlsConfig -}}
{{- if not (or $tls.dynamic $tls.filesystem) }}
{{- $_ := set $flags "dynamic-serving-ca-secret-namespace" "$(POD_NAMESPACE)" }}
{{- $_ := set $flags "dynamic-serving-ca-secret-name" (include "certwright.webhookSecret" .) }}
{{- $_ := set $flags "dynamic-serving-dns-names" (printf "%s,%s.$(POD_NAMESPACE),%s.$(POD_NAMESPACE).svc" $name $name $name) }}
{{- with (default dict $values.webhook.url).host }}
{{- $_ := set $flags "dynamic-serving-dns-names" (printf "%s,%s" (index $flags "dynamic-serving-dns-names") .) }}
{{- end }}
{{- end -}}
{{- if $values.webhook.config }}{{ $_ := set $flags "config" "/var/cert-manager/config/config.yaml" }}{{ end -}}
{{- if not $values.prometheus.enabled }}{{ $_ := set $flags "metrics-listen-address" "0" }}{{ end -}}
{{- with $values.webhook.featureGates }}{{ $_ := set $flags "feature-gates" . }}{{ end -}}
{{- $level := index (list "error" "warn" "info" "info" "debug" "trace" "trace") (int $values.global.logLevel) -}}
{{- if ne $level "info" }}{{ $_ := set $flags "log-level" $level }}{{ end -}}
{{- if ne $values.global.logFormat "text" }}{{ $_ := set $flags "logging-format" $values.global.logFormat }}{{ end -}}
{{- range $values.webhook.extraArgs }}{{ $_ := unset $flags (splitList "=" . | first | trimPrefix "--") }}{{ end -}}
- webhook
{{- range $flag, $value := $flags }}
- {{ printf "--%s=%s" $flag $value | quote }}
{{- end }}
{{- with $values.webhook.extraArgs }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The annotations of a registration, of `root` and `annotations`. Who says where the CA comes from says it alone. */}}
{{- define "certwright.webhookInjection" -}}
{{- $given := default dict .annotations -}}
{{- $isOwn := true -}}
{{- range $key, $_ := $given }}{{ if hasPrefix "cert-manager.io/inject-" $key }}{{ $isOwn = false }}{{ end }}{{ end -}}
{{- $secret := printf "%s/%s" (include "certwright.namespace" .root) (include "certwright.webhookSecret" .root) -}}
{{- merge (dict) $given (ternary (dict "cert-manager.io/inject-ca-from-secret" $secret) dict $isOwn) | toYaml -}}
{{- end }}

{{/* Where the API server finds it, of `root` and `path`. */}}
{{- define "certwright.webhookClient" -}}
{{- with (default dict .root.Values.webhook.url).host -}}
url: https://{{ . }}/{{ $.path }}
{{- else -}}
service:
  name: {{ include "certwright.webhookName" .root }}
  namespace: {{ include "certwright.namespace" .root }}
  path: /{{ .path }}
{{- end }}
{{- end }}

{{/* What monitors look at: the controller, and the webhook if there is one. */}}
{{- define "certwright.monitored" -}}
{{- if .Values.webhook.enabled -}}
matchExpressions:
  - {key: app.kubernetes.io/name, operator: In, values: [{{ include "certwright.name" . }}, webhook]}
  - {key: app.kubernetes.io/instance, operator: In, values: [{{ .Release.Name }}]}
  - {key: app.kubernetes.io/component, operator: In, values: [controller, webhook]}
{{- else -}}
matchLabels:
  {{- include "certwright.selector" . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The rights to keep CAs in Secrets of these names. */}}
{{- define "certwright.servingRules" -}}
- apiGroups: [""]
  resources: [secrets]
  resourceNames: {{ . | toJson }}
  verbs: [get, list, watch, patch]
# The name of what is created is not known to the API server beforehand.
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
{{- end }}

{{/* The values of `webhook` that have an effect, once it is enabled. */}}
{{- define "certwright.webhookValues" -}}
enabled replicaCount timeoutSeconds securePort hostNetwork serviceType loadBalancerIP url config strategy resources securityContext containerSecurityContext nodeSelector affinity tolerations topologySpreadConstraints podLabels podAnnotations deploymentAnnotations extraArgs extraEnv featureGates serviceAccount automountServiceAccountToken serviceLabels serviceAnnotations serviceIPFamilyPolicy serviceIPFamilies livenessProbe readinessProbe networkPolicy podDisruptionBudget volumes volumeMounts enableServiceLinks validatingWebhookConfiguration mutatingWebhookConfiguration validatingWebhookConfigurationAnnotations mutatingWebhookConfigurationAnnotations
{{- end }}
