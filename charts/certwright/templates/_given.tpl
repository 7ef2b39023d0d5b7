{{/* What the program is given for a flag, of `root`, `of` (values with `config` and `extraArgs`), `flag` and `field` (its place in the
file); empty if neither has it. As the program reads them: flags go before the file, and of two the last one counts. */}}
{{- define "certwright.given" -}}
{{- $value := default dict .of.config -}}
{{- range splitList "." .field -}}
{{- if kindIs "map" $value }}{{ $value = get $value . }}{{ else }}{{ $value = "" }}{{ end -}}
{{- end -}}
{{- if kindIs "slice" $value }}{{ $value = join "," $value }}{{ end -}}
{{- $flag := printf "--%s" .flag -}}
{{- $follows := false -}}
{{- range .of.extraArgs -}}
{{- if $follows }}{{ $value = . }}{{ $follows = false -}}
{{- else if eq . $flag }}{{ $follows = true -}}
{{- else if hasPrefix (printf "%s=" $flag) . }}{{ $value = trimPrefix (printf "%s=" $flag) . -}}
{{- end -}}
{{- end -}}
{{- default "" $value | toString | replace "$(POD_NAMESPACE)" (include "certwright.namespace" .root) -}}
{{- end }}

{{/* The port of an address that a flag stands for, as above, or `default`. */}}
{{- define "certwright.givenPort" -}}
{{- default .default (include "certwright.given" . | regexFind "[0-9]+$" | int) -}}
{{- end }}

{{/* The Secret of the CA of a certificate that is made, as NAMESPACE/NAME, of `root`, `of`, `prefix` (of the flags) and `group` (of fields);
empty if there is none. */}}
{{- define "certwright.servingSecret" -}}
{{- $flag := printf "%sdynamic-serving-ca-secret-" .prefix -}}
{{- $namespace := include "certwright.given" (dict "root" .root "of" .of "flag" (printf "%snamespace" $flag) "field" (printf "%s.dynamic.secretNamespace" .group)) -}}
{{- $name := include "certwright.given" (dict "root" .root "of" .of "flag" (printf "%sname" $flag) "field" (printf "%s.dynamic.secretName" .group)) -}}
{{- if and $namespace $name }}{{ $namespace }}/{{ $name }}{{ end -}}
{{- end }}

{{/* The Secret of the CA of the metrics, of `root` and `of`. */}}
{{- define "certwright.metricsSecret" -}}
{{- include "certwright.servingSecret" (dict "root" .root "of" .of "prefix" "metrics-" "group" "metricsTLSConfig") -}}
{{- end }}

{{/* A Role with the rights to keep CAs, and its binding, in each namespace that has some, of `root`, `secrets` (as NAMESPACE/NAME), `name`,
`labels` and `account`. */}}
{{- define "certwright.servingRoles" -}}
{{- $names := dict }}
{{- range .secrets | compact | uniq }}
{{- $parts := splitList "/" . }}
{{- $_ := set $names (first $parts) (append (default list (get $names (first $parts))) (last $parts)) }}
{{- end }}
{{- $given := . }}
{{- range $namespace, $secrets := $names }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ $given.name }}
  namespace: {{ $namespace }}
  labels:
    {{- $given.labels | nindent 4 }}
rules:
  - apiGroups: [""]
    resources: [secrets]
    resourceNames: {{ $secrets | toJson }}
    verbs: [get, list, watch, patch]
  # The name of what is created is not known to the API server beforehand.
  - apiGroups: [""]
    resources: [secrets]
    verbs: [create]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ $given.name }}
  namespace: {{ $namespace }}
  labels:
    {{- $given.labels | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ $given.name }}
subjects:
  - kind: ServiceAccount
    name: {{ $given.account }}
    namespace: {{ include "certwright.namespace" $given.root }}
{{- end }}
{{- end }}
