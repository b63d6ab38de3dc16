import { before, test, after } from "node:test";
import assert from "node:assert/strict";
import { directoryOf, simulatedDirectory, type TestSimulator } from "../../test/fixtures/test-directory.ts";
import { directoryContract } from "../../test/directory-contract.ts";
import { Secret } from "../secret.ts";

let simulator: TestSimulator;
const ends: (() => unknown)[] = [];
const suite = { after: (end: () => unknown) => void ends.push(end) };

before(async () => {
  simulator = await simulatedDirectory(suite);
});
after(async () => {
  for (const end of ends.toReversed()) await end();
});

directoryContract("simulator", () => ({
  directory: ({ strategy, reader } = {}) =>
    directoryOf(suite, [simulator], {
      ...(strategy === undefined ? {} : { groups: { strategy } }),
      ...(reader === undefined
        ? {}
        : { serviceAccount: { name: reader[0], password: new Secret(reader[1]) } }),
    }),
}));

test("the simulator answers an anonymous search as AD does: with nothing but its root", async (t) => {
  const directory = directoryOf(t, [simulator], {
    serviceAccount: { name: "alice@contoso.test", password: new Secret("wrong") },
  });

  await assert.rejects(directory.resolve("alice"), { code: "E_DIRECTORY_SERVICE_ACCOUNT" });
});
