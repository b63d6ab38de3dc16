/**
 * The admission webhook as a role of `sallyport up`, on copies of the example manifests.
 * @module
 */
import assert from "node:assert/strict";
import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { temporaryFolder } from "../../test/temporary-folder.ts";
import { chainHolds, type Chain } from "../chain.ts";
import { systemClock } from "../clock.ts";
import { createManifestFolderSource } from "../kubernetes/manifest-folder-source.ts";
import { silentLog } from "../observe/log.ts";
import { admissionRole } from "./admission-role.ts";

const contoso = join(import.meta.dirname, "../../examples/contoso");

/** What the role says of the example after `change`; `undefined`: nothing to do. */
async function check(
  t: TestContext,
  change: (folder: string) => void,
): Promise<readonly Chain[] | undefined> {
  const folder = temporaryFolder(t);
  cpSync(contoso, folder, { recursive: true });
  change(folder);
  const source = createManifestFolderSource(folder, { log: silentLog, clock: systemClock });
  try {
    const running = await admissionRole.start({
      source,
      stateFolder: folder,
      log: silentLog,
      clock: systemClock,
      signal: AbortSignal.timeout(10_000),
    });
    const chains = await running?.check();
    await running?.stop();
    return chains;
  } finally {
    await source.close();
  }
}

function edit(file: string, from: string, to: string): (folder: string) => void {
  return (folder) => {
    const path = join(folder, file);
    const text = readFileSync(path, "utf8");
    assert.ok(text.includes(from));
    writeFileSync(path, text.replaceAll(from, to));
  };
}

test("the example's Deployment is refused without `use` and admitted with it, contents and all", async (t) => {
  const [chain] = (await check(t, () => undefined)) ?? [];

  assert.ok(chain !== undefined && chainHolds(chain));
  assert.deepEqual(
    chain.links.map(({ detail }) => detail.replace(/\d{3} bytes/, "N bytes")),
    [
      'refused: service account "sallyport-stranger" is not authorized to `use` GMSA cred spec "webapp01"',
      "service account web of contoso-web",
      "1 put into the pod (N bytes), as the resource has them",
    ],
  );
});

test("a Deployment whose service account may not use the spec is a broken link with a remedy", async (t) => {
  const [chain] = (await check(t, edit("web-application.yaml", "verbs: [use]", "verbs: [get]"))) ?? [];

  const broken = chain?.links.filter((link) => !link.holds) ?? [];
  assert.equal(broken.length, 1);
  assert.match(broken[0]?.detail ?? "", /^service account "web" is not authorized/);
  assert.match(broken[0]?.remedy ?? "", /credspec render/);
});

test("a Deployment that names a spec which is not there is a broken link", async (t) => {
  const [chain] = (await check(t, edit("web-application.yaml", "webapp01", "webapp02"))) ?? [];

  assert.match(chain?.links.find((link) => !link.holds)?.detail ?? "", /webapp02 does not exist/);
});

test("a workload without gMSA settings has no chain", async (t) => {
  const chains = await check(
    t,
    edit("web-application.yaml", "gmsaCredentialSpecName: webapp01", "runAsUserName: web"),
  );

  assert.deepEqual(chains, []);
});

test("without a credential spec there is nothing to run", async (t) => {
  const chains = await check(t, (folder) => {
    for (const file of ["credential-spec.yaml", "simulated-azure.yaml"]) rmSync(join(folder, file));
  });

  assert.equal(chains, undefined);
});
