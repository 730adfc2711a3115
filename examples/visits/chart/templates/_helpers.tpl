{{/* The chart's name, as a label. */}}
{{- define "visits.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* What all objects are called: <release>-<chart>, or the release alone when it already holds the chart's name. Short
     enough for the longest name made from it (a pod's revision label). */}}
{{- define "visits.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 46 | trimSuffix "-" }}
{{- else if contains (include "visits.name" .) .Release.Name }}
{{- .Release.Name | trunc 46 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "visits.name" .) | trunc 46 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* The labels that selectors use: they never change. */}}
{{- define "visits.selectorLabels" -}}
app.kubernetes.io/name: {{ include "visits.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "visits.labels" -}}
{{ include "visits.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* The claim's spec: one for each replica, or one for all. */}}
{{- define "visits.claim" -}}
accessModes: [ReadWriteOnce]
{{- with .Values.storage.className }}
storageClassName: {{ . }}
{{- end }}
resources:
  requests:
    storage: {{ .Values.storage.size }}
{{- end }}

{{/* The pod's template: the same for both modes; what differs is where the volume `visits` comes from. */}}
{{- define "visits.pod" -}}
metadata:
  labels:
    {{- include "visits.labels" . | nindent 4 }}
  {{- with .Values.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "visits.fullname" . }}
  automountServiceAccountToken: false # the app does not talk to the API
  terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
  {{- with .Values.podSecurityContext }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: visits
      image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      ports:
        - name: http
          containerPort: {{ .Values.containerPort }}
      env:
        - name: POD_NAME
          valueFrom:
            fieldRef:
              fieldPath: metadata.name
        - name: PORT
          value: {{ .Values.containerPort | quote }}
        - name: TOOLS_DIR
          value: /usr/local/bin
        - name: VISITS_TOKEN
          valueFrom:
            secretKeyRef:
              name: {{ include "visits.fullname" . }}
              key: token
      readinessProbe:
        httpGet:
          path: /healthz
          port: http
        {{- toYaml .Values.readinessProbe | nindent 8 }}
      livenessProbe:
        httpGet:
          path: /healthz
          port: http
        {{- toYaml .Values.livenessProbe | nindent 8 }}
      {{- with .Values.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .Values.securityContext }}
      securityContext:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      volumeMounts:
        - name: visits
          mountPath: /data
        - name: settings
          mountPath: /etc/visits
          readOnly: true
        - name: tools
          mountPath: /usr/local/bin
    {{- with .Values.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
    - name: settings
      configMap:
        name: {{ include "visits.fullname" . }}
    - name: tools # an image of one binary has no `tail`: the app links itself here under that name
      emptyDir:
        sizeLimit: 1Mi
    {{- if eq .Values.mode "deployment" }}
    - name: visits # ONE claim, whichever replica it is
      persistentVolumeClaim:
        claimName: {{ include "visits.fullname" . }}
    {{- end }}
{{- end }}
