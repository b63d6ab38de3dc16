/**
 * `sallyport token` with an access key, as kubectl runs it for every command, against Node doing nothing.
 * @module
 */
import { bundle, inTurn, median, timeNode, type Bench } from "./measure.ts";

export const bench: Bench = {
  name: "token",
  async run({ smoke }) {
    const before = { ...process.env };
    Object.assign(process.env, {
      ALIBABA_CLOUD_ACCESS_KEY_ID: "LTAIbench",
      ALIBABA_CLOUD_ACCESS_KEY_SECRET: "only for measuring",
    });
    const pairs = await inTurn(
      smoke ? 3 : 41,
      () => timeNode([bundle, "token", "--cluster-id", "cbench"]),
      () => timeNode(["-e", "0"]),
    );
    process.env = before;
    const ratio = median(pairs.map((pair) => pair.ours / pair.yardstick));
    return [
      {
        what: "sallyport token",
        measured: `${median(pairs.map((pair) => pair.ours)).toFixed(1)} ms`,
      },
      { what: "node -e 0", measured: `${median(pairs.map((pair) => pair.yardstick)).toFixed(1)} ms` },
      { what: "ratio", measured: ratio.toFixed(2), goal: { text: "≤ 1.6", met: ratio <= 1.6 } },
    ];
  },
};
