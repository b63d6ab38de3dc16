/**
 * The commands that a release's NOTES print work when they are copied to a shell.
 * @module
 */
import assert from "node:assert/strict";
import { mkdtempSync, symlinkSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { after, before, test } from "node:test";

import { runCommand } from "../../guarded-process.ts";
import type { ControlPlane } from "../control-plane.ts";
import { chartNames, chartPath, definitionsOf, requiredValues } from "./chart.ts";
import { suiteCluster } from "./suite-cluster.ts";

let cluster: ControlPlane;
before(async () => {
  cluster = await suiteCluster();
  await cluster.apply(chartNames.flatMap(definitionsOf));
});
after(() => cluster?.stop());

for (const name of chartNames) {
  test(`${name}: the commands of NOTES work`, async (t) => {
    const namespace = await cluster.namespace(t);
    await cluster.helm4([
      "install",
      "notes",
      chartPath(name),
      "--no-hooks",
      "--namespace",
      namespace,
      ...requiredValues[name],
    ]);
    t.after(() => cluster.helm4(["uninstall", "notes", "--no-hooks", "--namespace", namespace]));
    const { stdout: notes } = await cluster.helm4(["get", "notes", "notes", "--namespace", namespace]);
    const commands = notes.split("\n").filter((line) => line.startsWith("  "));
    const work = mkdtempSync(join(cluster.directory, "notes-"));
    writeFileSync(join(work, "password.txt"), "secret");
    symlinkSync(cluster.program("kubectl"), join(work, "kubectl"));

    assert.ok(commands.length > 0);
    for (const command of commands) {
      const result = await runCommand("sh", ["-c", command], {
        cwd: work,
        environment: {
          PATH: `${work}${delimiter}${process.env["PATH"] ?? ""}`,
          KUBECONFIG: await cluster.kubeconfig(),
          HOME: work,
        },
      });
      assert.equal(result.code, 0, `${command}\n${result.stderr}`);
    }
    if (name === "gmsa-account-provider") {
      const secret = await cluster.admin.expect("GET", `/api/v1/namespaces/${namespace}/secrets/notes-creds`);
      assert.deepEqual(Object.keys(secret.data as object).toSorted(), ["domainName", "password", "username"]);
    }
  });
}
