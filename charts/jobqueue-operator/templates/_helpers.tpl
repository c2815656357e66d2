{{- define "jobqueue.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{- define "jobqueue.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains (include "jobqueue.name" .) .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "jobqueue.name" .) | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{- define "jobqueue.selector" -}}
app.kubernetes.io/name: {{ include "jobqueue.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "jobqueue.labels" -}}
{{ include "jobqueue.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: jobqueue
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* The namespace line of what is cluster-wide or not, as `scope` says. */}}
{{- define "jobqueue.scoped" -}}
{{- if eq .Values.scope "Namespace" }}namespace: {{ .Release.Namespace }}{{ end -}}
{{- end }}

{{- define "jobqueue.subjects" -}}
- kind: ServiceAccount
  name: {{ include "jobqueue.serviceAccount" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}

{{- define "jobqueue.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "jobqueue.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name is needed where serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end }}

{{/* The reference of an image: dict "root" $ "image" .Values.image */}}
{{- define "jobqueue.image" -}}
{{- $repository := .image.repository -}}
{{- with .root.Values.image.registry }}{{ $repository = printf "%s/%s" (trimSuffix "/" .) $repository }}{{ end -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .root.Chart.AppVersion .image.tag) -}}
{{- end -}}
{{- end }}

{{/* The environment that the operator and its check share. */}}
{{- define "jobqueue.environment" -}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: JOBQUEUE_LEASE_NAME
  value: {{ include "jobqueue.fullname" . }}
{{- if eq .Values.scope "Namespace" }}
- name: JOBQUEUE_NAMESPACE
  value: {{ .Release.Namespace }}
{{- end }}
{{- end }}
