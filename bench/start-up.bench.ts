/**
 * Start-up of `sallyport --version` from the bundle against Node doing nothing.
 * @module
 */
import { bundle, inTurn, median, timeNode, type Bench } from "./measure.ts";

export const bench: Bench = {
  name: "start-up",
  async run({ smoke }) {
    const pairs = await inTurn(
      smoke ? 3 : 31,
      () => timeNode([bundle, "--version"]),
      () => timeNode(["-e", "0"]),
    );
    const ratio = median(pairs.map((pair) => pair.ours / pair.yardstick));
    return [
      { what: "sallyport --version", measured: `${median(pairs.map((pair) => pair.ours)).toFixed(1)} ms` },
      { what: "node -e 0", measured: `${median(pairs.map((pair) => pair.yardstick)).toFixed(1)} ms` },
      { what: "ratio", measured: ratio.toFixed(2) },
    ];
  },
};
