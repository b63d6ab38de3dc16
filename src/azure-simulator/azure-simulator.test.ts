/**
 * The simulator lives through requests that are none: what is developed against it may send anything.
 * @module
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { suite, test } from "node:test";
import { startAzureSimulator } from "./azure-simulator.ts";

suite("the simulator answers on after", () => {
  for (const [what, request] of [
    ["a path that is no URL", "GET // HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"],
    ["a body that is cut off", "POST /x HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 100\r\n\r\nhalf"],
  ] as const) {
    test(what, async (t) => {
      const simulator = await startAzureSimulator({ content: { identities: [], vaults: [] } });
      t.after(() => simulator.close());
      const unhandled: unknown[] = [];
      const note = (reason: unknown): void => void unhandled.push(reason);
      process.on("unhandledRejection", note);
      t.after(() => process.off("unhandledRejection", note));
      const { host, port } = simulator.dial("169.254.169.254", 80);
      const socket = connect({ host, port });
      socket.on("error", () => undefined);
      socket.end(request);
      socket.resume();
      await once(socket, "close");

      const response = await fetch(`http://${host}:${port}/other`);

      assert.equal(response.status, 404);
      assert.deepEqual(unhandled, []);
    });
  }
});
