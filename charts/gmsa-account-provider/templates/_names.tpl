{{- define "provider.secretName" -}}
{{- .Values.secretName | default (printf "%s-creds" (include "sallyport.fullname" .)) -}}
{{- end -}}

{{/* "true" where the accounts file says what is served. */}}
{{- define "provider.withAccounts" -}}
{{- if or .Values.accounts (dig "pluginInput" nil .Values.azureKeyVault) -}}
{{- if or .Values.secretName .Values.allSecrets -}}
{{- fail "accounts and azureKeyVault.pluginInput contradict secretName and allSecrets: name the Secret in accounts." -}}
{{- end -}}
true
{{- end -}}
{{- end -}}

{{/* A list in JSON: the Secrets that may be read. */}}
{{- define "provider.readSecrets" -}}
{{- $names := list -}}
{{- if include "provider.withAccounts" . -}}
{{- range .Values.accounts -}}
{{- if eq .source "kubernetes" -}}
{{- $names = append $names (.secret | default .name) -}}
{{- end -}}
{{- end -}}
{{- else -}}
{{- $names = list (include "provider.secretName" .) -}}
{{- end -}}
{{ toJson $names }}
{{- end -}}

{{/* Second half of the plugin input where a credential spec does not say it. */}}
{{- define "provider.defaultAccount" -}}
{{- if include "provider.withAccounts" . -}}
{{- if ne (len .Values.accounts) 1 -}}
{{- fail "credentialSpecs: with several accounts, or none, each needs a pluginInput." -}}
{{- end -}}
{{ (first .Values.accounts).name }}
{{- else -}}
{{ include "provider.secretName" . }}
{{- end -}}
{{- end -}}

{{- define "provider.accountsFile" -}}
{{ toYaml (dict "accounts" .Values.accounts "azureKeyVault" .Values.azureKeyVault) }}
{{- end -}}

{{- define "provider.pluginNamespace" -}}
{{- .Values.pluginNamespace | default (include "sallyport.namespace" .) -}}
{{- end -}}

{{- define "provider.hostDirectory" -}}
/var/lib/rancher/gmsa/{{ include "provider.pluginNamespace" . }}
{{- end -}}

{{/* A fixed port for each release: what probes ask has to be known beforehand, and releases share the host's network. */}}
{{- define "provider.operationsPort" -}}
{{- if .Values.operations.port -}}
{{ .Values.operations.port }}
{{- else -}}
{{ add 21400 (mod (adler32sum (printf "%s/%s" (include "sallyport.namespace" .) (include "sallyport.fullname" .)) | int64) 8000) }}
{{- end -}}
{{- end -}}

{{/* As it stands before a port: an IPv6 address in brackets. */}}
{{- define "provider.operationsAddress" -}}
{{- $address := .Values.operations.address | trimPrefix "[" | trimSuffix "]" -}}
{{- if contains ":" $address }}[{{ $address }}]{{ else }}{{ $address }}{{ end -}}
{{- end -}}

{{/* Where probes find it: what listens everywhere is on the loopback, too. */}}
{{- define "provider.probedAddress" -}}
{{- $address := .Values.operations.address | trimPrefix "[" | trimSuffix "]" -}}
{{- if has $address (list "" "0.0.0.0" "::") }}127.0.0.1{{ else }}{{ $address }}{{ end -}}
{{- end -}}

{{- define "provider.mode" -}}
{{- $enabled := dig "certManager" "enabled" nil .Values.certificates -}}
{{- if .Values.certificates.mode -}}
{{ .Values.certificates.mode }}
{{- else if kindIs "bool" $enabled -}}
{{ ternary "certManager" "secret" $enabled }}
{{- else -}}
selfManaged
{{- end -}}
{{- end -}}

{{/* The names that the chart before this one took for granted are kept where the operator makes the Secrets. */}}
{{- define "provider.caSecretName" -}}
{{- .Values.certificates.caSecretName | default (ternary "ca-cert" (printf "%s-ca" (include "sallyport.fullname" .)) (eq (include "provider.mode" .) "secret")) -}}
{{- end -}}
{{- define "provider.clientSecretName" -}}
{{- .Values.certificates.clientSecretName | default (ternary "ccg-dll-cert" (printf "%s-client" (include "sallyport.fullname" .)) (eq (include "provider.mode" .) "secret")) -}}
{{- end -}}
{{- define "provider.serverSecretName" -}}
{{- .Values.certificates.serverSecretName | default (ternary "account-provider-cert" (printf "%s-server" (include "sallyport.fullname" .)) (eq (include "provider.mode" .) "secret")) -}}
{{- end -}}

{{/* In a values file of the chart before this one may stand a life alone, which has to be the longer of the two. */}}
{{- define "provider.caRenewBefore" -}}
{{- $authority := .Values.certificates.certManager.caCert -}}
{{- $hours := regexFind "^[0-9]+h" $authority.duration | trimSuffix "h" | int64 -}}
{{- if $authority.renewBefore -}}
{{ $authority.renewBefore }}
{{- else if gt $hours 1 -}}
{{ min 2880 (div $hours 2) }}h
{{- end -}}
{{- end -}}

{{/*
  Two providers that write the same host directory take the plugin away from each other. Only a cluster can tell, and a
  namespace says nothing: any release may have named any directory. Nodes are others where two selectors want other values of
  one label.
*/}}
{{- define "provider.refuseSharedHostDirectory" -}}
{{- $own := include "sallyport.fullname" . -}}
{{- $namespace := include "sallyport.namespace" . -}}
{{- $directory := include "provider.pluginNamespace" . -}}
{{- $nodes := merge (dict "kubernetes.io/os" "windows") .Values.nodeSelector -}}
{{- range (lookup "apps/v1" "DaemonSet" "" "").items -}}
{{- $same := and (eq .metadata.name $own) (eq .metadata.namespace $namespace) -}}
{{- if and (not $same) (eq (dig "labels" "sallyport.io/host-directory" "" .metadata) $directory) -}}
{{- $apart := false -}}
{{- $others := dig "spec" "template" "spec" "nodeSelector" dict . -}}
{{- range $label, $value := $nodes -}}
{{- if and (hasKey $others $label) (ne (get $others $label) $value) -}}
{{- $apart = true -}}
{{- end -}}
{{- end -}}
{{- if not $apart -}}
{{- fail (printf "The release %q of the namespace %q serves the host directory %q on the same nodes: give this one a pluginNamespace or a nodeSelector of its own." (dig "labels" "app.kubernetes.io/instance" .metadata.name .metadata) .metadata.namespace $directory) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
