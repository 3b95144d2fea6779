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

{{/* Roles may be in other namespaces: their name contains that of the release. */}}
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
  verbs: [list, watch, delete]
- apiGroups: [""]
  resources: [events]
  verbs: [list, create]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [get, create]
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
{{- if .Values.dask.enabled }}
- apiGroups: [kubernetes.dask.org]
  resources: [daskclusters]
  verbs: [list, create, delete]
- apiGroups: [""]
  resources: [secrets]
  verbs: [create, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [create, delete]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [list]
{{- end }}
{{- end -}}

{{/* What the Dask operator needs: the rules of its own chart, spelt out. */}}
{{- define "trainingjob.daskrules" -}}
- apiGroups: [kubernetes.dask.org]
  resources: [daskclusters, daskworkergroups, daskworkergroups/scale, daskjobs, daskjobs/status, daskautoscalers]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods, services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end -}}

{{/* Role and binding in each namespace, or for the cluster. Takes (list root name account rules). */}}
{{- define "trainingjob.grant" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $account := index . 2 -}}
{{- $rules := index . 3 -}}
{{- $prefix := ternary "Cluster" "" $root.Values.clusterWide -}}
{{- range ternary (list "") (include "trainingjob.namespaces" $root | fromJsonArray) $root.Values.clusterWide }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $prefix }}Role
metadata:
  name: {{ $name | quote }}
  {{- with . }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "trainingjob.labels" $root | nindent 4 }}
rules:
  {{- $rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $prefix }}RoleBinding
metadata:
  name: {{ $name | quote }}
  {{- with . }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "trainingjob.labels" $root | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ $prefix }}Role
  name: {{ $name | quote }}
subjects:
  - kind: ServiceAccount
    name: {{ $account }}
    namespace: {{ $root.Release.Namespace }}
{{- end }}
{{- end -}}

{{/* Ways out to DNS and the API server. Policies see that as an address outside, which a chart cannot know. */}}
{{- define "trainingjob.egress" -}}
- ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
- ports:
    {{- range .Values.networkPolicy.apiServerPorts }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
{{- end -}}

{{/* Name of what `helm test` makes. */}}
{{- define "trainingjob.testname" -}}
{{- printf "%s-test" (include "trainingjob.fullname" . | trunc 58 | trimSuffix "-") -}}
{{- end -}}

{{/* Labels of what `helm test` makes: not the selector's, so that no Service and no policy takes it for the operator. */}}
{{- define "trainingjob.testlabels" -}}
app.kubernetes.io/name: {{ printf "%s-test" (include "trainingjob.name" . | trunc 58 | trimSuffix "-") }}
app.kubernetes.io/component: test
app.kubernetes.io/part-of: trainingjob
{{- end -}}

{{/* A hook of `helm test`, created for each test. The pod is kept for its log. Argument: its weight. */}}
{{- define "trainingjob.testhook" -}}
helm.sh/hook: test
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation{{ if ne . "0" }},hook-succeeded{{ end }}
{{- end -}}
