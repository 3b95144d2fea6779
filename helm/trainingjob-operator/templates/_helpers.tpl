{{/* Name of the chart in labels. */}}
{{- define "trainingjob.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Name of what the release makes. */}}
{{- define "trainingjob.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "trainingjob.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Roles stand in other namespaces, too: their name tells the release's. */}}
{{- define "trainingjob.rolename" -}}
{{- printf "%s:%s" .Release.Namespace (include "trainingjob.fullname" .) -}}
{{- end -}}

{{- define "trainingjob.serviceaccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "trainingjob.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "trainingjob.selector" -}}
app.kubernetes.io/name: {{ include "trainingjob.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "trainingjob.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "trainingjob.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: trainingjob
{{- end -}}

{{/* An image: repository and digest, or tag, or the chart's version. Takes (list root image). */}}
{{- define "trainingjob.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository (default $root.Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{/* Namespaces that are minded, as a JSON list; an empty one means all of them. */}}
{{- define "trainingjob.namespaces" -}}
{{- if .Values.clusterWide -}}
{{- if .Values.namespaces -}}{{- fail "namespaces: must be empty where clusterWide is true" -}}{{- end -}}
[]
{{- else -}}
{{- .Values.namespaces | default (list .Release.Namespace) | uniq | sortAlpha | toJson -}}
{{- end -}}
{{- end -}}

{{/* One environment variable, left out where the value is null or empty. Takes (list name value).
     Numbers from values are floating-point, and great ones would come out as 1e+06. */}}
{{- define "trainingjob.variable" -}}
{{- $value := index . 1 -}}
{{- if kindIs "float64" $value -}}
{{- if eq $value (floor $value) -}}{{- $value = int64 $value -}}{{- end -}}
{{- end -}}
{{- if not (or (kindIs "invalid" $value) (eq (toString $value) "")) }}
- name: {{ index . 0 }}
  value: {{ toString $value | quote }}
{{- end -}}
{{- end -}}

{{/* What the operator needs, and what it must hold to grant it: get and patch of a report's ConfigMap. */}}
{{- define "trainingjob.rules" -}}
- apiGroups: [automl.trainingjob.dev]
  resources: [trainingjobs]
  verbs: [get, list, watch]
- apiGroups: [automl.trainingjob.dev]
  resources: [trainingjobs/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [get, create]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [events]
  verbs: [list, create]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [get, create]
{{- end -}}
