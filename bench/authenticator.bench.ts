/**
 * The bundled authenticator under load with a simulated STS that takes 20 ms: known tokens, new tokens, and a flood of
 * foreign bearer tokens against a bare `node:https` server; what looking up a mapping costs, and the memory. Client,
 * authenticator and yardstick are processes of their own.
 * @module
 */
import { spawn, type ChildProcess } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { MappingIndex } from "../src/authenticator/mapping/mapping-index.ts";
import { readMapping } from "../src/authenticator/mapping/mapping.ts";
import { startStsSimulator, type SimulatedAccessKey } from "../src/authenticator/ram/sts-simulator.ts";
import { mintToken } from "../src/authenticator/ram/token.ts";
import { ensurePair } from "../src/authenticator/server-certificate.ts";
import { renderDenied } from "../src/authenticator/token-review.ts";
import { systemClock } from "../src/clock.ts";
import { silentLog } from "../src/observe/log.ts";
import { Secret } from "../src/secret.ts";
import { bundle, end, inTurn, median, residentMiB, type Bench, type Result } from "./measure.ts";

/** What the client is told to do. */
export interface ReviewOrder {
  readonly port: number;
  readonly ca: string;
  /** One token a line; taken in turn. */
  readonly tokensFile: string;
  readonly reviews: number;
  readonly connections: number;
  /** What every answer must hold. */
  readonly expected: string;
}

/** What the client saw. Times in milliseconds. */
export interface ReviewLoad {
  readonly perSecond: number;
  readonly p50: number;
  readonly p99: number;
}

const account = "1234567890123456";
const clusterId = "cbench";
const connections = 32;
const stsLatencyMs = 20;

export const bench: Bench = {
  name: "authenticator",
  async run({ smoke }) {
    const folder = await mkdtemp(join(tmpdir(), "sallyport-bench-"));
    const children: ChildProcess[] = [];
    const keys = Array.from({ length: 500 }, (_, at) => accessKey(at));
    const sts = await startStsSimulator({ accessKeys: keys, clock: systemClock, log: silentLog });
    sts.setFault({ fault: "latency", milliseconds: stsLatencyMs });
    try {
      const { child, port, ca, pair } = await startAuthenticator(folder, sts.origin, sts.authoritiesPem);
      children.push(child);
      const yardstick = spawn(process.execPath, [join(import.meta.dirname, "review-yardstick.ts")], {
        stdio: ["pipe", "pipe", "inherit"],
      });
      children.push(yardstick);
      yardstick.stdin.end(
        JSON.stringify({ ...pair, body: renderDenied("authentication.k8s.io/v1", "foreign") }),
      );
      const yardstickPort = Number(await nextLine(yardstick));
      const caller = spawn(process.execPath, [join(import.meta.dirname, "review-client.ts")], {
        stdio: ["pipe", "pipe", "inherit"],
      });
      children.push(caller);
      const answers = createInterface({ input: caller.stdout })[Symbol.asyncIterator]();
      const load = async (
        to: number,
        name: string,
        reviews: number,
        expected: string,
      ): Promise<ReviewLoad> => {
        const tokensFile = join(folder, name);
        caller.stdin.write(
          `${JSON.stringify({ port: to, ca, tokensFile, reviews, connections, expected } satisfies ReviewOrder)}\n`,
        );
        const answer = await answers.next();
        if (answer.done === true) throw new Error("the client ended");
        return JSON.parse(answer.value) as ReviewLoad;
      };

      const pid = child.pid ?? 0;
      const idle = residentMiB(pid);
      const reviews = smoke ? 1_000 : 20_000;
      const calls = (): number => sts.calls()["GetCallerIdentity"] ?? 0;
      const started = Date.now();
      await writeFile(join(folder, "known"), keys.map((key) => tokenOf(key, started)).join("\n"));
      const known = await load(port, "known", reviews, '"authenticated":true');
      const knownCalls = calls();

      const distinct = Array.from({ length: reviews }, (_, at) =>
        tokenOf(
          keys[at % keys.length] ?? accessKey(0),
          started - 60_000 - 1_000 * Math.floor(at / keys.length),
        ),
      );
      await writeFile(join(folder, "distinct"), distinct.join("\n"));
      const fresh = await load(port, "distinct", reviews, '"authenticated":true');
      const freshCalls = calls() - knownCalls;
      const loaded = residentMiB(pid);

      await writeFile(join(folder, "foreign"), Array.from({ length: 100 }, foreignToken).join("\n"));
      const pairs = await inTurn(
        smoke ? 1 : 7,
        () => load(port, "foreign", smoke ? 500 : 5_000, '"authenticated":false'),
        () => load(yardstickPort, "foreign", smoke ? 500 : 5_000, '"authenticated":false'),
      );
      const ratio = median(pairs.map((each) => each.ours.perSecond / each.yardstick.perSecond));
      const foreignCalls = calls() - knownCalls - freshCalls;
      const count = reviews.toLocaleString("en");
      return [
        ...loadResults(`${count} reviews of 500 tokens`, known),
        {
          what: "  calls to STS",
          measured: String(knownCalls),
          goal: { text: "500", met: knownCalls === 500 },
        },
        ...loadResults(`${count} reviews of ${count} tokens`, fresh),
        {
          what: "  calls to STS",
          measured: String(freshCalls),
          goal: { text: String(reviews), met: freshCalls === reviews },
        },
        {
          what: "foreign tokens: reviews/s, ratio to bare",
          measured: ratio.toFixed(2),
          goal: { text: "≥ 0.8", met: ratio >= 0.8 },
        },
        {
          what: "  reviews/s, ours / bare",
          measured: `${median(pairs.map((each) => each.ours.perSecond)).toFixed(0)} / ${median(pairs.map((each) => each.yardstick.perSecond)).toFixed(0)}`,
        },
        {
          what: "  calls to STS",
          measured: String(foreignCalls),
          goal: { text: "0", met: foreignCalls === 0 },
        },
        ...mappingResults(smoke),
        { what: "resident memory, idle", measured: `${idle.toFixed(1)} MiB` },
        {
          what: `resident memory, ${(reviews + 500).toLocaleString("en")} identities`,
          measured: `${loaded.toFixed(1)} MiB`,
        },
      ];
    } finally {
      await Promise.all(children.map(end));
      await sts.stop();
      await rm(folder, { recursive: true, force: true });
    }
  },
};

function loadResults(what: string, load: ReviewLoad): readonly Result[] {
  return [
    { what: `${what}: reviews/s`, measured: load.perSecond.toFixed(0) },
    { what: "  p50 / p99 ms", measured: `${load.p50.toFixed(2)} / ${load.p99.toFixed(2)}` },
  ];
}

/** One look-up among many mappings against one among a few. */
function mappingResults(smoke: boolean): readonly Result[] {
  const indexOf = (count: number): MappingIndex => {
    const index = new MappingIndex();
    for (let at = 0; at < count; at++) {
      const raw = {
        arn: `acs:ram::${account}:user/u${at}`,
        username: `u${at}`,
        groups: [],
        pinnedId: undefined,
      };
      const read = readMapping(raw, { entry: `u${at}`, rank: String(at), wildcards: false });
      if (read.ok) index.put(`u${at}`, read.mapping);
    }
    return index;
  };
  const [few, many] = [indexOf(10), indexOf(10_000)];
  const rounds = smoke ? 2_000 : 200_000;
  const nanoseconds = (index: MappingIndex): number => {
    const began = performance.now();
    for (let at = 0; at < rounds; at++) index.find(`acs:ram::${account}:user/u${at % 10}`, "1");
    return ((performance.now() - began) * 1e6) / rounds;
  };
  const pairs = Array.from({ length: 9 }, () => [nanoseconds(many), nanoseconds(few)] as const);
  const ratio = median(pairs.map(([ours, yardstick]) => ours / yardstick));
  return [
    {
      what: "one look-up: 10,000 mappings against 10",
      measured: ratio.toFixed(2),
      goal: { text: "≤ 1.5", met: ratio <= 1.5 },
    },
    {
      what: "  nanoseconds, 10,000 / 10",
      measured: [0, 1].map((side) => median(pairs.map((pair) => pair[side] ?? 0)).toFixed(0)).join(" / "),
    },
  ];
}

function accessKey(at: number): SimulatedAccessKey {
  return {
    accessKeyId: `LTAIbench${at}`,
    accessKeySecret: new Secret(`bench secret ${at}`),
    arn: `acs:ram::${account}:user/u${at}`,
    userId: String(200_000 + at),
  };
}

function tokenOf(key: SimulatedAccessKey, now: number): string {
  const { accessKeyId, accessKeySecret } = key;
  return mintToken(clusterId, { accessKeyId, accessKeySecret: accessKeySecret.reveal() }, now, "bench").token;
}

/** What a service account's token looks like to somebody who cannot read it. */
function foreignToken(): string {
  return `eyJhbGciOiJSUzI1NiJ9.${Buffer.from(crypto.getRandomValues(new Uint8Array(600))).toString("base64url")}.c2lnbmF0dXJl`;
}

async function startAuthenticator(
  folder: string,
  stsEndpoint: string,
  stsAuthoritiesPem: string,
): Promise<{
  readonly child: ChildProcess;
  readonly port: number;
  readonly ca: string;
  readonly pair: { readonly cert: string; readonly key: string };
}> {
  const state = join(folder, "state");
  const { trustPem } = await ensurePair(state, { hostname: "localhost", address: "127.0.0.1" }, systemClock);
  await writeFile(join(folder, "sts-ca.pem"), stsAuthoritiesPem);
  const unlimited = 1_000_000;
  await writeFile(
    join(folder, "config.json"),
    JSON.stringify({
      clusterID: clusterId,
      server: {
        mapAccounts: [account],
        stsEndpoint,
        stsCAFile: join(folder, "sts-ca.pem"),
        stsRate: unlimited,
        accessKeyRate: unlimited,
        kubeconfigPregenerated: true,
      },
    }),
  );
  const logFile = join(folder, "authenticator.log");
  const log = openSync(logFile, "a", 0o600);
  const words = [
    "--config",
    join(folder, "config.json"),
    "--state-dir",
    state,
    "--port",
    "0",
    "--operations-address=",
  ];
  const child = spawn(process.execPath, [bundle, "authenticator", "server", ...words], {
    stdio: ["ignore", "ignore", log],
  });
  closeSync(log);
  for (;;) {
    const ready = readFileSync(logFile, "utf8")
      .split("\n")
      .find((line) => line.includes('"service.ready"'));
    if (ready !== undefined) {
      const [address = ""] = (JSON.parse(ready) as { readonly addresses: readonly string[] }).addresses;
      const [cert, key] = ["cert.pem", "key.pem"].map((name) => readFileSync(join(state, name), "utf8"));
      return {
        child,
        port: Number(address.slice(address.lastIndexOf(":") + 1)),
        ca: trustPem,
        pair: { cert: cert ?? "", key: key ?? "" },
      };
    }
    if (child.exitCode !== null) throw new Error(readFileSync(logFile, "utf8"));
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function nextLine(child: { readonly stdout: NodeJS.ReadableStream }): Promise<string> {
  for await (const line of createInterface({ input: child.stdout })) return line;
  throw new Error("the process ended without a word");
}
