{{- define "authenticator.clusterId" -}}
{{- required "clusterId is needed: the id that tokens are signed for, the same as in the users' kubeconfigs." (.Values.clusterId | default (dig "clusterID" "" .Values.config)) -}}
{{- end -}}

{{- define "authenticator.backends" -}}
{{- $modes := dig "server" "backendMode" (list "MountedFile") .Values.config -}}
{{- if kindIs "string" $modes }}{{ $modes }}{{ else }}{{ join "," $modes }}{{ end -}}
{{- end -}}
