/**
 * The account provider as a whole: starts in the order that lets no plugin see half of it (secrets, certificates,
 * listener, files, and last the port), follows changes, and stops in the reverse order.
 * @module
 */
import { systemClock, type Clock } from "../clock.ts";
import { reasonOf } from "../errors.ts";
import { createAccountProviderMetrics } from "../observe/account-provider-metrics.ts";
import type { Log } from "../observe/log.ts";
import type { Registry } from "../observe/metrics.ts";
import { unusableBecause, type SecretStore, type StoreStatus } from "../secret-store/secret-store.ts";
import { listen, loopbackAddresses, type Listener } from "../server/listener.ts";
import { createOperations, type Readiness, type ReadinessCheck } from "../server/operations.ts";
import { createTrustedRoots, type TrustedRoots } from "../windows-host/trusted-roots.ts";
import type { WindowsHost } from "../windows-host/windows-host.ts";
import { createCredentialsApplication } from "./credentials-application.ts";
import { HostDirectory } from "./host-directory.ts";
import { keepHostFiles, type HostFilesKeeper } from "./host-files-keeper.ts";
import {
  claimKeyVaultDirectory,
  confirmKeyVaultDirectory,
  keyVaultDirectoryBeside,
} from "./key-vault-directory.ts";
import type { KeyVaultInputs } from "./key-vault-inputs.ts";
import type { CertificateSet, ProviderCertificates } from "./provider-certificates.ts";
import type { AccountProviderSettings } from "./settings.ts";

export interface AccountProviderParts {
  readonly store: SecretStore;
  /** Answers Key Vault plugin input; the provider closes it. Absent: such inputs are refused. */
  readonly keyVaultInputs?: KeyVaultInputs | undefined;
  /** Absent with `--disable-mtls`. */
  readonly certificates: ProviderCertificates | undefined;
  /** Absent where access lists are file modes. */
  readonly windows: WindowsHost | undefined;
  readonly registry: Registry;
  readonly log: Log;
  readonly clock?: Clock;
}

export interface RunningAccountProvider {
  readonly port: number;
  readonly addresses: readonly string[];
  readonly operationsAddresses: readonly string[];
  readonly hostDirectory: HostDirectory;
  /** The reserved one for Key Vault plugin input. */
  readonly keyVaultDirectory: HostDirectory | undefined;
  /** Removes the port, drains for at most the configured time, removes the other files. */
  stop(): Promise<void>;
}

/**
 * @throws {SallyportError} `E_LISTEN_FAILED`, `E_HOST_DIRECTORY`, `E_KEY_VAULT_DIRECTORY_TAKEN`; nothing is left behind then. Rejects with the signal's
 * reason when it is aborted before the provider is up.
 */
export async function startAccountProvider(
  settings: AccountProviderSettings,
  parts: AccountProviderParts,
  signal: AbortSignal,
): Promise<RunningAccountProvider> {
  const { certificates, keyVaultInputs, log, registry, store, windows } = parts;
  const clock = parts.clock ?? systemClock;
  let listener: Listener | undefined;
  let storeReady = false;
  let hostFiles: HostFilesKeeper | undefined;
  const metrics = createAccountProviderMetrics(registry, {
    storeConfirmedAt: () => store.status().confirmedAt,
    accountsConfirmedAt() {
      const named = settings.secrets === "all" ? [] : settings.secrets;
      const inputs = keyVaultInputs?.status();
      return [
        ...named.map((name) => [name, store.statusOf(name)?.confirmedAt ?? 0] as const),
        ...(inputs === undefined ? [] : [["plugin-input", inputs.confirmedAt] as const]),
      ];
    },
    serverCertificateNotAfter: () => certificates?.current().serverNotAfter ?? 0,
    connections: () => listener?.connections() ?? 0,
  });
  const hostDirectory = new HostDirectory(settings.hostDirectory, windows);
  const keyVaultDirectory =
    keyVaultInputs === undefined
      ? undefined
      : new HostDirectory(keyVaultDirectoryBeside(settings.hostDirectory), windows);
  /** Every directory in which a plugin may look for us. */
  const directories = [hostDirectory, ...(keyVaultDirectory === undefined ? [] : [keyVaultDirectory])];
  const roots = windows === undefined ? undefined : createTrustedRoots(settings.hostDirectory, windows, log);
  if (certificates === undefined) {
    log.warn("account-provider.mtls-disabled", {
      risk: "every process of this host can ask for the password; the plugins cannot",
    });
  }

  const operations = createOperations({
    log,
    registry,
    checks: [
      ...readinessChecks(settings, store, keyVaultInputs, certificates, clock, () => storeReady),
      ...(settings.writeHostFiles
        ? [{ name: "host files", check: () => hostFiles?.readiness() ?? notWritten }]
        : []),
    ],
  });
  const operationsListener = await listen({
    name: "operations",
    addresses: [settings.operationsAddress],
    handler: await operations.handler(),
    log,
  });
  const undo: (() => Promise<unknown>)[] = [() => operationsListener.close(0)];
  try {
    // A plugin that asks before the secrets are read would be told that there are none.
    await store.ready(signal);
    storeReady = true;
    for (const name of settings.secrets === "all" ? [] : settings.secrets) watchAccount(name);
    store.onChange(watchAccount);

    const application = createCredentialsApplication({
      namespace: settings.namespace,
      store,
      keyVaultInputs,
      ...(certificates === undefined
        ? {}
        : { acceptsClient: (client) => certificates.acceptsClient(client) }),
      clock,
      log,
      metrics,
    });
    if (settings.writeHostFiles && keyVaultDirectory !== undefined) {
      await claimKeyVaultDirectory(keyVaultDirectory, settings.namespace);
      undo.push(() => removeOwnFiles(keyVaultDirectory, undefined, log, settings.namespace));
    }
    const running = await listen({
      name: "credentials",
      addresses: loopbackAddresses(settings.port),
      handler: await application.handler(),
      ...(certificates === undefined ? {} : { tls: certificates.current().tls }),
      log,
    });
    listener = running;
    if (settings.writeHostFiles) undo.push(() => removeOwnFiles(hostDirectory, roots, log));
    undo.push(() => running.close(settings.drainMs));
    if (settings.writeHostFiles) {
      for (const directory of directories) undo.push(() => directory.withdrawPort(running.port));
    }

    const files = new LatestOnly(async (set: CertificateSet) => {
      for (const directory of directories) await directory.writeClientFiles(set.clientFiles);
      const failures = await roots?.replace(set.authorities);
      for (const failure of failures ?? []) {
        metrics.hostFilesFailed();
        log.error("host.files-failed", { reason: failure });
      }
      certificates?.confirmPublished(set);
      log.info("host.files-written", { directories: directories.map(({ path }) => path) });
    });
    const writeClientFiles = async (to: readonly HostDirectory[]): Promise<void> => {
      for (const directory of to) await directory.prepare();
      if (certificates !== undefined) await files.run(certificates.current());
    };
    if (settings.writeHostFiles) await writeClientFiles(directories);
    certificates?.onChange((set) => {
      metrics.certificateRotated();
      running.replaceTls(set.tls);
      log.info("certificates.rotated", { notAfter: new Date(set.serverNotAfter).toISOString() });
      if (!settings.writeHostFiles) {
        certificates.confirmPublished(set);
        return;
      }
      files.run(set).catch((error: unknown) => {
        metrics.hostFilesFailed();
        log.error("host.files-failed", { reason: reasonOf(error) });
      });
    });
    if (settings.writeHostFiles) {
      for (const directory of directories) await directory.writePort(running.port);
      if (keyVaultDirectory !== undefined)
        await confirmKeyVaultDirectory(keyVaultDirectory, settings.namespace);
      const keeper = keepHostFiles({
        directories,
        port: running.port,
        withAuthorities: certificates !== undefined,
        async write(to) {
          if (keyVaultDirectory !== undefined && to.includes(keyVaultDirectory))
            await claimKeyVaultDirectory(keyVaultDirectory, settings.namespace);
          await writeClientFiles(to);
          for (const directory of to) await directory.writePort(running.port);
        },
        clock,
        log,
      });
      hostFiles = keeper;
      undo.push(() => keeper.stop());
    }
    log.info("service.ready", { serves: store.describe() });
    return {
      port: running.port,
      addresses: running.addresses,
      operationsAddresses: operationsListener.addresses,
      hostDirectory,
      keyVaultDirectory,
      async stop() {
        log.info("service.draining");
        certificates?.close();
        await files.idle();
        for (const step of undo.toReversed()) await step();
        await keyVaultInputs?.close();
        log.info("service.stopped");
      },
    };
  } catch (error) {
    certificates?.close();
    for (const step of undo.toReversed()) await step().catch(() => undefined);
    await keyVaultInputs?.close();
    throw error;
  }

  /** Logs and counts what is wrong with an account, once per change. */
  function watchAccount(name: string): void {
    const secret = `${settings.namespace}/${name}`;
    const found = store.find(name);
    if (found.outcome === "missing") {
      metrics.accountProblems(name, []);
      log.warn("secret.unusable", { secret, problem: "it is not there" });
    } else if (found.outcome === "invalid") {
      metrics.accountProblems(name, [found]);
      // With --all-secrets, most secrets of the namespace are no accounts at all.
      log[settings.secrets === "all" ? "debug" : "warn"]("secret.unusable", {
        secret,
        key: found.key,
        problem: found.problem,
      });
    } else if (found.outcome !== "found") {
      metrics.accountProblems(name, [{ key: "value", problem: found.outcome }]);
      log.warn("secret.unusable", { secret, problem: unusableBecause(found) });
    } else {
      metrics.accountProblems(name, found.warnings);
      for (const { key, problem } of found.warnings) log.warn("secret.suspicious", { secret, key, problem });
      log.info("secret.changed", { secret });
    }
  }
}

const notWritten: Readiness = { ready: false, reason: "not written yet" };

function readinessChecks(
  settings: AccountProviderSettings,
  store: SecretStore,
  keyVaultInputs: KeyVaultInputs | undefined,
  certificates: ProviderCertificates | undefined,
  clock: Clock,
  storeReady: () => boolean,
): readonly ReadinessCheck[] {
  const source: ReadinessCheck = {
    name: "source",
    check: () => sourceReadiness(store.status(), clock.now()),
  };
  const secrets: readonly ReadinessCheck[] =
    settings.secrets === "all"
      ? []
      : settings.secrets.map((name) => ({
          name: `secret ${settings.namespace}/${name}`,
          check: () =>
            storeReady()
              ? secretReadiness(store, name, clock.now())
              : { ready: false, reason: "not read yet" },
        }));
  const certificate: ReadinessCheck = {
    name: "certificate",
    check() {
      if (certificates === undefined) return { ready: true, note: "mutual TLS is off" };
      const left = certificates.current().serverNotAfter - clock.now();
      if (left <= 0) return { ready: false, reason: `expired ${seconds(-left)} ago` };
      const fault = certificates.fault();
      return fault === undefined
        ? { ready: true }
        : { ready: true, note: `${fault}; the present one ends in ${seconds(left)}` };
    },
  };
  const inputs: readonly ReadinessCheck[] =
    keyVaultInputs === undefined
      ? []
      : [
          {
            name: "key vault plugin input",
            check() {
              const status = keyVaultInputs.status();
              return status === undefined
                ? { ready: true }
                : { ready: true, ...staleness(status, clock.now()) };
            },
          },
        ];
  return [source, ...secrets, ...inputs, certificate];
}

function sourceReadiness(status: StoreStatus, now: number): Readiness {
  const reason = status.reason ?? "no reason given";
  if (status.state === "syncing") return { ready: false, reason: `not read yet: ${reason}` };
  return { ready: true, ...staleness(status, now) };
}

function staleness({ state, confirmedAt, reason }: StoreStatus, now: number): { readonly note?: string } {
  if (state === "synced") return {};
  return {
    note: `stale for ${seconds(now - confirmedAt)}, the last good state is served: ${reason ?? "no reason given"}`,
  };
}

function secretReadiness(store: SecretStore, name: string, now: number): Readiness {
  const found = store.find(name);
  if (found.outcome === "invalid")
    return { ready: false, reason: `its ${keyWords(found.key)} is ${found.problem}` };
  if (found.outcome !== "found") return { ready: false, reason: unusableBecause(found) };
  const status = store.statusOf(name);
  return status === undefined ? { ready: true } : { ready: true, ...staleness(status, now) };
}

function keyWords(key: string): string {
  return key === "value" ? key : `key ${key}`;
}

function seconds(milliseconds: number): string {
  return `${Math.max(0, Math.round(milliseconds / 1000))} s`;
}

/** A successor may already have put its own files there: then they are not ours to remove. */
async function removeOwnFiles(
  directory: HostDirectory,
  roots: TrustedRoots | undefined,
  log: Log,
  owner?: string,
): Promise<void> {
  const foreign = owner !== undefined && (await directory.readOwner()) !== owner;
  if (foreign || !(await directory.holdsOwnFiles())) {
    log.info("host.left-alone", {
      directory: directory.path,
      reason: "another account provider has taken over",
    });
    return;
  }
  const failures = [...((await roots?.replace([])) ?? []), ...(await directory.remove())];
  for (const reason of failures) log.warn("host.files-failed", { reason });
  log.info("host.files-removed", { directory: directory.path });
}

/** Runs one job at a time; of the jobs that arrive meanwhile only the last is run. */
class LatestOnly<T> {
  readonly #work: (input: T) => Promise<void>;
  #running: Promise<void> | undefined;
  #next: { readonly input: T } | undefined;

  constructor(work: (input: T) => Promise<void>) {
    this.#work = work;
  }

  async run(input: T): Promise<void> {
    this.#next = { input };
    this.#running ??= this.#drain().finally(() => {
      this.#running = undefined;
    });
    await this.#running;
  }

  async idle(): Promise<void> {
    await this.#running?.catch(() => undefined);
  }

  async #drain(): Promise<void> {
    while (this.#next !== undefined) {
      const { input } = this.#next;
      this.#next = undefined;
      await this.#work(input);
    }
  }
}
