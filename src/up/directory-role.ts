/**
 * The directory login under `sallyport up`: a directory simulator with the manifests' people, and the login that asks it.
 * The simulator stands in for Active Directory, which a laptop does not have; everything that asks it is the real thing.
 * @module
 */
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createSecureContext } from "node:tls";
import { LoginClient } from "../authenticator/login/login-client.ts";
import { readLoginSettings } from "../authenticator/login/login-settings.ts";
import { startLogin, type RunningLogin } from "../authenticator/login/login-service.ts";
import { rotateSessionKeys } from "../authenticator/login/session-keys.ts";
import type { Chain, ChainLink } from "../chain.ts";
import { Directory } from "../directory/directory.ts";
import { readSimulatedDomain } from "../directory-simulator/read-content.ts";
import { SimulatedDomain, type SimulatedPerson } from "../directory-simulator/simulated-domain.ts";
import { startDirectorySimulator } from "../directory-simulator/simulator.ts";
import { asSallyportError, configError } from "../errors.ts";
import { secretKind } from "../kubernetes/kinds.ts";
import type { ResourceSource } from "../kubernetes/resource-source.ts";
import { accountKeytabEntries } from "../managed-password/account-keytab.ts";
import { retrieveManagedPassword } from "../managed-password/retrieve.ts";
import { createAuthority } from "../pki/authority.ts";
import { createLoginMetrics } from "../observe/login-metrics.ts";
import { createRegistry } from "../observe/metrics.ts";
import { Secret } from "../secret.ts";
import type { Role, RoleContext } from "./role.ts";
import { version } from "../version.ts";

/** Label of the Secret whose `directory.yaml` is the simulator's content. */
const simulatedDirectoryLabel = "sallyport.dev/simulated-directory";
const lifetimeMs = 24 * 3_600_000;

export const directoryRole: Role = {
  name: "directory login",
  async start(context) {
    const text = await contentIn(context.source, context.signal);
    if (text === undefined) return undefined;
    const read = readSimulatedDomain(text);
    if (!read.ok)
      throw configError(read.problems.map((problem) => ({ setting: "simulated directory", problem })));
    const { content } = read;
    const reader = content.people.find(({ state }) => state === undefined || state === "enabled");
    if (reader === undefined)
      throw configError([{ setting: "simulated directory", problem: "nobody in it can log in" }]);

    const domain = new SimulatedDomain(content, context.clock);
    const authority = await createAuthority({
      commonName: "Sallyport directory simulator",
      keyType: "ec-p256",
      lifetimeMs,
      clock: context.clock,
    });
    const issued = await authority.issue({
      commonName: `dc1.${content.domain}`,
      usage: "server",
      keyType: "ec-p256",
      lifetimeMs,
      ipAddresses: ["127.0.0.1"],
      dnsNames: [`dc1.${content.domain}`, "localhost"],
    });
    const certificate = createSecureContext({ cert: issued.chainPem, key: issued.privateKeyPem.reveal() });
    const simulator = await startDirectorySimulator({
      domain,
      host: "127.0.0.1",
      port: 0,
      security: "ldaps",
      secureContext: () => certificate,
    });
    const server = `ldaps://127.0.0.1:${simulator.port}`;
    try {
      const files = await writeFiles(
        context,
        authority.certificatePem,
        issued.chainPem,
        issued.privateKeyPem,
        reader,
        content.domain,
      );
      const { settings, faults } = readLoginSettings(
        JSON.stringify(loginSettings(files, server, content.domain)),
      );
      if (settings === undefined) throw configError(faults);
      const login = await startLogin(settings, {
        clock: context.clock,
        log: context.log.with({ role: "login" }),
        metrics: createLoginMetrics(createRegistry(version)),
      });
      const directory = new Directory({
        domain: content.domain,
        controllers: {
          from: "list",
          servers: [{ host: "127.0.0.1", port: simulator.port, security: "ldaps" }],
        },
        trust: { certificateAuthority: authority.certificatePem },
        serviceAccount: {
          name: `${reader.accountName}@${content.domain}`,
          password: new Secret(reader.password),
        },
      });
      return {
        listens: [
          { what: `directory simulator of ${content.domain} (no AD)`, where: server },
          { what: "  the authority to trust for both", where: files.authority },
          { what: "directory login of the authenticator", where: `https://${login.addresses.join(", ")}` },
        ],
        check: async () => [
          await checkLogin(directory, login, authority.certificatePem, content.people),
          ...(await Promise.all(
            content.managedAccounts.map(({ name }) => checkManaged(directory, content.domain, name, context)),
          )),
        ],
        async stop() {
          directory.close();
          await login.stop(0);
          await simulator.close();
        },
      };
    } catch (error) {
      await simulator.close();
      throw error;
    }
  },
};

async function contentIn(source: ResourceSource, signal: AbortSignal): Promise<string | undefined> {
  const secrets = source.watch({ kind: secretKind });
  try {
    await secrets.synced(signal);
    const labelled = secrets
      .list()
      .find((object) => object.metadata.labels?.[simulatedDirectoryLabel] === "true");
    const data = labelled?.["data"] as Readonly<Record<string, unknown>> | undefined;
    const encoded = data?.["directory.yaml"];
    return typeof encoded === "string" ? Buffer.from(encoded, "base64").toString("utf8") : undefined;
  } finally {
    await secrets.close();
  }
}

interface LoginFiles {
  readonly authority: string;
  readonly certificate: string;
  readonly key: string;
  readonly sessionKeys: string;
  readonly account: string;
}

async function writeFiles(
  { stateFolder }: RoleContext,
  authorityPem: string,
  chainPem: string,
  key: Secret,
  reader: SimulatedPerson,
  domain: string,
): Promise<LoginFiles> {
  const files: LoginFiles = {
    authority: join(stateFolder, "ca.crt"),
    certificate: join(stateFolder, "tls.crt"),
    key: join(stateFolder, "tls.key"),
    sessionKeys: join(stateFolder, "session-keys.json"),
    account: join(stateFolder, "account"),
  };
  await mkdir(files.account, { recursive: true, mode: 0o700 });
  const contents: readonly (readonly [string, string])[] = [
    [files.authority, authorityPem],
    [files.certificate, chainPem],
    [files.key, key.reveal()],
    [files.sessionKeys, await rotateSessionKeys(undefined)],
    [join(files.account, "username"), reader.accountName],
    [join(files.account, "password"), reader.password],
    [join(files.account, "domainName"), domain],
  ];
  for (const [path, text] of contents) {
    await writeFile(path, text, { mode: 0o600 });
    await chmod(path, 0o600);
  }
  return files;
}

function loginSettings(files: LoginFiles, server: string, domain: string): object {
  return {
    directory: {
      domain,
      servers: [server],
      certificateAuthority: files.authority,
      credentials: files.account,
    },
    listen: "127.0.0.1:0",
    certificate: files.certificate,
    key: files.key,
    sessionKeys: files.sessionKeys,
    cluster: "local",
    issuer: "https://localhost/sallyport",
  };
}

/** Walks a chain until a link breaks. */
class Walk {
  readonly links: ChainLink[] = [];

  async step(link: string, remedy: string, look: () => Promise<string>): Promise<boolean> {
    if (this.links.some(({ holds }) => !holds)) return false;
    try {
      this.links.push({ link, holds: true, detail: await look() });
      return true;
    } catch (thrown) {
      this.links.push({ link, holds: false, detail: asSallyportError(thrown).message, remedy });
      return false;
    }
  }
}

async function checkLogin(
  directory: Directory,
  login: RunningLogin,
  authorityPem: string,
  people: readonly SimulatedPerson[],
): Promise<Chain> {
  const usable = people.filter(({ state }) => state === undefined || state === "enabled");
  const person =
    usable.find(({ memberOf }) => (memberOf ?? []).length > 0 && memberOf !== undefined) ?? usable[0];
  const walk = new Walk();
  const remedy = "see the log of the directory login role";
  let token = "";
  if (person !== undefined) {
    await walk.step("domain controller", remedy, async () => {
      const { domain, netbiosName, lockoutThreshold } = await directory.facts();
      return `${domain} (${netbiosName ?? "?"}), locks an account after ${lockoutThreshold} wrong passwords`;
    });
    await walk.step("person found", remedy, async () => {
      const found = await directory.resolve(person.accountName);
      if (found.outcome !== "found") throw new Error(`${person.accountName} is ${found.outcome}`);
      return `${found.person.dn}, in ${found.groups.map(({ name }) => name).join(", ")}`;
    });
    const client = new LoginClient(`https://127.0.0.1:${login.port}`, authorityPem);
    await walk.step("wrong password", remedy, async () => {
      const answer = await client.login(person.accountName, new Secret(`not ${person.password}`));
      if (answer.outcome === "session") throw new Error("it was accepted");
      return `refused with status ${answer.status}`;
    });
    await walk.step("login", remedy, async () => {
      const answer = await client.login(person.accountName, new Secret(person.password));
      if (answer.outcome !== "session") throw new Error(answer.message);
      token = answer.session.token;
      return `a session until ${answer.session.sessionEndsAt}`;
    });
    await walk.step("token review", remedy, async () => {
      const verified = await login.verifier.verify(token);
      if (verified.outcome !== "verified") throw new Error(verified.reason);
      const mapped = login.mapper.map(verified.identity);
      if (mapped.outcome !== "mapped") throw new Error(mapped.detail ?? mapped.reason);
      return `${mapped.user.username}, groups ${mapped.user.groups.join(", ")}`;
    });
  }
  return {
    name: "A person logs in to the cluster with a directory account (simulated directory)",
    links: walk.links,
  };
}

async function checkManaged(
  directory: Directory,
  domain: string,
  name: string,
  { clock }: RoleContext,
): Promise<Chain> {
  const walk = new Walk();
  await walk.step("managed password", "name the reader under `readers` of the managed account", async () => {
    const retrieval = await retrieveManagedPassword(directory, domain, name, { clock });
    if (retrieval.outcome !== "retrieved") throw new Error(`${name} is ${retrieval.outcome}`);
    const entries = accountKeytabEntries(retrieval, { realm: domain.toUpperCase(), now: clock.now() });
    return `${retrieval.account.accountName}: ${entries.length} keytab entries of version ${retrieval.currentVersion}`;
  });
  return { name: `A Linux workload becomes ${name} (simulated directory)`, links: walk.links };
}
