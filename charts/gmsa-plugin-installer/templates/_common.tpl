{{/* Made by `npm run docs` from scripts/charts/. Edit that instead. */}}
{{/*
  Objects are named by release, so that two releases live in one namespace. Room is left for the longest suffix; what is
  cut off leaves a hash, so that two long names stay different.
*/}}
{{- define "sallyport.fullname" -}}
{{- $name := .Values.nameOverride | default .Release.Name -}}
{{- if gt (len $name) 40 -}}
{{- $name = printf "%s-%s" (trunc 31 $name | trimSuffix "-" | trimSuffix ".") (sha256sum $name | trunc 8) -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{- define "sallyport.namespace" -}}
{{- .Values.namespaceOverride | default .Release.Namespace -}}
{{- end -}}

{{- define "sallyport.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: sallyport
chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
release: {{ .Release.Name | quote }}
heritage: {{ .Release.Service }}
{{- end -}}

{{/*
  An image, quoted. Takes a dict of `root` and `image`, and with `fallback` the image whose repository and tag count where
  that one has none.
*/}}
{{- define "sallyport.image" -}}
{{- $global := .root.Values.global | default dict -}}
{{- $registry := dig "cattle" "systemDefaultRegistry" "" $global | default (dig "systemDefaultRegistry" "" $global) -}}
{{- $fallback := .fallback | default dict -}}
{{- $repository := .image.repository | default $fallback.repository -}}
{{- $tag := .image.tag | default $fallback.tag | default .root.Chart.AppVersion -}}
{{- printf "%s%s:%s" (ternary (printf "%s/" (trimSuffix "/" $registry)) "" (ne $registry "")) $repository $tag | quote -}}
{{- end -}}

{{- define "sallyport.pullSecrets" -}}
{{- with dig "imagePullSecrets" list (.Values.global | default dict) }}
imagePullSecrets:
{{- range . }}
  {{- if kindIs "string" . }}
  - name: {{ quote . }}
  {{- else }}
  - {{ toJson . }}
  {{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Seconds of a duration such as 500ms, 30s, 2m or 1.5h, rounded up. */}}
{{- define "sallyport.seconds" -}}
{{- $number := regexFind "^[0-9.]+" . | float64 -}}
{{- $unit := regexFind "[a-z]+$" . -}}
{{- get (dict "ms" (divf $number 1000) "s" $number "m" (mulf $number 60) "h" (mulf $number 3600)) $unit | ceil | int -}}
{{- end -}}

{{/* Takes a dict of `root`, `since` (a version) and `sentence`: Helm takes the cluster's version, or --kube-version. */}}
{{- define "sallyport.needsKubernetes" -}}
{{- if semverCompare (printf "<%s-0" .since) .root.Capabilities.KubeVersion.Version -}}
{{- fail (printf "%s Kubernetes %s, and this is %s (without a cluster --kube-version says it)." .sentence .since .root.Capabilities.KubeVersion.Version) -}}
{{- end -}}
{{- end -}}

{{/* `rollingUpdate` of the defaults is merged into whatever the operator sets, and belongs to one type alone. */}}
{{- define "sallyport.strategy" -}}
{{- if eq .type "RollingUpdate" }}
{{- toYaml . }}
{{- else -}}
type: {{ .type }}
{{- end }}
{{- end -}}

{{/* Taints that Windows nodes usually carry, and what the operator adds. */}}
{{- define "sallyport.windowsTolerations" -}}
{{- if .Values.defaultTolerations }}
- { key: os, operator: Equal, value: windows }
- { key: OS, operator: Equal, value: Windows }
- { key: node.kubernetes.io/os, operator: Equal, value: windows }
- { key: kubernetes.io/os, operator: Equal, value: windows }
- { key: cattle.io/os, operator: Equal, value: windows }
{{- end }}
{{- with .Values.tolerations }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* A pod of a Job that speaks to the API server: Linux, nothing but its token. */}}
{{- define "sallyport.jobPod" -}}
restartPolicy: Never
{{- include "sallyport.pullSecrets" .root }}
nodeSelector: {{- merge (dict "kubernetes.io/os" "linux") .nodeSelector | toYaml | nindent 2 }}
tolerations:
  - { key: cattle.io/os, operator: Equal, value: linux, effect: NoSchedule }
  {{- with .tolerations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  seccompProfile: { type: RuntimeDefault }
{{- end -}}

{{/* Takes what `sallyport.image` takes. */}}
{{- define "sallyport.jobContainer" -}}
image: {{ include "sallyport.image" . }}
imagePullPolicy: {{ .image.imagePullPolicy | default (dig "imagePullPolicy" "" (.fallback | default dict)) | quote }}
terminationMessagePolicy: FallbackToLogsOnError
resources:
  requests: { cpu: 10m, memory: 64Mi }
  limits: { memory: 256Mi }
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
{{- end -}}

{{- define "sallyport.apiServerEgress" -}}
- ports:
    {{- range .Values.networkPolicy.apiServerPorts }}
    - { protocol: TCP, port: {{ . }} }
    {{- end }}
{{- end -}}

{{/*
  What removes things from the hosts after an uninstallation. Takes a dict of `root`, `args` (of the container on the
  hosts) and `what`. A DaemonSet does it once on every node, an init container each, and stays; a Job waits for the nodes,
  says what was left, and is the end of the hook; then Helm deletes all of it, unless it gave up before: see
  `sallyport.cleanupEnd`.
*/}}
{{- define "sallyport.cleanupHook" -}}
{{- $root := .root -}}
{{- $name := printf "%s-cleanup" (include "sallyport.fullname" $root) -}}
{{- $namespace := include "sallyport.namespace" $root -}}
{{- with $root.Values }}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ quote $name }}
  namespace: {{ quote $namespace }}
  labels: {{- include "sallyport.labels" $root | nindent 4 }}
  annotations: {{- include "sallyport.cleanupAnnotations" "-3" | nindent 4 }}
automountServiceAccountToken: false
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ quote $name }}
  namespace: {{ quote $namespace }}
  labels: {{- include "sallyport.labels" $root | nindent 4 }}
  annotations: {{- include "sallyport.cleanupAnnotations" "-3" | nindent 4 }}
rules:
  - apiGroups: [apps]
    resources: [daemonsets]
    resourceNames: [{{ quote $name }}]
    verbs: [get]
  - apiGroups: [""]
    resources: [pods]
    verbs: [list]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ quote $name }}
  namespace: {{ quote $namespace }}
  labels: {{- include "sallyport.labels" $root | nindent 4 }}
  annotations: {{- include "sallyport.cleanupAnnotations" "-2" | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ quote $name }}
subjects:
  - kind: ServiceAccount
    name: {{ quote $name }}
    namespace: {{ quote $namespace }}
{{- if .networkPolicy.enabled }}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ quote $name }}
  namespace: {{ quote $namespace }}
  labels: {{- include "sallyport.labels" $root | nindent 4 }}
  annotations: {{- include "sallyport.cleanupAnnotations" "-2" | nindent 4 }}
spec:
  podSelector:
    matchLabels: { app: {{ quote $name }} }
  policyTypes: [Ingress, Egress]
  egress: {{- include "sallyport.apiServerEgress" $root | nindent 4 }}
{{- end }}
---
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: {{ quote $name }}
  namespace: {{ quote $namespace }}
  labels: {{- include "sallyport.labels" $root | nindent 4 }}
  annotations: {{- include "sallyport.cleanupAnnotations" "-1" | nindent 4 }}
spec:
  selector:
    matchLabels: { app: {{ quote $name }}, app.kubernetes.io/component: cleanup }
  template:
    metadata:
      labels:
        {{- include "sallyport.labels" $root | nindent 8 }}
        app: {{ quote $name }}
        app.kubernetes.io/component: cleanup
    spec:
      serviceAccountName: {{ quote $name }}
      automountServiceAccountToken: false
      {{- include "sallyport.pullSecrets" $root | nindent 6 }}
      hostNetwork: true
      terminationGracePeriodSeconds: 5
      {{- with .priorityClassName }}
      priorityClassName: {{ quote . }}
      {{- end }}
      nodeSelector: {{- merge (dict "kubernetes.io/os" "windows") .nodeSelector | toYaml | nindent 8 }}
      {{- with .affinity }}
      affinity: {{- toYaml . | nindent 8 }}
      {{- end }}
      tolerations:
        # Nodes that are down get a pod, too: that is how they are known by name.
        - { key: node.kubernetes.io/unreachable, operator: Exists }
        - { key: node.kubernetes.io/not-ready, operator: Exists }
        {{- include "sallyport.windowsTolerations" $root | nindent 8 }}
      securityContext: {{- toYaml .securityContext | nindent 8 }}
      initContainers:
        - name: cleanup
          image: {{ include "sallyport.image" (dict "root" $root "image" .image) }}
          imagePullPolicy: {{ .image.imagePullPolicy }}
          # When it fails, what it left stands in the pod's status.
          terminationMessagePolicy: FallbackToLogsOnError
          args: {{- toYaml $.args | nindent 12 }}
          resources: {{- toYaml .resources | nindent 12 }}
          securityContext: {{- toYaml .securityContext | nindent 12 }}
      containers:
        - name: stay
          image: {{ include "sallyport.image" (dict "root" $root "image" .image) }}
          imagePullPolicy: {{ .image.imagePullPolicy }}
          args: [chart-hook, stay]
          resources: {{- toYaml .resources | nindent 12 }}
          securityContext: {{- toYaml .securityContext | nindent 12 }}
---
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ quote $name }}
  namespace: {{ quote $namespace }}
  labels: {{- include "sallyport.labels" $root | nindent 4 }}
  annotations:
    {{- include "sallyport.cleanupAnnotations" "0" | nindent 4 }}
    helm.sh/hook-output-log-policy: hook-succeeded,hook-failed
spec:
  # It asks again and again by itself; what it says in the end is the end.
  backoffLimit: 0
  # A pod that is never started has to end it, too, before Helm gives up (after five minutes, unless told otherwise).
  activeDeadlineSeconds: {{ add (include "sallyport.seconds" .cleanup.timeout) 90 }}
  template:
    metadata:
      labels:
        {{- include "sallyport.labels" $root | nindent 8 }}
        app: {{ quote $name }}
        app.kubernetes.io/component: cleanup-wait
    spec:
      serviceAccountName: {{ quote $name }}
      automountServiceAccountToken: true
      {{- include "sallyport.jobPod" (dict "root" $root "nodeSelector" .cleanup.nodeSelector "tolerations" .cleanup.tolerations) | nindent 6 }}
      containers:
        - name: wait
          {{- include "sallyport.jobContainer" (dict "root" $root "image" .cleanup.image "fallback" .image) | nindent 10 }}
          args:
            - chart-hook
            - await-hosts
            - --daemonset={{ $name }}
            - --namespace={{ $namespace }}
            - --timeout={{ .cleanup.timeout }}
{{- end }}
{{- end -}}

{{/*
  Ends a cleanup of a former release of this name, before an installation and an upgrade. Helm deletes nothing of a hook that
  failed or for which it gave up, and the DaemonSet would go on removing from each new and each restarted node what this
  release puts there. Helm deletes an object of the same name before it makes a hook: this one, which is for no node.
*/}}
{{- define "sallyport.cleanupEnd" -}}
{{- $name := printf "%s-cleanup" (include "sallyport.fullname" .) -}}
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: {{ quote $name }}
  namespace: {{ include "sallyport.namespace" . | quote }}
  labels: {{- include "sallyport.labels" . | nindent 4 }}
  annotations:
    helm.sh/hook: pre-install,pre-upgrade
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
spec:
  selector:
    matchLabels: { app: {{ quote $name }}, app.kubernetes.io/component: cleanup-end }
  template:
    metadata:
      labels: { app: {{ quote $name }}, app.kubernetes.io/component: cleanup-end }
    spec:
      automountServiceAccountToken: false
      nodeSelector: { sallyport.io/no-node: "true" }
      containers:
        - name: stay
          image: {{ include "sallyport.image" (dict "root" . "image" .Values.image) }}
          args: [chart-hook, stay]
          resources: {{- toYaml .Values.resources | nindent 12 }}
{{- end -}}

{{/* The argument is the weight: hooks are made in its order. */}}
{{- define "sallyport.cleanupAnnotations" -}}
helm.sh/hook: post-delete
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}

{{/*
  Brings CustomResourceDefinitions up to date before an installation and an upgrade: Helm installs those in crds/ where
  they are missing, and never looks at them again. Nothing here can delete one.
*/}}
{{- define "sallyport.crdHook" -}}
{{- $root := .root -}}
{{- $name := printf "%s-crds" (include "sallyport.fullname" $root) -}}
{{- $namespace := include "sallyport.namespace" $root -}}
{{- with $root.Values }}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ quote $name }}
  namespace: {{ quote $namespace }}
  labels: {{- include "sallyport.labels" $root | nindent 4 }}
  annotations: {{- include "sallyport.crdAnnotations" "-3" | nindent 4 }}
automountServiceAccountToken: false
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: {{ $namespace }}-{{ $name }}
  labels: {{- include "sallyport.labels" $root | nindent 4 }}
  annotations: {{- include "sallyport.crdAnnotations" "-3" | nindent 4 }}
rules:
  - apiGroups: [apiextensions.k8s.io]
    resources: [customresourcedefinitions]
    resourceNames: [{{ $.crd }}]
    verbs: [get, patch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ $namespace }}-{{ $name }}
  labels: {{- include "sallyport.labels" $root | nindent 4 }}
  annotations: {{- include "sallyport.crdAnnotations" "-2" | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {{ $namespace }}-{{ $name }}
subjects:
  - kind: ServiceAccount
    name: {{ quote $name }}
    namespace: {{ quote $namespace }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ quote $name }}
  namespace: {{ quote $namespace }}
  labels: {{- include "sallyport.labels" $root | nindent 4 }}
  annotations: {{- include "sallyport.crdAnnotations" "-2" | nindent 4 }}
data:
  crd.yaml: |
    {{- $root.Files.Get $.file | nindent 4 }}
---
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ quote $name }}
  namespace: {{ quote $namespace }}
  labels: {{- include "sallyport.labels" $root | nindent 4 }}
  annotations: {{- include "sallyport.crdAnnotations" "0" | nindent 4 }}
spec:
  backoffLimit: 4
  activeDeadlineSeconds: 240
  template:
    metadata:
      labels:
        {{- include "sallyport.labels" $root | nindent 8 }}
        app: {{ quote $name }}
        app.kubernetes.io/component: crds
    spec:
      serviceAccountName: {{ quote $name }}
      automountServiceAccountToken: true
      {{- include "sallyport.jobPod" (dict "root" $root "nodeSelector" $.nodeSelector "tolerations" $.tolerations) | nindent 6 }}
      containers:
        - name: crds
          {{- include "sallyport.jobContainer" (dict "root" $root "image" .crds.image "fallback" .image) | nindent 10 }}
          args: [chart-hook, apply-crds, /crds]
          volumeMounts:
            - { name: crds, mountPath: /crds, readOnly: true }
      volumes:
        - name: crds
          configMap: { name: {{ quote $name }} }
{{- end }}
{{- end -}}

{{- define "sallyport.crdAnnotations" -}}
helm.sh/hook: pre-install,pre-upgrade
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}
