{{/* The flags of the controller, as a list in YAML. A flag that has its default is left out, and so is one of extraArgs: none may be given twice. */}}
{{- define "certwright.arguments" -}}
{{- $values := .Values -}}
{{- $flags := dict "cluster-resource-namespace" (default "$(POD_NAMESPACE)" $values.clusterResourceNamespace) -}}
{{- $level := index (list "error" "warn" "info" "info" "debug" "trace" "trace") (int $values.global.logLevel) -}}
{{- if ne $level "info" }}{{ $_ := set $flags "log-level" $level }}{{ end -}}
{{- if ne $values.global.logFormat "text" }}{{ $_ := set $flags "logging-format" $values.global.logFormat }}{{ end -}}
{{- with $values.watchNamespaces }}{{ $_ := set $flags "namespace" (join "," .) }}{{ end -}}
{{- if $values.config }}{{ $_ := set $flags "config" "/var/cert-manager/config/config.yaml" }}{{ end -}}
{{- with $values.acmesolver.runtimeClassName }}{{ $_ := set $flags "acme-http01-solver-runtime-class-name" . }}{{ end -}}
{{- if not $values.prometheus.enabled }}{{ $_ := set $flags "metrics-listen-address" "0" }}{{ end -}}
{{- with $values.featureGates }}{{ $_ := set $flags "feature-gates" . }}{{ end -}}
{{- if $values.enableCertificateOwnerRef }}{{ $_ := set $flags "enable-certificate-owner-ref" "true" }}{{ end -}}
{{- with $values.dns01RecursiveNameservers }}{{ $_ := set $flags "dns01-recursive-nameservers" . }}{{ end -}}
{{- if $values.dns01RecursiveNameserversOnly }}{{ $_ := set $flags "dns01-recursive-nameservers-only" "true" }}{{ end -}}
{{- if $values.disableAutoApproval }}{{ $_ := set $flags "controllers" "*,-certificaterequests-approver" }}{{ end -}}
{{- with $values.ingressShim.defaultIssuerName }}{{ $_ := set $flags "default-issuer-name" . }}{{ end -}}
{{- with $values.ingressShim.defaultIssuerKind }}{{ $_ := set $flags "default-issuer-kind" . }}{{ end -}}
{{- with $values.ingressShim.defaultIssuerGroup }}{{ $_ := set $flags "default-issuer-group" . }}{{ end -}}
{{- $election := $values.global.leaderElection -}}
{{- $leases := include "certwright.leaseNamespace" . -}}
{{- if ne $leases "kube-system" }}{{ $_ := set $flags "leader-election-namespace" $leases }}{{ end -}}
{{- with $election.leaseDuration }}{{ $_ := set $flags "leader-election-lease-duration" . }}{{ end -}}
{{- with $election.renewDeadline }}{{ $_ := set $flags "leader-election-renew-deadline" . }}{{ end -}}
{{- with $election.retryPeriod }}{{ $_ := set $flags "leader-election-retry-period" . }}{{ end -}}
{{- if and (not $values.cainjector.enabled) (not $values.watchNamespaces) }}
{{- range list "apiservices" "customresourcedefinitions" "mutatingwebhookconfigurations" "validatingwebhookconfigurations" }}
{{- $_ := set $flags (printf "enable-%s-injectable" .) "false" }}
{{- end }}
{{- end -}}
{{- $challenges := int (default 60 $values.maxConcurrentChallenges) -}}
{{- if ne $challenges 60 }}{{ $_ := set $flags "max-concurrent-challenges" (toString $challenges) }}{{ end -}}
{{- if gt (int $values.shards) 1 }}{{ $_ := set $flags "shards" (toString $values.shards) }}{{ end -}}
{{- $policy := default $values.image.pullPolicy $values.acmesolver.image.pullPolicy -}}
{{- if ne $policy "IfNotPresent" }}{{ $_ := set $flags "acme-http01-solver-image-pull-policy" $policy }}{{ end -}}
{{- range $values.extraArgs }}{{ $_ := unset $flags (splitList "=" . | first | trimPrefix "--") }}{{ end -}}
- controller
{{- range $flag, $value := $flags }}
- {{ printf "--%s=%s" $flag $value | quote }}
{{- end }}
{{- with $values.extraArgs }}
{{ toYaml . }}
{{- end }}
{{- end }}
