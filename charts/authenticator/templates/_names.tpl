{{/*
  A value that the chart and its configuration file both have. Takes a dict of `chart` and `file`, each a dict of `name`
  and `value`.
*/}}
{{- define "authenticator.oneOf" -}}
{{- if and .chart.value .file.value (ne (toString .chart.value) (toString .file.value)) -}}
{{- fail (printf "%s is %v and %s is %v: set one of them, or both to the same." .chart.name .chart.value .file.name .file.value) -}}
{{- end -}}
{{- .chart.value | default .file.value -}}
{{- end -}}

{{- define "authenticator.clusterId" -}}
{{- $both := dict "chart" (dict "name" "clusterId" "value" .Values.clusterId) "file" (dict "name" "config.clusterID" "value" (dig "clusterID" "" .Values.config)) -}}
{{- required "clusterId is needed: the id that tokens are signed for, the same as in the users' kubeconfigs." (include "authenticator.oneOf" $both) -}}
{{- end -}}

{{- define "authenticator.backends" -}}
{{- $modes := dig "server" "backendMode" (list "MountedFile") .Values.config -}}
{{- if kindIs "string" $modes }}{{ $modes }}{{ else }}{{ join "," $modes }}{{ end -}}
{{- end -}}

{{/* Where it listens and what it keeps: the same in the configuration file and in the pod. */}}
{{- define "authenticator.port" -}}
{{- $both := dict "chart" (dict "name" "port" "value" .Values.port) "file" (dict "name" "config.server.port" "value" (dig "server" "port" "" .Values.config)) -}}
{{- include "authenticator.oneOf" $both | default "21362" -}}
{{- end -}}

{{- define "authenticator.operationsPort" -}}
{{- $address := dig "server" "operationsAddress" "" .Values.config -}}
{{- $both := dict "chart" (dict "name" "operationsPort" "value" .Values.operationsPort) "file" (dict "name" "the port of config.server.operationsAddress" "value" (regexFind "[0-9]+$" $address)) -}}
{{- include "authenticator.oneOf" $both | default "21363" -}}
{{- end -}}

{{- define "authenticator.operationsAddress" -}}
{{- dig "server" "operationsAddress" "" .Values.config | default (printf "127.0.0.1:%s" (include "authenticator.operationsPort" .)) -}}
{{- end -}}

{{/* Where the kubelet reaches health and metrics: an address that stands for all is reached on loopback. */}}
{{- define "authenticator.operationsHost" -}}
{{- $host := regexReplaceAll ":[0-9]+$" (include "authenticator.operationsAddress" .) "" | trimPrefix "[" | trimSuffix "]" -}}
{{- has $host (list "0.0.0.0" "::" "localhost") | ternary "127.0.0.1" $host -}}
{{- end -}}

{{- define "authenticator.stateDirectory" -}}
{{- $both := dict "chart" (dict "name" "stateDirectory" "value" .Values.stateDirectory) "file" (dict "name" "config.server.stateDir" "value" (dig "server" "stateDir" "" .Values.config)) -}}
{{- include "authenticator.oneOf" $both | default "/var/ack-ram-authenticator" -}}
{{- end -}}

{{- define "authenticator.configureCommand" -}}
configure-api-server.sh
{{- if ne .Values.kubeconfigDirectory "/etc/kubernetes/ack-ram-authenticator" }} --kubeconfig {{ .Values.kubeconfigDirectory }}/kubeconfig.yaml
{{- end -}}
{{- end -}}
