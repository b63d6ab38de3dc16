/**
 * Every error Sallyport can report: its stable code, the sentence that says what happened, what to do about it, and
 * how the process or the HTTP answer ends. `docs/reference/errors.md` is generated from this table and tested against it.
 *
 * Expected outcomes (a wrong password, a secret that is not there) are values, not errors, and have no entry here.
 * @module
 */

/** One row of the table. `{name}` in a sentence is replaced by the field of that name in the error's data. */
interface ErrorRow {
  /** What happened, as a sentence. */
  readonly message: string;
  /** What the operator can do, as a sentence. */
  readonly remedy: string;
  /** Exit code of the command that ends with this error: 1 it failed, 2 it was asked wrongly. */
  readonly exitCode: 1 | 2;
}

export const errorTable = {
  // Any command
  E_CONFIG_INVALID: {
    message: "The configuration has {count} fault(s):{faults}",
    remedy:
      "Correct every line above and start again; `--help` lists the flags, the reference what files may hold.",
    exitCode: 2,
  },
  E_NODE_VERSION: {
    message: "Sallyport needs Node 26, and this is Node {version}.",
    remedy: "Start it with Node 26, or use the image or the executable, which bring their own.",
    exitCode: 1,
  },
  E_INTERNAL: {
    message: "Sallyport met a fault of its own: {detail}",
    remedy: "Please report it with the log lines around it; no secret is in them.",
    exitCode: 1,
  },
  // Servers
  E_LISTEN_FAILED: {
    message: "Cannot listen on {address}: {detail}",
    remedy: "Free the address or choose another one.",
    exitCode: 1,
  },
  // Account provider
  E_HOST_DIRECTORY: {
    message: "Cannot {action} {path}: {detail}",
    remedy:
      "Give the account provider a host directory that it may write, or remove what stands in its way ({directory}).",
    exitCode: 1,
  },
  E_CERTIFICATES: {
    message: "The certificates in {path} cannot be used: {detail}",
    remedy:
      "Put ca/ca.crt, server/tls.crt, server/tls.key, client/tls.crt and client/tls.key there, the leaves signed by that authority, or leave --tls-dir out.",
    exitCode: 1,
  },
  E_KEY_VAULT_DIRECTORY_TAKEN: {
    message: "The host directory {path} belongs to the account provider of {owner}, which is running.",
    remedy:
      "Let one provider of a host answer Key Vault plugin input: take azureKeyVault.pluginInput out of the other's accounts file; or run `account-provider cleanup` for the owner's namespace, or delete the directory.",
    exitCode: 1,
  },
  // Authenticator
  E_AUTHENTICATOR_STATE: {
    message: "The state directory {directory} of the authenticator cannot be used: {detail}",
    remedy:
      "`sallyport authenticator init` makes cert.pem and key.pem where there are none; put a pair of your own there, or remove both.",
    exitCode: 1,
  },
  // RAM tokens and credentials
  E_RAM_CLUSTER_ID: {
    message: "The cluster id cannot be used: {problem}.",
    remedy: "Give the cluster's id with -i or --cluster-id: an ACK cluster's is c and 32 hexadecimal digits.",
    exitCode: 2,
  },
  E_RAM_NO_CREDENTIALS: {
    message: "There are no credentials of Alibaba Cloud. Tried in this order:{tried}",
    remedy: "Set one of them up, for example with `aliyun configure`.",
    exitCode: 1,
  },
  E_RAM_CREDENTIALS: {
    message: "The credentials of {source} cannot be used: {problem}",
    remedy: "{advice} `sallyport token --help` says where credentials are looked for.",
    exitCode: 1,
  },
  E_RAM_CLOCK: {
    message: "This machine's clock is {minutes} minutes {direction} the clock of {authority}.",
    remedy: "Set the clock (NTP): Alibaba Cloud accepts signatures of the last 15 minutes only.",
    exitCode: 1,
  },
  E_RAM_TOKEN_REFUSED: {
    message: "The token is not accepted: {detail}",
    remedy: "Make a new token with `sallyport token` for this cluster and with valid credentials.",
    exitCode: 1,
  },
  E_RAM_STS: {
    message: "STS cannot say whose token it is: {detail}",
    remedy: "Check the region, the endpoint and the network, then try again.",
    exitCode: 1,
  },
  E_MAPPING_NOT_ADDED: {
    message: "The mapping was not added: {detail}",
    remedy: "{advice} Nothing was changed.",
    exitCode: 1,
  },
  // Kubernetes
  E_CLUSTER_CONFIG: {
    message: "The cluster configuration ({where}) cannot be used: {detail}.",
    remedy: "Correct it, or name another one with --kubeconfig.",
    exitCode: 2,
  },
  E_CLUSTER_CREDENTIALS: {
    message: "There are no credentials for the cluster ({where}): {detail}.",
    remedy:
      "Make the file readable, or run by hand the command that the kubeconfig names to see what it says.",
    exitCode: 1,
  },
  // Certificates and keys
  E_PEM_INVALID: {
    message: "PEM text cannot be read: {detail}.",
    remedy: "Give the file as it was issued, with its BEGIN and END lines.",
    exitCode: 2,
  },
  E_CERTIFICATE_INVALID: {
    message: "A certificate cannot be read: {detail}.",
    remedy: "Give one X.509 certificate in PEM.",
    exitCode: 2,
  },
  E_AUTHORITY_UNUSABLE: {
    message: "The certificate authority {subject} cannot sign certificates: {detail}.",
    remedy: "Give an authority's certificate together with its own P-256, P-384 or RSA private key.",
    exitCode: 2,
  },
  E_PFX_UNSUITABLE: {
    message: "The identity cannot be written as a PFX file for the released plugin: {detail}.",
    remedy: "Give an RSA certificate with its own private key.",
    exitCode: 2,
  },
  E_CERTIFICATE_REQUEST_INVALID: {
    message: "No certificate can be issued for {subject}: {detail}.",
    remedy: "Shorten or correct the names that the certificate is to carry.",
    exitCode: 1,
  },
  // Admission webhook
  E_WEBHOOK_CERTIFICATE: {
    message: "The webhook's certificate in {path} cannot be used: {detail}",
    remedy: "Mount a certificate and its own private key in PEM, and name them with TLS_CRT and TLS_KEY.",
    exitCode: 2,
  },
  E_WEBHOOK_AUTHORITY: {
    message: "The webhook's certificate authority in the Secret {secret} cannot be used: {detail}.",
    remedy:
      "Check that the API server can be reached and the service account's Role for that Secret, or name another one with --ca-secret.",
    exitCode: 1,
  },
  // Delivery to a container engine
  E_ENGINE_UNREACHABLE: {
    message: "The container engine {engine} cannot be reached: {detail}",
    remedy: "Check that it runs, that this account may open its socket, and --host (DOCKER_HOST).",
    exitCode: 1,
  },
  E_ENGINE_TLS: {
    message: "No trusted connection to the container engine ({engine}): {detail}",
    remedy:
      "Give --cert-path (DOCKER_CERT_PATH) a folder with ca.pem, cert.pem and key.pem, and name the engine as its certificate does.",
    exitCode: 1,
  },
  E_ENGINE_TIMEOUT: {
    message: "The container engine {engine} did not answer within {milliseconds} ms.",
    remedy: "Check its load and, in a Swarm, that a majority of the managers is up; --timeout can be raised.",
    exitCode: 1,
  },
  E_ENGINE_ANSWER: {
    message: "The container engine {engine} cannot be understood: {detail}",
    remedy: "Make sure that --host (DOCKER_HOST) is the API of a Docker engine.",
    exitCode: 1,
  },
  E_ENGINE_REFUSED: {
    message: "The container engine {engine} refused {path} with status {status}: {detail}",
    remedy: "Follow its sentence; a Swarm needs a majority of its managers to answer.",
    exitCode: 1,
  },
  E_ENGINE_VERSION: {
    message: "The container engine {engine} speaks version {version} of the API.",
    remedy: "Credential specs as configs need {oldest} or later: Docker 19.03.",
    exitCode: 1,
  },
  E_ENGINE_ROLE: {
    message: "The container engine {engine} is part of a Swarm and cannot manage it (its state: {state}).",
    remedy: "Name a manager with --host (DOCKER_HOST); unlock or mend this one first if it is one.",
    exitCode: 1,
  },
  // CCG plugin on a host
  E_PLUGIN_HOST: {
    message: "The CCG plugin cannot work on this host: {reasons}.",
    remedy: "Use Windows Server 2019 or later for x64 with the feature Containers enabled.",
    exitCode: 1,
  },
  E_REGISTRY: {
    message: "The registry of this host cannot be read at {key}: {detail}.",
    remedy: "Run as SYSTEM or as an administrator; nothing is changed while it is unknown what is there.",
    exitCode: 1,
  },
  E_PLUGIN_FILE: {
    message: "The plugin {file} cannot be installed: {detail}.",
    remedy: "Name the released SallyportCcgPlugin.dll with --dll.",
    exitCode: 2,
  },
  E_PLUGIN_BUSY: {
    message: "Another process ({holder}) is changing this host's plugin.",
    remedy: "Wait for it, or delete {file} when no such process runs.",
    exitCode: 1,
  },
  E_PLUGIN_LOCK: {
    message: "The plugin of this host cannot be changed: the lock {file} cannot be made: {detail}.",
    remedy: "Run as SYSTEM or as an administrator.",
    exitCode: 1,
  },
  E_PLUGIN_ROLLBACK: {
    message: "The CCG plugin could not be installed: {detail}; and the host could not be put back: {left}.",
    remedy: "Run the installation again, or remove what is left with `sallyport plugin uninstall`.",
    exitCode: 1,
  },
  E_PLUGIN_INSTALL: {
    message: "The CCG plugin could not be installed, and the host is as it was before: {detail}.",
    remedy: "Run as SYSTEM or as an administrator; `sallyport plugin status` shows each link.",
    exitCode: 1,
  },
  E_PLUGIN_UNINSTALL: {
    message: "The CCG plugin could not be removed; left are: {left}.",
    remedy: "Run as SYSTEM or as an administrator, with no gMSA container starting, and try again.",
    exitCode: 1,
  },
  // Directory
  E_DIRECTORY_UNREACHABLE: {
    message: "No domain controller answers: {detail}",
    remedy:
      "Check the addresses, DNS and the firewall (TCP 636 or 389) between here and the domain controllers.",
    exitCode: 1,
  },
  E_DIRECTORY_TLS: {
    message: "The domain controller {server} cannot be trusted: {detail}",
    remedy:
      "Give the authority that signed its certificate, connect by a name the certificate holds, and have an expired one renewed.",
    exitCode: 1,
  },
  E_DIRECTORY_TIMEOUT: {
    message: "The directory did not answer in time ({detail}).",
    remedy: "Check the load of the domain controllers and the network; commands take a longer --timeout.",
    exitCode: 1,
  },
  E_DIRECTORY_PROTOCOL: {
    message: "The domain controller {server} broke the protocol: {detail}",
    remedy:
      "Make sure that the address is a domain controller's and that nothing between alters the traffic.",
    exitCode: 1,
  },
  E_DIRECTORY_RESULT: {
    message: "The domain controller {server} refused a request: {result} ({detail})",
    remedy:
      "Look the result code up in RFC 4511, appendix A, and the account's permissions in the directory.",
    exitCode: 1,
  },
  E_DIRECTORY_SERVICE_ACCOUNT: {
    message: "The domain controller {server} does not accept the service account: {reason}",
    remedy: "Correct the account's name or password, or unlock or enable it in the directory.",
    exitCode: 1,
  },
  E_DIRECTORY_ENTRY: {
    message: "The entry {dn} lacks a usable {attribute}.",
    remedy: "Let the service account read the attribute.",
    exitCode: 1,
  },
  E_DIRECTORY_TOO_MANY_GROUPS: {
    message: "The account is a member of more than {limit} groups.",
    remedy: "Take the account out of groups, or, for the login, raise `directory.groups.limit`.",
    exitCode: 1,
  },
  E_DIRECTORY_CREDENTIALS: {
    message: "The account that asks the directory cannot be read from {source}: {detail}.",
    remedy: "Give a Secret with the keys username, password and domainName.",
    exitCode: 1,
  },
  E_PASSWORD_INPUT: {
    message: "No password could be read: {detail}.",
    remedy: "Run the command at a terminal, or give the password on standard input with --password-stdin.",
    exitCode: 2,
  },
  // Login with a directory account
  E_SESSION_KEYS: {
    message: "The keys that sign sessions cannot be used: {detail}.",
    remedy: "Make a key set with `sallyport login-keys --file FILE` and mount the same one in every replica.",
    exitCode: 2,
  },
  E_LOGIN_REFUSED: {
    message: "The login was refused: {detail}",
    remedy: "Log in again with `sallyport login`.",
    exitCode: 1,
  },
  E_LOGIN_UNREACHABLE: {
    message: "The login endpoint {server} cannot be asked: {detail}.",
    remedy: "Check --server and --ca, and that the authenticator's login listener runs.",
    exitCode: 1,
  },
  // Managed passwords
  E_MANAGED_PASSWORD_ABSENT: {
    message: "There is no group managed service account {account} in {domain}.",
    remedy: "Check the name in the credential spec, and that the account was created in this domain.",
    exitCode: 1,
  },
  E_MANAGED_PASSWORD_NOT_PERMITTED: {
    message: "The account {reader} may not retrieve the password of {account}.",
    remedy:
      "Add the reader, or a group it is in, to PrincipalsAllowedToRetrieveManagedPassword (setting it replaces the list).",
    exitCode: 1,
  },
  E_KEYTAB_FILE: {
    message: "The keytab {path} cannot be written: {detail}.",
    remedy: "Give the path of an ordinary file, in a folder that this process may write.",
    exitCode: 1,
  },
  E_MANAGED_PASSWORD_BLOB: {
    message: "The managed password of {account} cannot be read: {detail}",
    remedy: "Make sure that the domain controller is healthy; nothing of the password was written anywhere.",
    exitCode: 1,
  },
} as const satisfies Readonly<Record<string, ErrorRow>>;

export type ErrorCode = keyof typeof errorTable;

/** Values that may stand in an error: never a secret, which has a type of its own (`secret.ts`). */
export type ErrorData = Readonly<Record<string, string | number | boolean>>;

/** Tells our errors from others; the same symbol for every copy of this module. */
const ours = Symbol.for("sallyport.error");

/** The one error class. Callers switch on {@link SallyportError.code}, never on the message. */
export class SallyportError extends Error {
  /** The released bundle holds this module twice, in its head and in its packed part: an error of one is an error of both. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return value instanceof Error && ours in value;
  }

  readonly code: ErrorCode;
  readonly data: ErrorData;

  /** @param data fills the `{name}` places of the table's sentences. */
  constructor(code: ErrorCode, data: ErrorData = {}, options: { readonly cause?: unknown } = {}) {
    super(fill(errorTable[code].message, data), options);
    this.name = "SallyportError";
    this.code = code;
    this.data = data;
  }

  get [ours](): true {
    return true;
  }

  /** What the operator can do about it. */
  get remedy(): string {
    return fill(errorTable[this.code].remedy, this.data);
  }

  get exitCode(): 1 | 2 {
    return errorTable[this.code].exitCode;
  }
}

/** One thing wrong with the configuration: the setting as its user knows it, and what is wrong with its value. */
export interface ConfigFault {
  readonly setting: string;
  readonly problem: string;
}

/** All faults of a configuration at once, so that its user corrects it once. */
export function configError(faults: readonly ConfigFault[]): SallyportError {
  return new SallyportError("E_CONFIG_INVALID", {
    count: faults.length,
    faults: faults.map((fault) => `\n  ${fault.setting}: ${fault.problem}`).join(""),
  });
}

/** Anything thrown, as an error with a code; what is not ours becomes `E_INTERNAL` with its message and no stack. */
export function asSallyportError(thrown: unknown): SallyportError {
  if (thrown instanceof SallyportError) return thrown;
  return new SallyportError("E_INTERNAL", { detail: reasonOf(thrown) }, { cause: thrown });
}

/** The short reason of anything thrown, for a log field or a sentence: a message or a system error code. */
export function reasonOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  if (thrown instanceof AggregateError && thrown.message === "") {
    return thrown.errors.map(reasonOf).join("; ");
  }
  // Node's advice about a switch of its own, which is not there in an image and trusts more than was asked for.
  const message = thrown.message.replace(/; if the root CA is installed locally, .*$/, "");
  return message === "" ? thrown.name : message;
}

/** The lines that a command prints on standard error: what happened and what to do, never a stack trace. */
export function describeForOperator(error: SallyportError): string {
  return `sallyport: ${error.message}\n  ${error.remedy} [${error.code}]`;
}

function fill(template: string, data: ErrorData): string {
  return template.replace(/\{(\w+)\}/g, (place, name: string) => (name in data ? String(data[name]) : place));
}
