/**
 * The CCG plugin under Wine against the least that a mutual TLS request costs with the same library, server and
 * certificates. Needs what `npm run e2e -- windows` builds.
 * @module
 */
import { existsSync, readdirSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { callPlugin } from "../e2e/windows/plugin-calls.ts";
import {
  goodBody,
  hostDirectory,
  httpAnswer,
  issue,
  makeAuthority,
  startTlsServer,
  writeHostFiles,
} from "../e2e/windows/provider-fixture.ts";
import { builtFile, Wine } from "../e2e/windows/wine.ts";
import { inTurn, median, type Bench, type Result } from "./measure.ts";

const cache = join(
  process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"),
  "sallyport",
  "e2e",
  "ccg-plugin",
);

export const bench: Bench = {
  name: "ccg-plugin",
  async run({ smoke }): Promise<readonly Result[]> {
    if (!existsSync(cache) || !readdirSync(cache).includes("bare-get.exe")) {
      return [
        { what: "CCG plugin under Wine", measured: "not built here: npm run e2e -- windows builds it" },
      ];
    }
    process.env["SALLYPORT_E2E_CCG_PLUGIN"] ??= cache;
    const wine = await Wine.start();
    const authority = await makeAuthority();
    const [own, client] = await Promise.all([issue(authority, "server"), issue(authority, "client")]);
    const server = await startTlsServer(
      { cert: own.certificatePem, key: own.privateKeyPem.reveal(), ca: authority.certificatePem },
      (socket) => socket.end(httpAnswer("200 OK", goodBody)),
    );
    try {
      await wine.registerPlugin();
      writeHostFiles(wine, "ns", {
        port: String(server.port),
        authority: authority.certificatePem,
        certificate: client.certificatePem,
        key: client.privateKeyPem.reveal(),
      });
      const folder = hostDirectory(wine, "ns");
      const files = ["ssl/ca/ca.crt", "ssl/client/tls.crt", "ssl/client/tls.key"].map((name) =>
        join(folder, name),
      );
      const measure = (
        pairs: number,
        calls: number,
      ): Promise<readonly { ours: readonly number[]; yardstick: readonly number[] }[]> =>
        inTurn(
          pairs,
          async () =>
            (await callPlugin(wine, ["ns:webapp01"], { count: calls, quiet: true })).calls.map(
              (call) => call.milliseconds,
            ),
          async () => {
            const args = [String(server.port), String(calls), ...files];
            const { stdout } = await wine.run(builtFile("bare-get.exe"), args, { WINEDEBUG: "-all" });
            return stdout.trim().split(/\s+/u).map(Number);
          },
        );
      // A process has one first call, so there are many short processes; the later calls want few long ones.
      const first = await measure(smoke ? 2 : 30, 1);
      const later = await measure(smoke ? 1 : 7, smoke ? 5 : 60);
      return [
        compare(
          "first call in a process",
          first.map(({ ours, yardstick }) => ({ ours: ours[0] ?? NaN, yardstick: yardstick[0] ?? NaN })),
          lowerQuartile,
        ),
        compare(
          "later calls",
          later.map(({ ours, yardstick }) => ({
            ours: median(ours.slice(1)),
            yardstick: median(yardstick.slice(1)),
          })),
          median,
        ),
      ];
    } finally {
      await server.close();
      await wine.close();
    }
  },
};

interface Pair {
  readonly ours: number;
  readonly yardstick: number;
}

/** What a single short sample is judged by: a busy machine only ever adds to it, often more than it takes. */
function lowerQuartile(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 4)] ?? NaN;
}

function compare(
  what: string,
  pairs: readonly Pair[],
  typical: (values: readonly number[]) => number,
): Result {
  const ours = typical(pairs.map((pair) => pair.ours));
  const yardstick = typical(pairs.map((pair) => pair.yardstick));
  const ratio =
    typical === median ? median(pairs.map((pair) => pair.ours / pair.yardstick)) : ours / yardstick;
  return {
    what,
    measured: `${ours.toFixed(1)} ms, bare request ${yardstick.toFixed(1)} ms, ratio ${ratio.toFixed(2)}`,
    goal: { text: "at most 1.2", met: ratio <= 1.2 },
  };
}
