{{/* In names and labels. Selectors of a Deployment cannot be changed, so a release that cert-manager's chart made keeps its words. */}}
{{- define "certwright.name" -}}
{{- $default := ternary "cert-manager" .Chart.Name (contains "cert-manager" .Release.Name) -}}
{{- default $default .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{/* The name of the Deployment, and the beginning of all others. */}}
{{- define "certwright.fullname" -}}
{{- $name := include "certwright.name" . -}}
{{- $default := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $default .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{/* The Service by which the replicas are found; its name has no room for more than 63 characters. */}}
{{- define "certwright.http01Service" -}}
{{ include "certwright.fullname" . | trunc 56 | trimSuffix "-" }}-http01
{{- end }}

{{- define "certwright.namespace" -}}
{{- default .Release.Namespace .Values.namespace -}}
{{- end }}

{{- define "certwright.serviceAccountName" -}}
{{- $default := ternary (include "certwright.fullname" .) "default" .Values.serviceAccount.create -}}
{{- default $default .Values.serviceAccount.name -}}
{{- end }}

{{/* What texts in extraObjects that were written for cert-manager's chart include. */}}
{{- define "cert-manager.name" }}{{ include "certwright.name" . }}{{ end }}
{{- define "cert-manager.fullname" }}{{ include "certwright.fullname" . }}{{ end }}
{{- define "cert-manager.namespace" }}{{ include "certwright.namespace" . }}{{ end }}
{{- define "cert-manager.serviceAccountName" }}{{ include "certwright.serviceAccountName" . }}{{ end }}

{{/* The labels by which pods are found. */}}
{{- define "certwright.selector" -}}
app.kubernetes.io/name: {{ include "certwright.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: controller
{{- end }}

{{/* The labels of every object. */}}
{{- define "certwright.labels" -}}
app: {{ include "certwright.name" . }}
{{ include "certwright.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- if eq .Values.creator "helm" }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- with .Values.global.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* An image in full, of `image` (as in the values, complete) and `root`. */}}
{{- define "certwright.reference" -}}
{{- $values := .root.Values -}}
{{- $repository := .image.repository -}}
{{- if not $repository -}}
{{- $repository = list $values.imageNamespace .image.name | compact | join "/" -}}
{{- end -}}
{{- $registry := .image.registry -}}
{{- if and (not $registry) (not .image.repository) -}}
{{- $registry = $values.imageRegistry -}}
{{- end -}}
{{- list $registry $repository | compact | join "/" -}}
{{- if .image.digest }}@{{ .image.digest }}{{ else }}:{{ default .root.Chart.AppVersion .image.tag }}{{ end -}}
{{- end }}

{{- define "certwright.image" -}}
{{- $image := include "certwright.reference" (dict "root" . "image" .Values.image) -}}
{{- if regexMatch "/cert-manager-(controller|webhook|cainjector|acmesolver|startupapicheck)[:@]" $image -}}
{{- fail (printf "image: %s is an image of cert-manager; name certwright's, or remove image.repository and image.name" $image) -}}
{{- end -}}
{{- $image -}}
{{- end }}

{{/* cert-manager's solver works too, but its tags are not ours. */}}
{{- define "certwright.solverImage" -}}
{{- $given := omit .Values.acmesolver.image "pullPolicy" -}}
{{- $isTagged := or $given.tag $given.digest -}}
{{- $inherited := ternary (omit .Values.image "tag" "digest") .Values.image (not $isTagged | not) -}}
{{- $image := include "certwright.reference" (dict "root" . "image" (merge (dict) $given $inherited)) -}}
{{- if and (contains "/cert-manager-acmesolver" $image) (not $isTagged) -}}
{{- fail (printf "acmesolver.image: cert-manager's needs its own tag, which %s is not; or remove it: the controller's image holds the solver too" $image) -}}
{{- end -}}
{{- $image -}}
{{- end }}

{{/* The file of --config. */}}
{{- define "certwright.config" -}}
{{- $head := dict "apiVersion" "controller.config.cert-manager.io/v1alpha1" "kind" "ControllerConfiguration" -}}
{{- merge (deepCopy .Values.config) $head | toYaml -}}
{{- end }}

{{/* Where the Leases lie. Who has rights in some namespaces only has none in kube-system. */}}
{{- define "certwright.leaseNamespace" -}}
{{- $wanted := .Values.global.leaderElection.namespace -}}
{{- $own := and .Values.watchNamespaces (eq $wanted "kube-system") | not | not -}}
{{- $default := ternary (include "certwright.namespace" .) $wanted $own -}}
{{- include "certwright.given" (dict "root" . "of" (pick .Values "extraArgs") "flag" "leader-election-namespace" "field" "") | default $default -}}
{{- end }}

{{/* How many Leases there are. */}}
{{- define "certwright.shards" -}}
{{- include "certwright.given" (dict "root" . "of" .Values "flag" "shards" "field" "certwright.shards") | int | max 1 (int .Values.shards) -}}
{{- end }}
