{{/* How monitors ask for metrics, of `root` and `settings` (those of the monitor). What they are served with decides between HTTP and HTTPS. */}}
{{- define "certwright.metricsEndpoint" -}}
{{- $values := .root.Values -}}
{{- $given := default dict .settings.endpointAdditionalProperties -}}
{{- $endpoint := pick .settings "path" "interval" "scrapeTimeout" "honorLabels" -}}
{{- if eq (include "certwright.metricsScheme" $values) "https" -}}
{{- $_ := set $endpoint "scheme" "https" -}}
{{- $dynamic := default dict (default dict (default dict $values.config).metricsTLSConfig).dynamic -}}
{{- $namespace := default (include "certwright.namespace" .root) .settings.namespace -}}
{{- /* Prometheus's operator reads Secrets beside the monitor only, and the webhook may have another CA. */}}
{{- if and $dynamic.secretName $dynamic.dnsNames (eq $namespace (toString $dynamic.secretNamespace)) (not $values.webhook.enabled) (not $given.tlsConfig) -}}
{{- $ca := dict "secret" (dict "name" $dynamic.secretName "key" "ca.crt") -}}
{{- $_ := set $endpoint "tlsConfig" (dict "serverName" (first $dynamic.dnsNames) "ca" $ca) -}}
{{- end -}}
{{- end -}}
{{- if and $values.webhook.enabled (not $given.scheme) (ne (include "certwright.metricsScheme" $values) (include "certwright.metricsScheme" $values.webhook)) -}}
{{- fail "prometheus: of controller and webhook one serves metrics over TLS and the other does not, and a monitor asks both in the same way; give both a metricsTLSConfig, or say which way in endpointAdditionalProperties.scheme" -}}
{{- end -}}
{{- mergeOverwrite $endpoint $given | toYaml -}}
{{- end }}

{{/* https if the metrics of who has this `config` and these `extraArgs` are served over TLS. */}}
{{- define "certwright.metricsScheme" -}}
{{- $tls := default dict (default dict .config).metricsTLSConfig -}}
{{- $isSecured := or (default dict $tls.dynamic).secretName (default dict $tls.filesystem).certFile -}}
{{- range .extraArgs }}
{{- if or (hasPrefix "--metrics-tls-cert-file" .) (hasPrefix "--metrics-dynamic-serving-ca-secret-name" .) }}{{ $isSecured = true }}{{ end }}
{{- end -}}
{{- ternary "https" "http" (not $isSecured | not) -}}
{{- end }}
