/**
 * The name of every log event, so that an alert rule written for one release still matches in the next.
 * Add a block per role; keep it in alphabetical order.
 * @module
 */
export type LogEvent =
  | AccountProviderEvent
  | AdmissionEvent
  | AuthenticatorEvent
  | DeliveryEvent
  | DirectoryEvent
  | HostEvent
  | KeyVaultEvent
  | KubernetesEvent
  | PluginEvent
  | ServiceEvent;

/** Life of any service. */
type ServiceEvent =
  | "log.lines-dropped"
  | "service.connection-evicted"
  | "service.drain-timed-out"
  | "service.draining"
  | "service.listening"
  | "service.ready"
  | "service.request"
  | "service.request-failed"
  | "service.stopped"
  | "service.tls-replaced";

/** The authenticator: its decisions (audit), its mappings and its conversation with STS. */
type AuthenticatorEvent =
  | "authenticator.certificate-kept"
  | "authenticator.certificate-rotated"
  | "authenticator.mapping-conflict"
  | "authenticator.mapping-refused"
  | "authenticator.mappings-kept"
  | "authenticator.mappings-loaded"
  | "authenticator.review"
  | "authenticator.status-failed"
  | "authenticator.sts-trouble";

type AccountProviderEvent =
  | "account-provider.mtls-disabled"
  | "certificates.fault"
  | "certificates.rotated"
  | "credentials.requested"
  | "secret.changed"
  | "secret.suspicious"
  | "secret.unusable";

/** Files and root store of the host. */
type HostEvent =
  | "host.cleaned"
  | "host.files-failed"
  | "host.files-missing"
  | "host.files-removed"
  | "host.files-written"
  | "host.left-alone"
  | "host.root-removed"
  | "host.root-trusted";

/** Reading from Azure Key Vault. */
type KeyVaultEvent =
  | "key-vault.answers-again"
  | "key-vault.input-forgotten"
  | "key-vault.read"
  | "key-vault.trouble";

/** Questions to Active Directory. */
type DirectoryEvent =
  | "directory.ambiguous"
  | "directory.authenticated"
  | "directory.refused"
  | "directory.unavailable"
  | "keytab.current"
  | "keytab.failed"
  | "keytab.switched"
  | "keytab.written"
  | "login.keys-kept"
  | "login.keys-read"
  | "login.refused"
  | "login.succeeded";

/** Reading Kubernetes objects, from a cluster or from a folder of manifests. */
type KubernetesEvent =
  | "kubernetes.credential-stale"
  | "kubernetes.listener-failed"
  | "kubernetes.object-accepted"
  | "kubernetes.object-refused"
  | "kubernetes.relist"
  | "kubernetes.stale"
  | "kubernetes.synced"
  | "kubernetes.tls-unverified"
  | "kubernetes.watch-restarted"
  | "manifests.fault"
  | "manifests.fault-cleared"
  | "manifests.notifications-unavailable";

/** The admission webhook. */
type AdmissionEvent =
  | "admission.any-caller"
  | "admission.authority-created"
  | "admission.authority-ended"
  | "admission.authority-fault"
  | "admission.authority-regenerated"
  | "admission.ca-bundle-repaired"
  | "admission.ca-bundle-written"
  | "admission.caller-refused"
  | "admission.certificate-kept"
  | "admission.certificate-rotated"
  | "admission.reviewed"
  | "admission.setting-unused";

/** The CCG plugin on a host: its files and its registration. */
type PluginEvent =
  | "plugin.drifted"
  | "plugin.file-in-use"
  | "plugin.installed"
  | "plugin.repair-failed"
  | "plugin.repaired"
  | "plugin.surrogate-ended"
  | "plugin.uninstalled"
  | "plugin.unregister-failed";

/** Delivery of credential specs to a container engine: every change that is made there (audit), and what is refused. */
type DeliveryEvent =
  | "delivery.config-created"
  | "delivery.config-removed"
  | "delivery.conflict"
  | "delivery.container"
  | "delivery.engine-away"
  | "delivery.engine-back"
  | "delivery.failed"
  | "delivery.remark"
  | "delivery.remark-cleared"
  | "delivery.service-updated";
