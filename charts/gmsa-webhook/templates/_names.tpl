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

{{/* With the mode `secret` it is given, or read from the Secret, which only an installation into a cluster can do. */}}
{{- define "webhook.caBundle" -}}
{{- if eq (include "webhook.mode" .) "secret" -}}
{{- if .Values.certificates.caBundle -}}
{{ .Values.certificates.caBundle }}
{{- else -}}
{{- $secret := lookup "v1" "Secret" (include "sallyport.namespace" .) .Values.certificates.secretName -}}
{{- $found := dig "data" "ca.crt" "" ($secret | default dict) -}}
{{- required (printf "certificates.caBundle is needed: the authority of the certificate in the Secret %q cannot be read (there is no such Secret with ca.crt, or this is done without a cluster)." .Values.certificates.secretName) $found -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "webhook.clientConfig" -}}
service:
  namespace: {{ include "sallyport.namespace" .root }}
  name: {{ include "sallyport.fullname" .root }}
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
  - { key: kubernetes.io/metadata.name, operator: NotIn, values: [{{ include "sallyport.namespace" . }}] }
  - { key: windows.k8s.io/disabled, operator: NotIn, values: ["true"] }
{{- end }}
{{- end -}}

{{- define "webhook.selectors" -}}
namespaceSelector: {{- include "webhook.namespaceSelector" . | nindent 2 }}
{{- with .Values.objectSelector }}
objectSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- if or .Values.matchConditions.enabled .Values.matchConditions.extra }}
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
