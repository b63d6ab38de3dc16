/**
 * The directory login as a whole: its directory, its signing keys, its TLS listener, and the verifier that makes its tokens
 * good at the TokenReview webhook. Replicas share the signing keys and nothing else.
 * @module
 */
import { readFile } from "node:fs/promises";
import type { CancelTimer, Clock } from "../../clock.ts";
import { Directory } from "../../directory/directory.ts";
import { asSallyportError, configError, reasonOf, type ConfigFault } from "../../errors.ts";
import type { Log } from "../../observe/log.ts";
import type { LoginMetrics } from "../../observe/login-metrics.ts";
import { readAuthoritiesFile } from "../../pki/authorities-file.ts";
import { Secret } from "../../secret.ts";
import { readAccountFolder } from "../../secret-store/account-folder.ts";
import type { ImpersonationAccount } from "../../secret-store/secret-store.ts";
import { listen, type Listener, type TlsMaterial } from "../../server/listener.ts";
import type { IdentityMapper } from "../identity-mapper.ts";
import type { IdentityVerifier } from "../identity-verifier.ts";
import { createDirectoryMapper, type DirectoryIdentity } from "./directory-identity.ts";
import { createDirectoryVerifier } from "./directory-verifier.ts";
import { createLoginApplication } from "./login-application.ts";
import { LoginGuard } from "./login-guard.ts";
import type { LoginSettings } from "./login-settings.ts";
import { readSessionKeys, type SessionKeys } from "./session-keys.ts";
import { SessionTokens } from "./session-tokens.ts";

export interface RunningLogin {
  readonly addresses: readonly string[];
  readonly port: number;
  readonly verifier: IdentityVerifier<DirectoryIdentity>;
  readonly mapper: IdentityMapper<DirectoryIdentity>;
  stop(drainMs: number): Promise<void>;
}

const fileIntervalMs = 5000;

/** Starts it. Throws `E_CONFIG_INVALID`, `E_SESSION_KEYS`, `E_DIRECTORY_CREDENTIALS` or `E_LISTEN_FAILED`. */
export async function startLogin(
  settings: LoginSettings,
  { clock, log, metrics }: { readonly clock: Clock; readonly log: Log; readonly metrics: LoginMetrics },
): Promise<RunningLogin> {
  const faults: ConfigFault[] = [];
  const text = async (setting: string, path: string): Promise<string> => {
    try {
      return await readFile(path, "utf8");
    } catch (thrown) {
      faults.push({ setting, problem: reasonOf(thrown) });
      return "";
    }
  };
  const { directory: access } = settings;
  let certificateAuthority: string | undefined;
  if (access.certificateAuthority !== undefined) {
    const read = await readAuthoritiesFile(access.certificateAuthority);
    if (read.ok) certificateAuthority = read.pem;
    else faults.push({ setting: "directory.certificateAuthority", problem: read.problem });
  }
  const certificate = await text("certificate", settings.certificate);
  const privateKey = await text("key", settings.key);
  const keyText = await text("sessionKeys", settings.sessionKeys);
  if (faults.length > 0) throw configError(faults);

  let keys: SessionKeys = await readSessionKeys(new Secret(keyText));
  let account = await readAccountFolder(access.credentials);
  const directory = new Directory(
    {
      domain: access.domain.toLowerCase(),
      controllers:
        access.servers === undefined
          ? { from: "dns", domain: access.domain, site: access.site, security: "ldaps" }
          : { from: "list", servers: access.servers },
      trust: { certificateAuthority },
      serviceAccount: { name: nameOf(account), password: () => account.password },
      allowMail: access.allowMail,
      ...(access.searchBase === undefined ? {} : { searchBase: access.searchBase }),
      groups: access.groups,
    },
    { clock, log },
  );
  const tokens = new SessionTokens({
    keys: () => keys,
    issuer: settings.issuer,
    cluster: settings.cluster,
    clock,
  });
  const mapper = createDirectoryMapper({
    username: settings.username,
    usernamePrefix: settings.usernamePrefix,
    groupPrefix: settings.groupPrefix,
    names: { reservedPrefixes: ["system:"], allowed: settings.allowedNames },
  });
  const application = createLoginApplication({
    directory,
    tokens,
    mapper,
    guard: new LoginGuard({ clock, ...settings.limits }),
    groupFormat: settings.groupFormat,
    tokenLifetimeMs: settings.tokenLifetime,
    sessionLifetimeMs: settings.sessionLifetime,
    clock,
    log,
    metrics,
  });
  metrics.filesRead(clock.now());
  const tls = (chainPem: string, key: string): TlsMaterial => ({
    identities: [{ chainPem, privateKeyPem: new Secret(key) }],
  });
  let listener: Listener;
  try {
    listener = await listen({
      name: "login",
      addresses: [settings.listen],
      handler: await application.handler(),
      tls: tls(certificate, privateKey),
      // A refresh token travels in a header.
      limits: { connections: 2000, headerBytes: 32 * 1024, requestMs: 20_000 },
      log,
    });
  } catch (thrown) {
    directory.close();
    throw thrown;
  }
  log.info("login.keys-read", { keys: keys.ids });

  // What is mounted may change at any time: looked at often, used when it is right, left alone when it is not.
  let known = JSON.stringify([certificate, privateKey, keyText]);
  let cancel: CancelTimer = () => undefined;
  let stopped = false;
  const look = async (): Promise<void> => {
    try {
      const [nextCertificate, nextKey, nextKeys] = await Promise.all(
        [settings.certificate, settings.key, settings.sessionKeys].map((path) => readFile(path, "utf8")),
      );
      account = await readAccountFolder(access.credentials);
      const print = JSON.stringify([nextCertificate, nextKey, nextKeys]);
      if (print !== known && nextCertificate !== undefined && nextKey !== undefined) {
        keys = await readSessionKeys(new Secret(nextKeys ?? ""));
        listener.replaceTls(tls(nextCertificate, nextKey));
        known = print;
        log.info("login.keys-read", { keys: keys.ids });
      }
      metrics.filesRead(clock.now());
    } catch (thrown) {
      log.warn("login.keys-kept", { reason: asSallyportError(thrown).message });
    }
    if (!stopped) cancel = clock.after(fileIntervalMs, () => void look());
  };
  cancel = clock.after(fileIntervalMs, () => void look());

  return {
    addresses: listener.addresses,
    port: listener.port,
    verifier: createDirectoryVerifier({ tokens, recheck: settings.recheck ? directory : undefined }),
    mapper,
    async stop(drainMs) {
      stopped = true;
      cancel();
      await listener.close(drainMs);
      directory.close();
    },
  };
}

function nameOf(account: ImpersonationAccount): string {
  return /[=@\\]/.test(account.username) ? account.username : `${account.username}@${account.domainName}`;
}
