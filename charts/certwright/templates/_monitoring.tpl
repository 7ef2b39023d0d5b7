{{/* How monitors ask for metrics, of `root` and `settings` (those of the monitor). What they are served with decides between HTTP and HTTPS. */}}
{{- define "certwright.metricsEndpoint" -}}
{{- $values := .root.Values -}}
{{- $given := default dict .settings.endpointAdditionalProperties -}}
{{- $endpoint := pick .settings "path" "interval" "scrapeTimeout" "honorLabels" -}}
{{- $controller := dict "root" .root "of" $values -}}
{{- $scheme := include "certwright.metricsScheme" $controller -}}
{{- if eq $scheme "https" -}}
{{- $_ := set $endpoint "scheme" "https" -}}
{{- $secret := include "certwright.metricsSecret" $controller -}}
{{- $names := include "certwright.given" (merge (dict "flag" "metrics-dynamic-serving-dns-names" "field" "metricsTLSConfig.dynamic.dnsNames") $controller) -}}
{{- $namespace := default (include "certwright.namespace" .root) .settings.namespace -}}
{{- /* Prometheus's operator reads Secrets beside the monitor only, and the webhook may have another CA. */}}
{{- if and $names (hasPrefix (printf "%s/" $namespace) $secret) (not $values.webhook.enabled) (not $given.tlsConfig) -}}
{{- $ca := dict "secret" (dict "name" (splitList "/" $secret | last) "key" "ca.crt") -}}
{{- $_ := set $endpoint "tlsConfig" (dict "serverName" (splitList "," $names | first) "ca" $ca) -}}
{{- end -}}
{{- end -}}
{{- if and $values.webhook.enabled (not $given.scheme) (ne $scheme (include "certwright.metricsScheme" (dict "root" .root "of" $values.webhook))) -}}
{{- fail "prometheus: of controller and webhook one serves metrics over TLS and the other does not, and a monitor asks both in the same way; give both a metricsTLSConfig, or say which way in endpointAdditionalProperties.scheme" -}}
{{- end -}}
{{- mergeOverwrite $endpoint $given | toYaml -}}
{{- end }}

{{/* The label by which instances of Prometheus tell monitors apart, of the settings of one. */}}
{{- define "certwright.instance" -}}
{{- with .prometheusInstance }}prometheus: {{ quote . }}{{ end -}}
{{- end }}

{{/* https if metrics are served over TLS, of `root` and `of` (values with `config` and `extraArgs`). */}}
{{- define "certwright.metricsScheme" -}}
{{- $file := include "certwright.given" (merge (dict "flag" "metrics-tls-cert-file" "field" "metricsTLSConfig.filesystem.certFile") .) -}}
{{- ternary "https" "http" (or $file (include "certwright.metricsSecret" .) | not | not) -}}
{{- end }}

{{/* The port of the metrics, of the same. */}}
{{- define "certwright.metricsPort" -}}
{{- include "certwright.givenPort" (merge (dict "flag" "metrics-listen-address" "field" "metricsListenAddress" "default" 9402) .) -}}
{{- end }}
