/**
 * The bundled account provider under load against a bare `node:https` server with the same certificates and the same body,
 * its memory, and its start. Client, provider and yardstick are processes of their own.
 * @module
 */
import { spawn, type ChildProcess } from "node:child_process";
import { closeSync, existsSync, openSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { systemClock } from "../src/clock.ts";
import { accountProviderFlags } from "../images/single-executable.ts";
import { createAuthority } from "../src/pki/authority.ts";
import {
  bundle,
  end,
  inTurn,
  median,
  privateMiB,
  residentMiB,
  type Bench,
  type BenchOptions,
  type Result,
} from "./measure.ts";

const object = "bench-creds";
const body = JSON.stringify({
  username: "svc-bench",
  password: "only for measuring",
  domainName: "contoso.example",
});

/** What the client is told to do. */
export interface Order {
  readonly port: number;
  readonly object: string;
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  /** The body that every answer must have. */
  readonly expected: string;
  /** Connections are kept; else each request has a new one, as the plugin makes them. */
  readonly kept: boolean;
  readonly callers: number;
  readonly milliseconds: number;
}

/** What the client saw. Times in milliseconds. */
export interface Load {
  readonly perSecond: number;
  readonly p50: number;
  readonly p99: number;
}

export interface YardstickMaterial {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  readonly body: string;
}

export const bench: Bench = {
  name: "account-provider",
  async run(options) {
    const folder = await mkdtemp(join(tmpdir(), "sallyport-bench-"));
    const children: ChildProcess[] = [];
    try {
      await mkdir(join(folder, "manifests"));
      await writeFile(join(folder, "manifests/secret.yaml"), secretManifest());
      const start = await measureStart(folder, options);
      const azure = await measureAzure(folder, options);
      return [start, ...azure, ...(await measureLoad(folder, options, children))];
    } finally {
      await Promise.all(children.map(end));
      await rm(folder, { recursive: true, force: true });
    }
  },
};

/** With the certificates that it makes itself, both identities among them: the default. */
async function measureStart(folder: string, { smoke }: BenchOptions): Promise<Result> {
  const times: number[] = [];
  for (let round = 0; round < (smoke ? 1 : 9); round++) {
    const began = performance.now();
    const provider = startProvider(folder, []);
    await provider.ready;
    times.push(performance.now() - began);
    await end(provider.child);
  }
  const typical = median(times);
  return {
    what: "start to ready, certificates made at start",
    measured: `${typical.toFixed(0)} ms`,
    goal: { text: "≤ 500 ms", met: typical <= 500 },
  };
}

/**
 * What reading Key Vault costs, and that it costs nothing where no account is kept in one. The identity has no client id: the
 * client libraries are loaded, and nothing leaves the machine (nor could it, behind a proxy that is not there).
 */
async function measureAzure(folder: string, { smoke }: BenchOptions): Promise<readonly Result[]> {
  const local = `{name: ${object}, source: folder, folder: ${JSON.stringify(join(folder, "manifests"))}}`;
  const vaulted =
    '{name: vaulted, source: azureKeyVault, secretUri: "https://contoso.vault.azure.net/secrets/a", identity: {type: workloadIdentity}}';
  const files = { without: join(folder, "without.yaml"), with: join(folder, "with.yaml") };
  await writeFile(files.without, `accounts: [${local}]`);
  await writeFile(
    files.with,
    `accounts: [${local}, ${vaulted}]\nazureKeyVault: {proxy: "http://127.0.0.1:1"}`,
  );
  const idle = async (file: string): Promise<number> => {
    const provider = startProvider(folder, [], { accounts: ["--accounts", file] });
    await provider.ready;
    await new Promise((resolve) => setTimeout(resolve, smoke ? 100 : 2_000));
    const mebibytes = residentMiB(provider.child.pid ?? 0);
    await end(provider.child);
    return mebibytes;
  };
  const pairs = await inTurn(
    smoke ? 1 : 3,
    () => idle(files.with),
    () => idle(files.without),
  );
  const [apart, plain] = [
    median(pairs.map(({ ours }) => ours)),
    median(pairs.map(({ yardstick }) => yardstick)),
  ];
  return [
    { what: "resident memory, accounts file without Key Vault", measured: `${plain.toFixed(1)} MiB` },
    { what: "  more with an account in Key Vault", measured: `${(apart - plain).toFixed(1)} MiB` },
  ];
}

async function measureLoad(
  folder: string,
  { smoke }: BenchOptions,
  children: ChildProcess[],
): Promise<readonly Result[]> {
  const { ca, client, server } = await writeCertificates(join(folder, "tls"));
  const settings = ["--tls-dir", join(folder, "tls"), "--no-legacy-plugin"];
  const provider = startProvider(folder, settings);
  children.push(provider.child);
  const port = await provider.ready;
  // The same service as the images start it.
  const small = startProvider(folder, settings, {
    hostFolder: "small-host",
    nodeFlags: accountProviderFlags,
  });
  children.push(small.child);
  const smallPort = await small.ready;
  const yardstick = spawn(process.execPath, [join(import.meta.dirname, "https-yardstick.ts")], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  children.push(yardstick);
  yardstick.stdin.end(JSON.stringify({ ca, ...server, body } satisfies YardstickMaterial));
  const yardstickPort = Number(await nextLine(yardstick));
  const caller = spawn(process.execPath, [join(import.meta.dirname, "https-client.ts")], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  children.push(caller);
  const answers = createInterface({ input: caller.stdout })[Symbol.asyncIterator]();
  const load = async (to: number, kept: boolean): Promise<Load> => {
    const order: Order = {
      port: to,
      object,
      ca,
      ...client,
      expected: body,
      kept,
      callers: 8,
      milliseconds: smoke ? 100 : 2_000,
    };
    caller.stdin.write(`${JSON.stringify(order)}\n`);
    const answer = await answers.next();
    if (answer.done === true) throw new Error("the client ended");
    return JSON.parse(answer.value) as Load;
  };

  const results: Result[] = [];
  const pid = provider.child.pid ?? 0;
  const smallPid = small.child.pid ?? 0;
  const idle = [residentMiB(pid), residentMiB(smallPid)] as const;
  for (const kept of [false, true]) {
    // All are warm before the first pair.
    for (const each of [port, smallPort, yardstickPort]) await load(each, kept);
    const pairs = await inTurn(
      smoke ? 1 : 7,
      () => load(port, kept),
      () => load(yardstickPort, kept),
    );
    const name = kept ? "kept connections" : "a new connection per request";
    const ratio = median(pairs.map((pair) => pair.ours.perSecond / pair.yardstick.perSecond));
    const show = (of: (load: Load) => number): string =>
      `${median(pairs.map((pair) => of(pair.ours))).toFixed(2)} / ${median(pairs.map((pair) => of(pair.yardstick))).toFixed(2)}`;
    results.push(
      {
        what: `${name}: requests/s, ratio`,
        measured: ratio.toFixed(2),
        goal: { text: "≥ 0.9", met: ratio >= 0.9 },
      },
      { what: `${name}: requests/s, ours / bare`, measured: show((each) => each.perSecond) },
      { what: `${name}: p50 ms, ours / bare`, measured: show((each) => each.p50) },
      { what: `${name}: p99 ms, ours / bare`, measured: show((each) => each.p99) },
    );
    const flags = await inTurn(
      smoke ? 1 : 5,
      () => load(smallPort, kept),
      () => load(port, kept),
    );
    results.push({
      what: `${name}: requests/s, image's flags / none, ratio`,
      measured: median(flags.map((pair) => pair.ours.perSecond / pair.yardstick.perSecond)).toFixed(2),
    });
  }
  const loaded = [residentMiB(pid), residentMiB(smallPid)] as const;
  const bare = residentMiB(yardstick.pid ?? 0);
  return [
    ...results,
    memory("resident memory, idle", idle[0]),
    memory("resident memory, after load", loaded[0]),
    memory("with the image's flags: resident memory, idle", idle[1]),
    memory("with the image's flags: resident, after load", loaded[1]),
    {
      what: "with the image's flags: of it private, after load",
      measured: `${privateMiB(smallPid).toFixed(1)} MiB`,
    },
    { what: "resident memory of bare node:https, after load", measured: `${bare.toFixed(1)} MiB` },
  ];
}

function memory(what: string, mebibytes: number): Result {
  return {
    what,
    measured: `${mebibytes.toFixed(1)} MiB`,
    goal: { text: "≤ 90 MiB", met: mebibytes <= 90 },
  };
}

interface ProviderProcess {
  /** Where the account is kept; default: in the folder of manifests. */
  readonly accounts?: readonly string[];
  /** Its host directory's name. */
  readonly hostFolder?: string;
  readonly nodeFlags?: readonly string[];
}

/** `ready` gives the port as a plugin would learn it. The log goes to a file, so that nobody's reading slows the service. */
function startProvider(
  folder: string,
  flags: readonly string[],
  { accounts, hostFolder = "host", nodeFlags = [] }: ProviderProcess = {},
): { readonly child: ChildProcess; readonly ready: Promise<number> } {
  const kept = accounts ?? ["--secret", object, "--manifests", join(folder, "manifests")];
  const settings = [...kept, "--host-dir", join(folder, hostFolder)];
  const words = ["account-provider", "run", "--namespace", "bench", ...settings, ...flags];
  const log = openSync(join(folder, "provider.log"), "a", 0o600);
  const child = spawn(process.execPath, [...nodeFlags, bundle, ...words], {
    stdio: ["ignore", "ignore", log],
    env: { ...process.env, KUBECONFIG: "" },
  });
  closeSync(log);
  const portFile = join(folder, hostFolder, "port.txt");
  const ready = (async () => {
    // A clean stop has removed the port file of the provider before this one.
    while (!existsSync(portFile)) {
      if (child.exitCode !== null) {
        const lines = readFileSync(join(folder, "provider.log"), "utf8");
        throw new Error(`the provider ended with ${child.exitCode}: ${lines.slice(-500)}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    return Number(readFileSync(portFile, "utf8"));
  })();
  return { child, ready };
}

interface PemPair {
  readonly cert: string;
  readonly key: string;
}

/** The layout of `--tls-dir`. */
async function writeCertificates(
  folder: string,
): Promise<{ readonly ca: string; readonly server: PemPair; readonly client: PemPair }> {
  const lifetimeMs = 3_600_000;
  const authority = await createAuthority({
    commonName: "bench",
    keyType: "ec-p256",
    lifetimeMs,
    clock: systemClock,
  });
  const issue = async (usage: "server" | "client"): Promise<PemPair> => {
    const dnsNames = usage === "server" ? ["localhost"] : [];
    const leaf = await authority.issue({
      commonName: usage,
      dnsNames,
      usage,
      keyType: "ec-p256",
      lifetimeMs,
    });
    const pair = { cert: leaf.certificatePem, key: leaf.privateKeyPem.reveal() };
    await mkdir(join(folder, usage), { recursive: true });
    await writeFile(join(folder, usage, "tls.crt"), pair.cert);
    await writeFile(join(folder, usage, "tls.key"), pair.key, { mode: 0o600 });
    return pair;
  };
  const [server, client] = [await issue("server"), await issue("client")];
  await mkdir(join(folder, "ca"));
  await writeFile(join(folder, "ca/ca.crt"), authority.certificatePem);
  return { ca: authority.certificatePem, server, client };
}

function secretManifest(): string {
  const secret = {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: object, namespace: "bench" },
    stringData: JSON.parse(body) as unknown,
  };
  // JSON is YAML.
  return JSON.stringify(secret);
}

async function nextLine(child: { readonly stdout: NodeJS.ReadableStream }): Promise<string> {
  for await (const line of createInterface({ input: child.stdout })) return line;
  throw new Error("the process ended without a word");
}
