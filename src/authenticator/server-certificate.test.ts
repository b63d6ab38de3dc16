import assert from "node:assert/strict";
import { X509Certificate, generateKeyPair } from "node:crypto";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { promisify } from "node:util";
import { parse } from "yaml";
import { FakeClock, settle } from "../../test/fakes/fake-clock.ts";
import { SallyportError } from "../errors.ts";
import { silentLog } from "../observe/log.ts";
import { createAuthority } from "../pki/authority.ts";
import type { TlsMaterial } from "../server/listener.ts";
import {
  ensurePair,
  openServerCertificate,
  stateFilesIn,
  type ServerCertificate,
} from "./server-certificate.ts";
import { renderWebhookKubeconfig } from "./webhook-kubeconfig.ts";

const generateKey = promisify(generateKeyPair);
const pem = {
  publicKeyEncoding: { type: "spki", format: "pem" },
  privateKeyEncoding: { type: "pkcs8", format: "pem" },
} as const;
const day = 24 * 3_600_000;
const names = { hostname: "localhost", address: "127.0.0.1" };
let folder: string;
let clock: FakeClock;
let open: ServerCertificate | undefined;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "sallyport-state-"));
  clock = new FakeClock(Date.now());
});

afterEach(async () => {
  open?.close();
  open = undefined;
  await rm(folder, { recursive: true, force: true });
});

const read = (name: string): Promise<string> => readFile(join(folder, name), "utf8");

async function look(milliseconds = 1_000): Promise<void> {
  await clock.advance(milliseconds);
  for (let turn = 0; turn < 20; turn++) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    await settle();
  }
}

describe("the first pair", () => {
  test("is a P-256 leaf of one year, for the given names, under an authority of its own", async () => {
    assert.equal((await ensurePair(folder, names, clock)).made, true);

    const leaf = new X509Certificate(await read("cert.pem"));
    const authority = new X509Certificate(await read("ca.pem"));
    assert.equal(leaf.publicKey.asymmetricKeyDetails?.namedCurve, "prime256v1");
    assert.equal(leaf.subject, "CN=ack-ram-authenticator");
    assert.equal(leaf.subjectAltName, "DNS:localhost, IP Address:127.0.0.1");
    assert.ok(Math.abs(leaf.validToDate.getTime() - clock.now() - 365 * day) < 60_000);
    assert.ok(leaf.verify(authority.publicKey));
    assert.ok(authority.ca);
  });

  test("leaves its keys readable by the owner alone", async () => {
    await ensurePair(folder, names, clock);
    const files = stateFilesIn(folder);
    for (const path of [files.key, files.authorityKey]) assert.equal((await stat(path)).mode & 0o777, 0o600);
  });

  test("has no address where that is unspecified, and an address where the name is one", async () => {
    await ensurePair(folder, { hostname: "192.0.2.7", address: "0.0.0.0" }, clock);
    assert.equal(new X509Certificate(await read("cert.pem")).subjectAltName, "IP Address:192.0.2.7");
  });

  test("is kept the next time", async () => {
    await ensurePair(folder, names, clock);
    const before = await read("cert.pem");
    assert.equal((await ensurePair(folder, names, clock)).made, false);
    assert.equal(await read("cert.pem"), before);
  });

  test("is made again under the same authority when it was removed", async () => {
    const first = await ensurePair(folder, names, clock);
    await rm(join(folder, "cert.pem"));
    await rm(join(folder, "key.pem"));
    const second = await ensurePair(folder, names, clock);
    assert.deepEqual([second.made, second.trustPem], [true, first.trustPem]);
  });

  test("is made again when a renewal was cut off between its two files", async () => {
    await ensurePair(folder, names, clock);
    const other = await createAuthority({ commonName: "x", keyType: "ec-p256", lifetimeMs: day, clock });
    const stray = await other.issue({
      commonName: "x",
      dnsNames: ["x"],
      usage: "server",
      keyType: "ec-p256",
      lifetimeMs: day,
    });
    await writeFile(join(folder, "key.pem"), stray.privateKeyPem.reveal());

    assert.equal((await ensurePair(folder, names, clock)).made, true);
  });
});

describe("a pair that somebody else made", () => {
  /** A self-signed certificate that is its own authority, for twenty years. */
  const makeOld = async (): Promise<void> => {
    const self = await createAuthority({
      commonName: "ack-ram-authenticator",
      keyType: "rsa-2048",
      lifetimeMs: 20 * 365 * day,
      exportable: true,
      clock,
    });
    await writeFile(join(folder, "cert.pem"), self.certificatePem);
    await writeFile(join(folder, "key.pem"), (await self.exportPrivateKeyPem()).reveal());
  };

  test("is kept and trusted itself, as ack-ram-authenticator's self-signed one", async () => {
    await makeOld();
    const { made, trustPem } = await ensurePair(folder, names, clock);
    assert.equal(made, false);
    assert.equal(trustPem, await read("cert.pem"));
  });

  test("is never written, however old it gets", async () => {
    await makeOld();
    const before = await read("cert.pem");
    open = await openServerCertificate(folder, names, { clock, log: silentLog });
    await look(300 * day);
    assert.equal(await read("cert.pem"), before);
  });

  test("of which one file is missing is named", async () => {
    await makeOld();
    await rm(join(folder, "key.pem"));
    await assert.rejects(ensurePair(folder, names, clock), (error: unknown) => {
      assert.ok(error instanceof SallyportError);
      assert.match(error.message, /key\.pem is missing and its counterpart is there/);
      return true;
    });
  });

  test("whose key is another one's is refused", async () => {
    await makeOld();
    const other = await generateKey("ec", { namedCurve: "P-256", ...pem });
    await writeFile(join(folder, "key.pem"), other.privateKey);
    await assert.rejects(ensurePair(folder, names, clock), /not the key of cert\.pem/);
  });
});

describe("a served pair", () => {
  let changes: TlsMaterial[];
  beforeEach(async () => {
    changes = [];
    await ensurePair(folder, names, clock);
    open = await openServerCertificate(folder, names, { clock, log: silentLog });
    open.onChange((material) => changes.push(material));
  });

  test("is renewed when a third of its life is left, under the same authority", async () => {
    const before = await read("cert.pem");
    await look(200 * day);
    assert.equal(await read("cert.pem"), before);

    await look(50 * day);
    await look();

    assert.notEqual(await read("cert.pem"), before);
    const leaf = new X509Certificate(await read("cert.pem"));
    assert.ok(leaf.verify(new X509Certificate(open?.trustPem ?? "").publicKey));
    assert.equal(changes.length, 1);
  });

  test("is replaced when the files change, and stays when they are broken", async () => {
    await writeFile(join(folder, "cert.pem"), "broken");
    await look();
    assert.equal(changes.length, 0);
    const readiness = open?.readiness();
    assert.ok(readiness?.ready === true && readiness.note !== undefined);

    await rm(join(folder, "cert.pem"));
    await rm(join(folder, "key.pem"));
    await ensurePair(folder, names, clock);
    await look();
    assert.equal(changes.length, 1);
    assert.deepEqual(open?.readiness(), { ready: true });
  });
});

describe("the webhook's kubeconfig", () => {
  test("names the URL, the authority and no credentials", () => {
    const text = renderWebhookKubeconfig({ hostname: "localhost", port: 21_362, authorityPem: "PEM" });
    assert.deepEqual(parse(text), {
      apiVersion: "v1",
      kind: "Config",
      clusters: [
        {
          name: "ack-ram-authenticator",
          cluster: {
            "certificate-authority-data": "UEVN",
            server: "https://localhost:21362/authenticate",
          },
        },
      ],
      users: [{ name: "apiserver", user: {} }],
      contexts: [{ name: "webhook", context: { cluster: "ack-ram-authenticator", user: "apiserver" } }],
      "current-context": "webhook",
    });
  });

  test("writes an IPv6 address in brackets", () => {
    assert.match(
      renderWebhookKubeconfig({ hostname: "::1", port: 1, authorityPem: "" }),
      /https:\/\/\[::1\]:1\//,
    );
  });
});
