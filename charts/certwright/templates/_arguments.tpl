{{/* The flags of the controller, as a list in YAML. A flag that has its default is left out, and so is one that extraArgs has. */}}
{{- define "certwright.arguments" -}}
{{- $values := .Values -}}
{{- $flags := dict "cluster-resource-namespace" (default "$(POD_NAMESPACE)" $values.clusterResourceNamespace) -}}
{{- $level := include "certwright.logLevel" . -}}
{{- if ne $level "info" }}{{ $_ := set $flags "log-level" $level }}{{ end -}}
{{- if ne $values.global.logFormat "text" }}{{ $_ := set $flags "logging-format" $values.global.logFormat }}{{ end -}}
{{- if and $values.watchNamespaces (include "certwright.given" (dict "root" . "of" (pick $values "extraArgs") "flag" "namespace" "field" "")) }}
{{- fail "watchNamespaces and --namespace in extraArgs cannot both be set: the rights are those of watchNamespaces" }}
{{- end -}}
{{- with $values.watchNamespaces }}{{ $_ := set $flags "namespace" (join "," .) }}{{ end -}}
{{- if $values.config }}{{ $_ := set $flags "config" "/var/cert-manager/config/config.yaml" }}{{ end -}}
{{- with $values.acmesolver.runtimeClassName }}{{ $_ := set $flags "acme-http01-solver-runtime-class-name" . }}{{ end -}}
{{- if not $values.prometheus.enabled }}{{ $_ := set $flags "metrics-listen-address" "0" }}{{ end -}}
{{- with $values.featureGates }}{{ $_ := set $flags "feature-gates" . }}{{ end -}}
{{- if $values.enableCertificateOwnerRef }}{{ $_ := set $flags "enable-certificate-owner-ref" "true" }}{{ end -}}
{{- with $values.dns01RecursiveNameservers }}{{ $_ := set $flags "dns01-recursive-nameservers" . }}{{ end -}}
{{- if $values.dns01RecursiveNameserversOnly }}{{ $_ := set $flags "dns01-recursive-nameservers-only" "true" }}{{ end -}}
{{- if $values.disableAutoApproval }}
{{- /* Those of extraArgs come beside it, those of the file do not. */}}
{{- $isBeside := include "certwright.given" (dict "root" . "of" (pick $values "extraArgs") "flag" "controllers" "field" "") -}}
{{- $others := include "certwright.given" (dict "root" . "of" (pick $values "config") "flag" "controllers" "field" "controllers") -}}
{{- $_ := set $flags "controllers" (append (ternary list (list (default "*" $others)) (not $isBeside | not)) "-certificaterequests-approver" | join ",") }}
{{- end -}}
{{- $shim := default dict $values.ingressShim -}}
{{- with $shim.defaultIssuerName }}{{ $_ := set $flags "default-issuer-name" . }}{{ end -}}
{{- with $shim.defaultIssuerKind }}{{ $_ := set $flags "default-issuer-kind" . }}{{ end -}}
{{- with $shim.defaultIssuerGroup }}{{ $_ := set $flags "default-issuer-group" . }}{{ end -}}
{{- $election := $values.global.leaderElection -}}
{{- $leases := include "certwright.leaseNamespace" . -}}
{{- /* In cert-manager's chart too, the value goes before what is in the file. */}}
{{- $inFile := (default dict (default dict $values.config).leaderElectionConfig).namespace -}}
{{- if or $inFile (ne $leases "kube-system") }}{{ $_ := set $flags "leader-election-namespace" $leases }}{{ end -}}
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
{{- $_ := include "certwright.withoutGiven" (dict "flags" $flags "extraArgs" $values.extraArgs) -}}
- controller
{{- range $flag, $value := $flags }}
- {{ printf "--%s=%s" $flag $value | quote }}
{{- end }}
{{- with $values.extraArgs }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The levels of `global.logLevel`; a higher one is the last. */}}
{{- define "certwright.logLevel" -}}
{{- index (list "error" "warn" "info" "info" "debug" "trace") (min 5 (int .Values.global.logLevel)) -}}
{{- end }}

{{/* Takes from `flags` what `extraArgs` has, which goes before it. Lists grow, as everywhere. */}}
{{- define "certwright.withoutGiven" -}}
{{- $lists := list "controllers" "dns01-recursive-nameservers" "feature-gates" -}}
{{- range .extraArgs -}}
{{- $name := splitList "=" . | first | trimPrefix "--" -}}
{{- if or (eq $name "v") (hasPrefix "-v" .) }}{{ $name = "log-level" }}{{ end -}}
{{- if and (hasPrefix "-" .) (not (has $name $lists)) }}{{ $_ := unset $.flags $name }}{{ end -}}
{{- end -}}
{{- end }}
