{{/* The optional webhook has the names of cert-manager's. */}}
{{- define "certwright.webhookName" -}}
{{ include "certwright.fullname" . | trunc 55 | trimSuffix "-" }}-webhook
{{- end }}

{{- define "certwright.webhookServiceAccountName" -}}
{{- $given := default dict .Values.webhook.serviceAccount -}}
{{- $own := include "certwright.webhookMakesServiceAccount" . -}}
{{- default (ternary (include "certwright.webhookName" .) "default" (not $own | not)) $given.name -}}
{{- end }}

{{/* Not empty if its ServiceAccount is made by the chart. */}}
{{- define "certwright.webhookMakesServiceAccount" -}}
{{- if ne (get (default dict .Values.webhook.serviceAccount) "create" | toString) "false" }}true{{ end -}}
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

{{/* What the webhook is given for a flag, of `root`, `flag` and `field`. */}}
{{- define "certwright.webhookGiven" -}}
{{- include "certwright.given" (merge (dict "of" .root.Values.webhook) .) -}}
{{- end }}

{{/* The Secret of the CA that the API server trusts, as NAMESPACE/NAME; empty if the certificate is in files. */}}
{{- define "certwright.webhookSecret" -}}
{{- $flag := "dynamic-serving-ca-secret" -}}
{{- $namespace := include "certwright.webhookGiven" (dict "root" . "flag" (printf "%s-namespace" $flag) "field" "tlsConfig.dynamic.secretNamespace") -}}
{{- $name := include "certwright.webhookGiven" (dict "root" . "flag" (printf "%s-name" $flag) "field" "tlsConfig.dynamic.secretName") -}}
{{- if not (include "certwright.webhookFile" .) -}}
{{- default (include "certwright.namespace" .) $namespace }}/{{ default (include "certwright.webhookOwnSecret" .) $name -}}
{{- end -}}
{{- end }}

{{/* Its name, if nobody says otherwise. */}}
{{- define "certwright.webhookOwnSecret" -}}
{{ include "certwright.webhookName" . }}-ca
{{- end }}

{{/* The file with the webhook's certificate, if it comes from one. */}}
{{- define "certwright.webhookFile" -}}
{{- include "certwright.webhookGiven" (dict "root" . "flag" "tls-cert-file" "field" "tlsConfig.filesystem.certFile") -}}
{{- end }}

{{- define "certwright.webhookPort" -}}
{{- $given := include "certwright.webhookGiven" (dict "root" . "flag" "secure-port" "field" "securePort") -}}
{{- int (default (default 10250 .Values.webhook.securePort) $given) -}}
{{- end }}
{{- define "certwright.webhookHealthPort" -}}
{{- include "certwright.webhookGiven" (dict "root" . "flag" "healthz-port" "field" "healthzPort") | default "6080" | int -}}
{{- end }}

{{/* The flags of the webhook. What is in the file is left out, and so is one of extraArgs: none may be given twice. */}}
{{- define "certwright.webhookArguments" -}}
{{- $values := .Values -}}
{{- $name := include "certwright.webhookName" . -}}
{{- $config := default dict $values.webhook.config -}}
{{- $flags := dict -}}
{{- if not $config.securePort }}{{ $_ := set $flags "secure-port" (include "certwright.webhookPort" .) }}{{ end -}}
{{- $tls := default dict $config.tlsConfig -}}
{{- if not (or $tls.dynamic $tls.filesystem (include "certwright.webhookFile" .)) }}
{{- $_ := set $flags "dynamic-serving-ca-secret-namespace" "$(POD_NAMESPACE)" }}
{{- $_ := set $flags "dynamic-serving-ca-secret-name" (include "certwright.webhookOwnSecret" .) }}
{{- $_ := set $flags "dynamic-serving-dns-names" (printf "%s,%s.$(POD_NAMESPACE),%s.$(POD_NAMESPACE).svc" $name $name $name) }}
{{- with (default dict $values.webhook.url).host }}
{{- $_ := set $flags "dynamic-serving-dns-names" (printf "%s,%s" (index $flags "dynamic-serving-dns-names") .) }}
{{- end }}
{{- end -}}
{{- if $values.webhook.config }}{{ $_ := set $flags "config" "/var/cert-manager/config/config.yaml" }}{{ end -}}
{{- if not $values.prometheus.enabled }}{{ $_ := set $flags "metrics-listen-address" "0" }}{{ end -}}
{{- with $values.webhook.featureGates }}{{ $_ := set $flags "feature-gates" . }}{{ end -}}
{{- $level := include "certwright.logLevel" . -}}
{{- if ne $level "info" }}{{ $_ := set $flags "log-level" $level }}{{ end -}}
{{- if ne $values.global.logFormat "text" }}{{ $_ := set $flags "logging-format" $values.global.logFormat }}{{ end -}}
{{- $_ := include "certwright.withoutGiven" (dict "flags" $flags "extraArgs" $values.webhook.extraArgs) -}}
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
{{- $secret := include "certwright.webhookSecret" .root -}}
{{- merge (dict) $given (ternary (dict "cert-manager.io/inject-ca-from-secret" $secret) dict (and $isOwn $secret | not | not)) | toYaml -}}
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

{{/* The values of `webhook` that have an effect, once it is enabled. */}}
{{- define "certwright.webhookValues" -}}
enabled replicaCount timeoutSeconds securePort hostNetwork serviceType loadBalancerIP url config strategy resources securityContext containerSecurityContext nodeSelector affinity tolerations topologySpreadConstraints podLabels podAnnotations deploymentAnnotations extraArgs extraEnv featureGates serviceAccount automountServiceAccountToken serviceLabels serviceAnnotations serviceIPFamilyPolicy serviceIPFamilies livenessProbe readinessProbe networkPolicy podDisruptionBudget volumes volumeMounts enableServiceLinks validatingWebhookConfiguration mutatingWebhookConfiguration validatingWebhookConfigurationAnnotations mutatingWebhookConfigurationAnnotations
{{- end }}
