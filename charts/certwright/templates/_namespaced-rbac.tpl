{{/* The same rights in each of watchNamespaces, without any in the rest of the cluster. ClusterIssuers are not served then. The right
to approve counts cluster-wide only, and is needed only where the policies ask for it. */}}
{{- define "certwright.namespacedRbac" }}
{{- $fullname := include "certwright.fullname" . }}
{{- $objects := list }}
{{- range splitList "\n---\n" (include "certwright.rbac" .) }}
{{- $objects = append $objects (fromYaml .) }}
{{- end }}
{{- range $objects }}
{{- $isApproval := hasPrefix (printf "%s-controller-approve:" $fullname) .metadata.name }}
{{- if and $isApproval $.Values.admissionPolicies.enabled }}
---
{{ toYaml . }}
{{- else if not (or $isApproval (eq .metadata.name (printf "%s-controller-clusterissuers" $fullname))) }}
{{- $kind := replace "Cluster" "" .kind }}
{{- $object := . }}
{{- range $.Values.watchNamespaces }}
{{- $namespaced := mergeOverwrite (deepCopy $object) (dict "kind" $kind "metadata" (dict "namespace" .)) }}
{{- if eq $kind "RoleBinding" }}{{ $_ := set $namespaced.roleRef "kind" "Role" }}{{ end }}
---
{{ toYaml $namespaced }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
