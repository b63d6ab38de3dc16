import assert from "node:assert/strict";
import { generateKeyPairSync, sign, type KeyObject } from "node:crypto";
import { appendFileSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";
import { temporaryFolder } from "../../test/temporary-folder.ts";
import { systemClock } from "../clock.ts";
import { silentLog } from "../observe/log.ts";
import { createAuthority, loadAuthority, type CertificateAuthority } from "../pki/authority.ts";
import {
  basicConstraints,
  encodeCertificate,
  encodeCommonName,
  keyUsage,
  signatureAlgorithms,
} from "../pki/certificate-encoding.ts";
import type { KeyType } from "../pki/certificate.ts";
import { encodePem } from "../pki/pem.ts";
import { Secret } from "../secret.ts";
import { openMountedCertificates } from "./mounted-certificates.ts";
import type { ProviderCertificates } from "./provider-certificates.ts";

const hour = 3_600_000;

async function authority(): Promise<CertificateAuthority> {
  return await createAuthority({
    commonName: "somebody else",
    keyType: "ec-p256",
    lifetimeMs: hour,
    clock: systemClock,
  });
}

/** An authority that is no root itself. */
async function authorityUnderRoot(): Promise<{
  readonly root: string;
  readonly between: string;
  readonly authority: CertificateAuthority;
}> {
  const certify = async (name: string, publicKey: KeyObject, signingKey: KeyObject): Promise<string> => {
    const der = await encodeCertificate(
      {
        issuer: encodeCommonName("root"),
        subject: encodeCommonName(name),
        notBefore: Date.now() - hour,
        notAfter: Date.now() + hour,
        publicKey: publicKey.export({ type: "spki", format: "der" }),
        extensions: [basicConstraints({ ca: true, pathLength: 1 }), keyUsage("keyCertSign")],
      },
      {
        algorithm: signatureAlgorithms.ecdsaSha256,
        sign: (bytes) => Promise.resolve(sign("sha256", bytes, signingKey)),
      },
    );
    return encodePem("CERTIFICATE", der);
  };
  const [rootKey, betweenKey] = [0, 1].map(() => generateKeyPairSync("ec", { namedCurve: "P-256" }));
  assert.ok(rootKey && betweenKey);
  const root = await certify("root", rootKey.publicKey, rootKey.privateKey);
  const between = await certify("between", betweenKey.publicKey, rootKey.privateKey);
  const key = new Secret(betweenKey.privateKey.export({ type: "pkcs8", format: "pem" }));
  return { root, between, authority: loadAuthority(between, key, systemClock) };
}

interface Written {
  readonly clientKeyType?: KeyType;
  readonly serverUsage?: "server" | "client";
  readonly foreignKey?: boolean;
}

async function write(folder: string, made: CertificateAuthority, changes: Written = {}): Promise<void> {
  const issue = (usage: "server" | "client", keyType: KeyType): ReturnType<CertificateAuthority["issue"]> =>
    made.issue({ commonName: "x", dnsNames: ["localhost"], usage, keyType, lifetimeMs: hour });
  const server = await issue(changes.serverUsage ?? "server", "ec-p256");
  const client = await issue("client", changes.clientKeyType ?? "ec-p256");
  const other = changes.foreignKey === true ? await issue("client", "ec-p256") : client;
  for (const name of ["ca", "server", "client"]) mkdirSync(join(folder, name), { recursive: true });
  writeFileSync(join(folder, "ca", "ca.crt"), made.certificatePem);
  writeFileSync(join(folder, "server", "tls.crt"), server.certificatePem);
  writeFileSync(join(folder, "server", "tls.key"), server.privateKeyPem.reveal());
  writeFileSync(join(folder, "client", "tls.crt"), client.certificatePem);
  writeFileSync(join(folder, "client", "tls.key"), other.privateKeyPem.reveal());
}

function open(folder: string, legacyPlugin = false): Promise<ProviderCertificates> {
  return openMountedCertificates({ folder, legacyPlugin, clock: systemClock, log: silentLog });
}

/** Resolves with the next set of certificates, or fails after ten seconds. */
async function nextSet(
  certificates: ProviderCertificates,
  change: () => void | Promise<void>,
): Promise<void> {
  const changed = new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("no change was noticed")), 10_000);
    certificates.onChange(() => {
      clearTimeout(timer);
      resolve();
    });
  });
  await change();
  await changed;
}

suite("certificates made by somebody else", () => {
  test("are used as they are, with a tls.pfx where the released plugin is served", async (t) => {
    const folder = temporaryFolder(t);
    await write(folder, await authority(), { clientKeyType: "rsa-2048" });

    const certificates = await open(folder, true);

    assert.ok((certificates.current().clientFiles.pfx?.length ?? 0) > 0);
    certificates.close();
  });

  for (const [what, changes, legacy, sentence] of [
    [
      "the server's cannot be a server's",
      { serverUsage: "client" },
      false,
      /server\/tls\.crt lacks the extended key usage/,
    ],
    ["key and certificate differ", { foreignKey: true }, false, /client\/tls\.key does not belong/],
    ["the released plugin would need an RSA key", {}, true, /is not RSA/],
  ] as const) {
    test(`are refused when ${what}`, async (t) => {
      const folder = temporaryFolder(t);
      await write(folder, await authority(), changes);

      await assert.rejects(open(folder, legacy), sentence);
    });
  }

  test("are refused when a file is missing, by its name", async (t) => {
    const folder = temporaryFolder(t);
    await write(folder, await authority());
    rmSync(join(folder, "server", "tls.key"));

    await assert.rejects(open(folder), /server\/tls\.key cannot be read/);
  });

  test("are read again every time they change", async (t) => {
    const folder = temporaryFolder(t);
    await write(folder, await authority());
    const certificates = await open(folder);

    for (let turn = 0; turn < 3; turn++) {
      const before = certificates.current().clientFiles.authoritiesPem;
      await nextSet(certificates, async () => await write(folder, await authority()));
      assert.notEqual(certificates.current().clientFiles.authoritiesPem, before);
    }
    certificates.close();
  });

  test("are read again at every symlink swap of a Kubernetes volume", async (t) => {
    const folder = temporaryFolder(t);
    const publish = async (name: string): Promise<void> => {
      await write(join(folder, name), await authority());
      symlinkSync(name, join(folder, "..data_tmp"));
      renameSync(join(folder, "..data_tmp"), join(folder, "..data"));
    };
    await publish("..v0");
    for (const name of ["ca", "server", "client"]) symlinkSync(join("..data", name), join(folder, name));
    const certificates = await open(folder);

    for (let turn = 1; turn <= 3; turn++) {
      const before = certificates.current().clientFiles.authoritiesPem;
      await nextSet(certificates, () => publish(`..v${turn}`));
      assert.notEqual(certificates.current().clientFiles.authoritiesPem, before);
    }
    certificates.close();
  });

  test("stay in use when their successors cannot be, and say why", async (t) => {
    const folder = temporaryFolder(t);
    await write(folder, await authority());
    const certificates = await open(folder);
    const before = certificates.current();

    writeFileSync(join(folder, "client", "tls.crt"), "no certificate");
    while (certificates.fault() === undefined) await new Promise((resolve) => setTimeout(resolve, 20));

    assert.equal(certificates.current(), before);
    assert.match(certificates.fault() ?? "", /client\/tls\.crt/);
    certificates.close();
  });

  test("stay in use while the authority was renewed and the leaves were not, and say why", async (t) => {
    const folder = temporaryFolder(t);
    await write(folder, await authority());
    const certificates = await open(folder);
    const before = certificates.current();

    writeFileSync(join(folder, "ca", "ca.crt"), (await authority()).certificatePem);
    while (certificates.fault() === undefined) await new Promise((resolve) => setTimeout(resolve, 20));

    assert.equal(certificates.current(), before);
    assert.match(certificates.fault() ?? "", /server\/tls\.crt leads to none of the authorities/);
    certificates.close();
  });

  for (const side of ["server", "client"] as const) {
    test(`are refused when the ${side}'s is of another authority with the same name`, async (t) => {
      const folder = temporaryFolder(t);
      await write(folder, await authority());
      const other = await (
        await authority()
      ).issue({
        commonName: "x",
        dnsNames: ["localhost"],
        usage: side,
        keyType: "ec-p256",
        lifetimeMs: hour,
      });
      writeFileSync(join(folder, side, "tls.crt"), other.certificatePem);
      writeFileSync(join(folder, side, "tls.key"), other.privateKeyPem.reveal());

      await assert.rejects(open(folder), new RegExp(`${side}/tls\\.crt leads to none of the authorities`));
    });
  }

  test("are refused when the authority is not of this time", async (t) => {
    const folder = temporaryFolder(t);
    const later = await createAuthority({
      commonName: "somebody else",
      keyType: "ec-p256",
      lifetimeMs: hour,
      clock: { ...systemClock, now: () => Date.now() + hour },
    });
    await write(folder, later);

    await assert.rejects(open(folder), /leads to none of the authorities, or to one that is out of date/);
  });

  test("may lead to the authority over others in the same file", async (t) => {
    const folder = temporaryFolder(t);
    const { root, between, authority: signing } = await authorityUnderRoot();
    await write(folder, signing);
    for (const side of ["server", "client"]) appendFileSync(join(folder, side, "tls.crt"), between);
    writeFileSync(join(folder, "ca", "ca.crt"), root);
    const certificates = await open(folder);
    assert.equal(certificates.current().authorities.length, 1);
    certificates.close();

    // TLS wants the root, whatever is trusted below it.
    writeFileSync(join(folder, "ca", "ca.crt"), between);
    await assert.rejects(open(folder), /leads to none of the authorities/);
    writeFileSync(join(folder, "ca", "ca.crt"), `${between}${root}`);
    (await open(folder)).close();
  });

  test("of two authorities are both used when each leaf brings its own, as cert-manager renews them", async (t) => {
    const folder = temporaryFolder(t);
    const [old, next] = [await authority(), await authority()];
    await write(folder, old);
    rmSync(join(folder, "ca"), { recursive: true });
    for (const side of ["server", "client"]) writeFileSync(join(folder, side, "ca.crt"), old.certificatePem);
    const certificates = await open(folder);
    const authorities = (): readonly string[] =>
      certificates.current().authorities.map(({ certificatePem }) => certificatePem);
    assert.deepEqual(authorities(), [old.certificatePem]);

    await nextSet(certificates, async () => {
      const server = await next.issue({
        commonName: "x",
        dnsNames: ["localhost"],
        usage: "server",
        keyType: "ec-p256",
        lifetimeMs: hour,
      });
      writeFileSync(join(folder, "server", "tls.key"), server.privateKeyPem.reveal());
      writeFileSync(join(folder, "server", "tls.crt"), server.certificatePem);
      writeFileSync(join(folder, "server", "ca.crt"), next.certificatePem);
    });

    assert.deepEqual(authorities(), [next.certificatePem, old.certificatePem]);
    assert.equal(
      certificates.current().tls.clientAuthoritiesPem,
      `${next.certificatePem}${old.certificatePem}`,
    );
    assert.equal(certificates.fault(), undefined);
    certificates.close();
  });

  test("are refused when no authority is there at all", async (t) => {
    const folder = temporaryFolder(t);
    await write(folder, await authority());
    rmSync(join(folder, "ca", "ca.crt"));

    await assert.rejects(
      open(folder),
      /neither ca\/ca\.crt nor server\/ca\.crt nor client\/ca\.crt is there/,
    );
  });
});
