{{- define "webhook.mode" -}}
{{- $enabled := dig "certManager" "enabled" nil .Values.certificates -}}
{{- if .Values.certificates.mode -}}
{{ .Values.certificates.mode }}
{{- else if kindIs "bool" $enabled -}}
{{ ternary "certManager" "secret" $enabled }}
{{- else -}}
selfManaged
{{- end -}}
{{- end -}}

{{- define "webhook.authoritySecretName" -}}
{{- .Values.certificates.authoritySecretName | default (printf "%s-ca" (include "sallyport.fullname" .)) -}}
{{- end -}}

{{/*
  Base64, quoted. With the mode `secret` it is given, or read from the Secret, which only an installation into a cluster
  can do.
*/}}
{{- define "webhook.caBundle" -}}
{{- if eq (include "webhook.mode" .) "secret" -}}
{{- with .Values.certificates.caBundle -}}
{{- if contains "-----BEGIN CERTIFICATE-----" . -}}
{{ b64enc . | quote }}
{{- else if contains "-----BEGIN CERTIFICATE-----" (regexReplaceAll "\\s" . "" | b64dec) -}}
{{ regexReplaceAll "\\s" . "" | quote }}
{{- else -}}
{{- fail "certificates.caBundle is neither certificates in PEM nor the base64 of such." -}}
{{- end -}}
{{- else -}}
{{- $secret := lookup "v1" "Secret" (include "sallyport.namespace" .) .Values.certificates.secretName -}}
{{- $found := dig "data" "ca.crt" "" ($secret | default dict) -}}
{{- required (printf "certificates.caBundle is needed: the authority of the certificate in the Secret %q cannot be read (there is no such Secret with ca.crt, or this is done without a cluster)." .Values.certificates.secretName) $found | quote -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "webhook.clientConfig" -}}
service:
  namespace: {{ include "sallyport.namespace" .root | quote }}
  name: {{ include "sallyport.fullname" .root | quote }}
  path: {{ .path }}
  port: 443
{{- with include "webhook.caBundle" .root }}
caBundle: {{ . }}
{{- end }}
{{- end -}}

{{- define "webhook.registrationAnnotations" -}}
{{- if eq (include "webhook.mode" .) "certManager" }}
annotations:
  cert-manager.io/inject-ca-from: {{ include "sallyport.namespace" . }}/{{ include "sallyport.fullname" . }}
{{- end }}
{{- end -}}

{{/* The release's own namespace is left out: a webhook that has to admit itself never starts. */}}
{{- define "webhook.namespaceSelector" -}}
{{- if .Values.namespaceSelector -}}
{{ toYaml .Values.namespaceSelector }}
{{- else -}}
matchExpressions:
  - { key: kubernetes.io/metadata.name, operator: NotIn, values: [{{ include "sallyport.namespace" . | quote }}] }
  - { key: windows.k8s.io/disabled, operator: NotIn, values: ["true"] }
{{- end }}
{{- end -}}

{{- define "webhook.selectors" -}}
namespaceSelector: {{- include "webhook.namespaceSelector" . | nindent 2 }}
{{- with .Values.objectSelector }}
objectSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- if or .Values.matchConditions.enabled .Values.matchConditions.extra }}
{{- include "sallyport.needsKubernetes" (dict "root" . "since" "1.28.0" "sentence" "matchConditions.enabled (set it to false: every pod is sent then) and matchConditions.extra need") }}
matchConditions:
{{- if .Values.matchConditions.enabled }}
  - name: has-gmsa-settings
    expression: >-
      (has(object.spec.securityContext) && has(object.spec.securityContext.windowsOptions) && (has(object.spec.securityContext.windowsOptions.gmsaCredentialSpecName) || has(object.spec.securityContext.windowsOptions.gmsaCredentialSpec))) ||
      object.spec.containers.exists(c, has(c.securityContext) && has(c.securityContext.windowsOptions) && (has(c.securityContext.windowsOptions.gmsaCredentialSpecName) || has(c.securityContext.windowsOptions.gmsaCredentialSpec))) ||
      (has(object.spec.initContainers) && object.spec.initContainers.exists(c, has(c.securityContext) && has(c.securityContext.windowsOptions) && (has(c.securityContext.windowsOptions.gmsaCredentialSpecName) || has(c.securityContext.windowsOptions.gmsaCredentialSpec)))) ||
      (has(object.spec.ephemeralContainers) && object.spec.ephemeralContainers.exists(c, has(c.securityContext) && has(c.securityContext.windowsOptions) && (has(c.securityContext.windowsOptions.gmsaCredentialSpecName) || has(c.securityContext.windowsOptions.gmsaCredentialSpec))))
{{- end }}
{{- with .Values.matchConditions.extra }}
{{ toYaml . | indent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "webhook.strategy" -}}
{{- $rolling := ternary (dict "maxUnavailable" 1 "maxSurge" 0) (dict "maxUnavailable" 0 "maxSurge" 1) .Values.hostNetwork -}}
{{- $strategy := deepCopy .Values.updateStrategy -}}
{{- $_ := set $strategy "rollingUpdate" (merge ($strategy.rollingUpdate | default dict) $rolling) -}}
{{- include "sallyport.strategy" $strategy -}}
{{- end -}}

{{/* Pods may not listen below 1024 unless they say so; on the host's network they cannot say it, and root can. */}}
{{- define "webhook.podSecurityContext" -}}
{{- $context := deepCopy .Values.podSecurityContext -}}
{{- if lt (min (int .Values.containerPort) (int .Values.operationsPort)) 1024 -}}
{{- if not .Values.hostNetwork -}}
{{- $own := dict "name" "net.ipv4.ip_unprivileged_port_start" "value" "0" -}}
{{- $said := list -}}
{{- range $context.sysctls }}{{ $said = append $said .name }}{{ end -}}
{{- if not (has $own.name $said) -}}
{{- $_ := set $context "sysctls" (append ($context.sysctls | default list) $own) -}}
{{- end -}}
{{- else if ne (toString $context.runAsUser) "0" -}}
{{- fail "containerPort and operationsPort have to be 1024 or more with hostNetwork: on the host's network only root may listen below." -}}
{{- end -}}
{{- end -}}
{{- toYaml $context -}}
{{- end -}}

{{/* As long as a stop takes, and a little more. */}}
{{- define "webhook.gracePeriod" -}}
{{- add (include "sallyport.seconds" .Values.linger) (include "sallyport.seconds" .Values.drain) 10 -}}
{{- end -}}
