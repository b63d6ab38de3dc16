import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { suite, test } from "node:test";
import { FakeClock, settle } from "../../test/fakes/fake-clock.ts";
import { silentLog } from "../observe/log.ts";
import { certificatesIn } from "../pki/pem.ts";
import type { ClientCertificate } from "../server/client-certificate.ts";
import { inspectCertificate } from "../pki/certificate.ts";
import { KnownClients, type CertificateSet, type ProviderCertificates } from "./provider-certificates.ts";
import { createSelfManagedCertificates } from "./self-managed-certificates.ts";

const hour = 3_600_000;

async function make(
  clock: FakeClock,
  options: {
    readonly authorityLifetimeMs?: number;
    readonly legacyPlugin?: boolean;
    readonly namespace?: string;
  } = {},
): Promise<ProviderCertificates> {
  return await createSelfManagedCertificates({
    namespace: options.namespace ?? "contoso",
    leafLifetimeMs: 24 * hour,
    legacyPlugin: options.legacyPlugin ?? false,
    ...(options.authorityLifetimeMs === undefined
      ? {}
      : { authorityLifetimeMs: options.authorityLifetimeMs }),
    clock,
    log: silentLog,
  });
}

function clientOf(set: CertificateSet): ClientCertificate {
  const facts = inspectCertificate(set.clientFiles.certificatePem);
  return { publicKeySha256: facts.publicKeySha256, commonName: "", notAfter: facts.notAfter };
}

/** Waits for work that is done off the main thread, such as making a key. */
async function until(condition: () => boolean): Promise<void> {
  for (let turn = 0; turn < 2_000 && !condition(); turn++) {
    await settle();
    if (turn > 20) await new Promise((resolve) => setTimeout(resolve, 1));
  }
  assert.ok(condition(), "it did not happen");
}

function signs(authorityPem: string, leafPem: string): boolean {
  return new X509Certificate(leafPem).verify(new X509Certificate(authorityPem).publicKey);
}

suite("certificates of our own", () => {
  test("are an authority for localhost alone, a server for localhost and a client", async () => {
    const certificates = await make(new FakeClock());

    const set = certificates.current();
    const [authority = ""] = certificatesIn(set.clientFiles.authoritiesPem);
    const server = set.tls.identities[0]?.chainPem ?? "";
    assert.equal(inspectCertificate(authority).isCa, true);
    assert.ok(signs(authority, server));
    assert.ok(signs(authority, set.clientFiles.certificatePem));
    assert.equal(new X509Certificate(server).checkHost("localhost"), "localhost");
    assert.deepEqual(inspectCertificate(set.clientFiles.certificatePem).extendedKeyUsage, [
      "1.3.6.1.5.5.7.3.2",
    ]);
    assert.ok(certificates.acceptsClient(clientOf(set)));
    certificates.close();
  });

  test("hold no RSA identity unless the released plugin is served", async () => {
    const [without, with_] = await Promise.all([
      make(new FakeClock()),
      make(new FakeClock(), { legacyPlugin: true }),
    ]);

    assert.equal(without.current().clientFiles.pfx, undefined);
    assert.ok((with_.current().clientFiles.pfx?.length ?? 0) > 500);
    without.close();
    with_.close();
  });

  for (const namespace of ["a", "n".repeat(63)]) {
    test(`can be made for a namespace of ${namespace.length} characters`, async () => {
      const certificates = await make(new FakeClock(), { namespace });

      assert.ok(certificates.current().serverNotAfter > 0);
      certificates.close();
    });
  }

  test("are replaced at two thirds of their life, and the client before is accepted until it expires", async () => {
    const clock = new FakeClock();
    const certificates = await make(clock);
    const sets: CertificateSet[] = [];
    certificates.onChange((set) => sets.push(set));
    const first = clientOf(certificates.current());

    await clock.advance(16 * hour - 1_000);
    assert.equal(sets.length, 0);
    await clock.advance(2_000);
    await until(() => sets.length === 1);

    assert.notEqual(clientOf(certificates.current()).publicKeySha256, first.publicKeySha256);
    assert.ok(certificates.acceptsClient(first));
    assert.ok(certificates.acceptsClient(clientOf(certificates.current())));
    certificates.close();
  });

  test("publish a new authority one rotation before it signs, and drop the old one after its last leaf", async () => {
    const clock = new FakeClock();
    const certificates = await make(clock, { authorityLifetimeMs: 96 * hour });
    const history: { readonly authorities: number; readonly signer: number }[] = [];
    const everSeen: string[] = [];
    const note = (set: CertificateSet): void => {
      const published = certificatesIn(set.clientFiles.authoritiesPem);
      for (const pem of published) if (!everSeen.includes(pem)) everSeen.push(pem);
      const signer = everSeen.findIndex((pem) => signs(pem, set.tls.identities[0]?.chainPem ?? ""));
      history.push({ authorities: published.length, signer });
    };
    note(certificates.current());
    let rotations = 0;
    certificates.onChange((set) => {
      note(set);
      rotations++;
    });

    certificates.confirmPublished(certificates.current());
    for (let turn = 1; turn <= 8; turn++) {
      await clock.advance(16 * hour);
      await until(() => rotations === turn);
      await settle();
      certificates.confirmPublished(certificates.current());
    }

    // 96 h of life, rotations at 16, 32, 48, 64 (two thirds: the successor is published), 80 (it signs), …
    assert.deepEqual(history.slice(0, 8), [
      { authorities: 1, signer: 0 },
      { authorities: 1, signer: 0 },
      { authorities: 1, signer: 0 },
      { authorities: 1, signer: 0 },
      { authorities: 2, signer: 0 },
      { authorities: 2, signer: 1 },
      { authorities: 1, signer: 1 },
      { authorities: 1, signer: 1 },
    ]);
    certificates.close();
  });
});

suite("known clients", () => {
  const client = (key: string, notAfter: number): ClientCertificate => ({
    publicKeySha256: key,
    commonName: "",
    notAfter,
  });

  test("are the newest ones and those before that have not expired", () => {
    const clients = new KnownClients();
    clients.add([client("a", 100)], 0);
    clients.add([client("b", 200)], 50);

    assert.ok(clients.has(client("a", 100)));
    clients.add([client("c", 300)], 150);

    assert.equal(clients.has(client("a", 100)), false);
    assert.ok(clients.has(client("b", 200)));
  });

  test("are not recognised by a longer-lived certificate for the same key", () => {
    const clients = new KnownClients();
    clients.add([client("a", 100)], 0);

    assert.equal(clients.has(client("a", 101)), false);
  });
});
