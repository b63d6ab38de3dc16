/**
 * Signals: the first asks for an orderly stop, the second ends the process. Each test watches a process of its own.
 * @module
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { test } from "node:test";
import { aborted } from "./shutdown.ts";

const program = `
  import { aborted, untilShutdown } from ${JSON.stringify(new URL("./shutdown.ts", import.meta.url).href)};
  const has = (flag) => process.argv.includes(flag);
  const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
  const alive = setInterval(() => undefined, 1_000);
  const end = async () => {
    if (!has("--echo")) await pause(350);
    console.log("stopping");
    if (has("--echo")) await pause(100);
    if (has("--stop")) clearInterval(alive);
    else await pause(60_000);
  };
  if (has("--fail")) {
    clearInterval(alive);
    await untilShutdown(() => Promise.reject(new Error("no"))).catch(() => console.log("failed"));
  } else {
    await untilShutdown(async (signal) => {
      console.log("ready");
      await aborted(signal);
      if (!has("--after")) await end();
    });
    if (has("--after")) await end();
  }
`;

interface Ended {
  readonly output: string;
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** Sends the next signal at every line that the process prints. */
function watch(signals: readonly NodeJS.Signals[], ...flags: readonly string[]): Promise<Ended> {
  const child = spawn(process.execPath, ["--input-type=module", "-e", program, "--", ...flags]);
  const left = [...signals];
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
    for (let line = 0; line < text.split("\n").length - 1; line++) {
      const signal = left.shift();
      if (signal !== undefined) child.kill(signal);
    }
  });
  return new Promise((resolve) => child.on("close", (code, signal) => resolve({ output, code, signal })));
}

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  test(`${signal} asks for a stop and leaves the process to end by itself`, async () => {
    const ended = await watch([signal], "--stop");

    assert.deepEqual(ended, { output: "ready\nstopping\n", code: 0, signal: null });
  });
}

for (const [first, second, code] of [
  ["SIGTERM", "SIGTERM", 143],
  ["SIGTERM", "SIGINT", 130],
  ["SIGINT", "SIGINT", 130],
] as const) {
  test(`${second} after ${first} ends the process at once with ${code}`, async () => {
    const ended = await watch([first, second]);

    assert.deepEqual(ended, { output: "ready\nstopping\n", code, signal: null });
  });
}

test("the same request to stop, delivered twice, is one", async () => {
  const ended = await watch(["SIGINT", "SIGINT"], "--echo", "--stop");

  assert.deepEqual(ended, { output: "ready\nstopping\n", code: 0, signal: null });
});

test("once nobody listens any more, a signal does what it always does", async () => {
  const ended = await watch(["SIGTERM", "SIGTERM"], "--after");

  assert.equal(ended.signal, "SIGTERM");
});

test("work that fails leaves nothing that keeps the process alive", async () => {
  const ended = await watch([], "--fail");

  assert.deepEqual(ended, { output: "failed\n", code: 0, signal: null });
});

test("waiting for a signal that has come ends at once", async () => {
  await aborted(AbortSignal.abort());
});
