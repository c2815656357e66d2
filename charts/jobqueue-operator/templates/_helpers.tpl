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

{{/* The dashboard has a name of its own in its labels: the operator's selectors must not match its pods. */}}
{{- define "jobqueue.dashboard" -}}
{{- include "jobqueue.fullname" . }}-dashboard
{{- end }}

{{- define "jobqueue.dashboardSelector" -}}
app.kubernetes.io/name: {{ include "jobqueue.name" . | trunc 53 | trimSuffix "-" }}-dashboard
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "jobqueue.dashboardLabels" -}}
{{ include "jobqueue.dashboardSelector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: dashboard
app.kubernetes.io/part-of: jobqueue
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* The namespaces that are served, joined by commas; empty for all. */}}
{{- define "jobqueue.namespaces" -}}
{{- if eq .Values.scope "Namespace" -}}
{{- join "," (default (list .Release.Namespace) .Values.watchNamespaces | uniq) -}}
{{- else if .Values.watchNamespaces -}}
{{- fail "watchNamespaces needs scope: Namespace; with scope: Cluster every namespace is served" -}}
{{- end -}}
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

{{/* The pods' security context; without a user where the platform sets it. */}}
{{- define "jobqueue.podSecurityContext" -}}
{{- $context := .Values.podSecurityContext -}}
{{- if .Values.platformUser }}{{ $context = omit $context "runAsUser" "runAsGroup" "fsGroup" }}{{ end -}}
{{- toYaml $context -}}
{{- end }}

{{/* The pod template of all workers, as JSON; empty where no value asks for anything. */}}
{{- define "jobqueue.workerTemplate" -}}
{{- $given := .Values.workers -}}
{{- $metadata := dict -}}
{{- range $key := list "labels" "annotations" }}{{ with index $given $key }}{{ $_ := set $metadata $key . }}{{ end }}{{ end -}}
{{- $spec := dict -}}
{{- range $key := list "imagePullSecrets" "nodeSelector" "tolerations" "priorityClassName" -}}
{{- with index $given $key }}{{ $_ := set $spec $key . }}{{ end -}}
{{- end -}}
{{- $resources := dict -}}
{{- range $key, $value := $given.resources }}{{ with $value }}{{ $_ := set $resources $key . }}{{ end }}{{ end -}}
{{- with $resources }}{{ $_ := set $spec "containers" (list (dict "name" "worker" "resources" .)) }}{{ end -}}
{{- $template := dict -}}
{{- with $metadata }}{{ $_ := set $template "metadata" . }}{{ end -}}
{{- with $spec }}{{ $_ := set $template "spec" . }}{{ end -}}
{{- $template = mergeOverwrite $template (deepCopy $given.template) -}}
{{- with $template }}{{ toJson . }}{{ end -}}
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
  value: {{ include "jobqueue.namespaces" . | quote }}
{{- end }}
{{- end }}

{{/* A series as one number for each queue, on two lines: list FUNCTION SERIES. A Prometheus of several clusters tells them
apart by the label cluster. */}}
{{- define "jobqueue.ofQueue" -}}
({{ first . }} by (cluster, namespace, jobqueue) ({{ last . }})
  or {{ first . }} by (cluster, namespace, jobqueue) (last_over_time({{ last . }}[5m])))
{{- end }}

{{/* For the text of an alert: ": REASON" of a condition that is True, or nothing while no operator says it. */}}
{{- define "jobqueue.reason" -}}
{{ printf `{{ with printf "jobqueue_operator_queue_condition{condition='%s',cluster='%%s',namespace='%%s',jobqueue='%%s'} == 1" $labels.cluster $labels.namespace $labels.jobqueue | query }}: {{ . | first | label "reason" }}{{ end }}` . }}
{{- end }}
