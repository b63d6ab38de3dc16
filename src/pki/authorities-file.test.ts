/**
 * Files of authorities: what holds none is refused, since TLS would take it for every public authority.
 * @module
 */
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { FakeClock } from "../../test/fakes/fake-clock.ts";
import { temporaryFolder } from "../../test/temporary-folder.ts";
import { createAuthority } from "./authority.ts";
import { readAuthoritiesFile } from "./authorities-file.ts";

const authority = await createAuthority({
  commonName: "test",
  keyType: "ec-p256",
  lifetimeMs: 3_600_000,
  clock: new FakeClock(),
});

test("certificates are read, and text around them is left out", async (t) => {
  const path = join(temporaryFolder(t), "ca.crt");
  writeFileSync(path, `Subject: test\n${authority.certificatePem}\n`);

  assert.deepEqual(await readAuthoritiesFile(path), { ok: true, pem: authority.certificatePem });
});

const refused: readonly (readonly [string, string | Buffer | undefined, RegExp])[] = [
  ["an empty file", "", /holds no certificate/],
  ["a file of blanks", " \n", /holds no certificate/],
  ["a key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", /holds no certificate/],
  ["random bytes", Buffer.from([0, 255, 1, 254]), /holds no certificate/],
  [
    "a certificate that is none",
    "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    /cannot be used/,
  ],
  ["a file without end", Buffer.alloc(1_048_577, "x"), /more than 1 MiB/],
  ["an absent file", undefined, /ENOENT/],
];
for (const [what, contents, problem] of refused) {
  test(`${what} is refused, with its path`, async (t) => {
    const path = join(temporaryFolder(t), "ca.crt");
    if (contents !== undefined) writeFileSync(path, contents);

    const read = await readAuthoritiesFile(path);

    assert.ok(!read.ok);
    assert.match(read.problem, problem);
    assert.ok(read.problem.includes(path));
  });
}

test("a folder is refused", async (t) => {
  const path = join(temporaryFolder(t), "ca.crt");
  mkdirSync(path);

  assert.equal((await readAuthoritiesFile(path)).ok, false);
});
