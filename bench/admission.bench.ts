/**
 * The bundled admission webhook with a simulated API server that takes 5 ms an answer: 500 pods of four containers that
 * name two specs, through `/mutate` and `/validate`, 16 at a time; against the same pods with the cache of specs off, and
 * with access decisions used again. API server, caller and the three webhooks are processes of their own.
 * @module
 */
import { spawn, type ChildProcess } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { systemClock } from "../src/clock.ts";
import { createAuthority } from "../src/pki/authority.ts";
import { bundle, end, median, residentMiB, type Bench, type Result } from "./measure.ts";

/** What the caller is told to do. */
export interface PodOrder {
  readonly port: number;
  readonly ca: string;
  readonly pods: number;
  readonly atOnce: number;
  readonly specs: number;
  /** Keeps the service accounts of one load apart from another's. */
  readonly round: number;
}

/** What the caller saw; times of one pod, both webhooks, in milliseconds. */
export interface PodLoad {
  readonly perSecond: number;
  readonly p50: number;
  readonly p99: number;
}

interface Measured extends PodLoad {
  readonly gets: number;
  readonly reviews: number;
}

const latencyMs = 5;
const specs = 20;
const distinctSpecs = 2;
const variants = {
  ours: [],
  kept: ["--access-cache-ttl", "10s"],
  uncached: ["--no-spec-cache"],
} as const;
type Variant = keyof typeof variants;

export const bench: Bench = {
  name: "admission",
  async run({ smoke }) {
    const folder = await mkdtemp(join(tmpdir(), "sallyport-bench-"));
    const children: ChildProcess[] = [];
    const helper = (file: string, ...args: readonly string[]): Helper => {
      const child = spawn(process.execPath, [join(import.meta.dirname, file), ...args], {
        stdio: ["pipe", "pipe", "inherit"],
      });
      children.push(child);
      const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
      return {
        say: (order) => void child.stdin.write(`${JSON.stringify(order)}\n`),
        async hear() {
          const line = await lines.next();
          if (line.done === true) throw new Error(`${file} ended`);
          return line.value;
        },
      };
    };
    try {
      const api = helper("admission-api-server.ts", String(latencyMs), String(specs));
      const server = `http://127.0.0.1:${Number(await api.hear())}`;
      const certificates = await writeFiles(folder, server);
      const webhooks = {} as Record<Variant, { readonly port: number; readonly pid: number }>;
      for (const [name, flags] of Object.entries(variants) as [Variant, readonly string[]][]) {
        const { child, port } = await startWebhook(folder, name, flags);
        children.push(child);
        webhooks[name] = { port, pid: child.pid ?? 0 };
      }
      const idle = residentMiB(webhooks.ours.pid);
      const caller = helper("admission-client.ts");
      const pods = smoke ? 50 : 500;
      let round = 0;
      const measure = async (variant: Variant): Promise<Measured> => {
        await fetch(`${server}/counts`).then((answer) => answer.text());
        const { port } = webhooks[variant];
        caller.say({ port, ca: certificates.ca, pods, atOnce: 16, specs, round: round++ } satisfies PodOrder);
        const load = JSON.parse(await caller.hear()) as PodLoad;
        const counts = (await (await fetch(`${server}/counts`)).json()) as { gets: number; reviews: number };
        return { ...load, ...counts };
      };

      const rounds: Record<Variant, Measured>[] = [];
      for (let warm = 0; warm < (smoke ? 0 : 1); warm++)
        for (const variant of ["ours", "uncached", "kept"] as const) await measure(variant);
      for (let turn = 0; turn < (smoke ? 1 : 9); turn++) {
        rounds.push({
          ours: await measure("ours"),
          uncached: await measure("uncached"),
          kept: await measure("kept"),
        });
      }
      const over = (one: Variant, other: Variant, of: (load: Measured) => number): string =>
        median(rounds.map((each) => of(each[one]) / of(each[other]))).toFixed(2);
      const results = (what: string, variant: Variant, goals: Goals = {}): readonly Result[] => {
        const middle = (of: (load: Measured) => number): number =>
          median(rounds.map((each) => of(each[variant])));
        const each = (of: "gets" | "reviews"): number => middle((load) => load[of]) / pods;
        return [
          { what: `${what}: pods/s`, measured: middle((load) => load.perSecond).toFixed(0) },
          {
            what: "  one pod, p50 / p99 ms",
            measured: `${middle((load) => load.p50).toFixed(1)} / ${middle((load) => load.p99).toFixed(1)}`,
          },
          count("  GETs a pod", each("gets"), goals.gets),
          count("  access reviews a pod", each("reviews"), goals.reviews),
        ];
      };
      return [
        ...results(`${pods} pods of 4 containers, 2 specs`, "ours", { gets: 0, reviews: 2 * distinctSpecs }),
        ...results("decisions used again (ttl 10s)", "kept", { gets: 0, reviews: distinctSpecs }),
        ...results("cache of specs off", "uncached"),
        {
          what: "pods/s, ratio to the cache off",
          measured: over("ours", "uncached", (load) => load.perSecond),
        },
        { what: "  p99, ratio", measured: over("ours", "uncached", (load) => load.p99) },
        {
          what: "pods/s with ttl 10s, ratio to the cache off",
          measured: over("kept", "uncached", (load) => load.perSecond),
        },
        { what: "resident memory, idle", measured: `${idle.toFixed(1)} MiB` },
        {
          what: `resident memory, after ${(rounds.length * pods).toLocaleString("en")} pods`,
          measured: `${residentMiB(webhooks.ours.pid).toFixed(1)} MiB`,
        },
      ];
    } finally {
      await Promise.all(children.map(end));
      await rm(folder, { recursive: true, force: true });
    }
  },
};

interface Helper {
  say(order: unknown): void;
  hear(): Promise<string>;
}

interface Goals {
  readonly gets?: number;
  readonly reviews?: number;
}

function count(what: string, measured: number, goal: number | undefined): Result {
  return {
    what,
    measured: measured.toFixed(2),
    ...(goal === undefined ? {} : { goal: { text: String(goal), met: measured === goal } }),
  };
}

async function writeFiles(folder: string, server: string): Promise<{ readonly ca: string }> {
  const lifetimeMs = 24 * 3_600_000;
  const authority = await createAuthority({
    commonName: "bench",
    keyType: "ec-p256",
    lifetimeMs,
    clock: systemClock,
  });
  const issued = await authority.issue({
    commonName: "localhost",
    dnsNames: ["localhost"],
    usage: "server",
    keyType: "ec-p256",
    lifetimeMs,
  });
  const kubeconfig = {
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "bench", cluster: { server } }],
    users: [{ name: "bench", user: {} }],
    contexts: [{ name: "bench", context: { cluster: "bench", user: "bench" } }],
    "current-context": "bench",
  };
  await Promise.all([
    writeFile(join(folder, "tls.crt"), issued.certificatePem),
    writeFile(join(folder, "tls.key"), issued.privateKeyPem.reveal(), { mode: 0o600 }),
    writeFile(join(folder, "kubeconfig"), JSON.stringify(kubeconfig)),
  ]);
  return { ca: authority.certificatePem };
}

async function startWebhook(
  folder: string,
  name: string,
  flags: readonly string[],
): Promise<{ readonly child: ChildProcess; readonly port: number }> {
  const logFile = join(folder, `${name}.log`);
  const log = openSync(logFile, "a", 0o600);
  const words = [
    ...["admission", "run", "--host", "127.0.0.1", "--port", "0", "--operations-address", "127.0.0.1:0"],
    ...["--tls-crt", join(folder, "tls.crt"), "--tls-key", join(folder, "tls.key"), "--any-caller"],
    ...["--kubeconfig", join(folder, "kubeconfig"), "--linger", "0s", ...flags],
  ];
  const child = spawn(process.execPath, [bundle, ...words], { stdio: ["ignore", "ignore", log] });
  closeSync(log);
  for (;;) {
    const lines = readFileSync(logFile, "utf8").split("\n");
    const listening = lines.find((line) => line.includes('"listener":"admission"'));
    const synced = name === "uncached" || lines.some((line) => line.includes('"kubernetes.synced"'));
    if (listening !== undefined && synced) {
      const [address = ""] = (JSON.parse(listening) as { readonly addresses: readonly string[] }).addresses;
      return { child, port: Number(address.slice(address.lastIndexOf(":") + 1)) };
    }
    if (child.exitCode !== null) throw new Error(readFileSync(logFile, "utf8"));
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
