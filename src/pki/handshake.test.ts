/**
 * Certificates of ours in real TLS handshakes over loopback: OpenSSL, not this code, decides what is trusted.
 * @module
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { connect, createServer } from "node:tls";
import type { ConnectionOptions, SecureVersion } from "node:tls";
import { FakeClock } from "../../test/fakes/fake-clock.ts";
import { systemClock } from "../clock.ts";
import { createAuthority, loadAuthority } from "./authority.ts";
import type { CertificateRequest, IssuedCertificate } from "./authority.ts";
import { inspectCertificate } from "./certificate.ts";

const hour = 3_600_000;
const server: CertificateRequest = {
  commonName: "localhost",
  dnsNames: ["localhost"],
  usage: "server",
  keyType: "ec-p256",
  lifetimeMs: hour,
};
const client: CertificateRequest = {
  commonName: "gmsa client",
  usage: "client",
  keyType: "ec-p256",
  lifetimeMs: hour,
};
const authority = await createAuthority({
  commonName: "Sallyport test",
  keyType: "ec-p256",
  lifetimeMs: 24 * hour,
  permittedDnsNames: ["localhost"],
  exportable: true,
  clock: systemClock,
});
/** The same key without the check that refuses names: what someone who stole it could do. */
const stolen = loadAuthority(authority.certificatePem, await authority.exportPrivateKeyPem(), systemClock);
const serverLeaf = await authority.issue(server);
const clientLeaf = await authority.issue(client);

interface Handshake {
  /** Why the client would not go on; `undefined` when it was content. */
  readonly clientError: string | undefined;
  /** Why the server does not accept the client's certificate; `undefined` when it does. */
  readonly serverError: string | undefined;
  readonly protocol: string | null | undefined;
  /** Pin of the client's key, as the server saw it. */
  readonly clientPin: string | undefined;
}

async function handshake(
  serving: IssuedCertificate,
  calling: IssuedCertificate | undefined,
  options: ConnectionOptions = {},
): Promise<Handshake> {
  const listener = createServer({
    cert: serving.chainPem,
    key: serving.privateKeyPem.reveal(),
    ca: options.ca ?? authority.certificatePem,
    requestCert: true,
    rejectUnauthorized: false,
  });
  const accepted = new Promise<Pick<Handshake, "serverError" | "clientPin">>((resolve) => {
    listener.once("tlsClientError", (error) => resolve({ serverError: error.message, clientPin: undefined }));
    listener.once("secureConnection", (socket) => {
      socket.on("error", () => undefined);
      const pem = socket.getPeerX509Certificate()?.toString();
      const { authorizationError } = socket as { readonly authorizationError?: unknown };
      resolve({
        serverError: socket.authorized ? undefined : String(authorizationError),
        clientPin: pem === undefined ? undefined : inspectCertificate(pem).publicKeySha256,
      });
      socket.end();
    });
  });
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  const socket = connect({
    host: "127.0.0.1",
    port: (listener.address() as AddressInfo).port,
    servername: "localhost",
    ca: authority.certificatePem,
    ...(calling === undefined ? {} : { cert: calling.certificatePem, key: calling.privateKeyPem.reveal() }),
    ...options,
  });
  try {
    const clientError = await new Promise<string | undefined>((resolve) => {
      socket.once("error", (error) => resolve(error.message));
      socket.once("secureConnect", () => resolve(undefined));
    });
    const protocol = socket.getProtocol();
    return { clientError, protocol, ...(await accepted) };
  } finally {
    socket.destroy();
    listener.close();
  }
}

const versions: readonly SecureVersion[] = ["TLSv1.2", "TLSv1.3"];
const keyTypes = ["ec-p256", "rsa-2048"] as const;
for (const version of versions) {
  for (const keyType of keyTypes) {
    test(`both sides accept each other over ${version} with a client key of ${keyType}`, async () => {
      const calling = await authority.issue({ ...client, keyType });

      const result = await handshake(serverLeaf, calling, { minVersion: version, maxVersion: version });

      assert.deepEqual(result, {
        clientError: undefined,
        serverError: undefined,
        protocol: version,
        clientPin: calling.publicKeySha256,
      });
    });
  }
}

test("an RSA server serves a client that knows no elliptic curve signatures", async () => {
  const serving = await authority.issue({ ...server, keyType: "rsa-2048" });

  const result = await handshake(serving, clientLeaf, {
    maxVersion: "TLSv1.2",
    ciphers: "ECDHE-RSA-AES256-GCM-SHA384",
  });

  assert.equal(result.clientError, undefined);
});

for (const [name, names, verdict] of [
  ["a foreign name", { dnsNames: ["intranet.example"] }, "permitted subtree violation"],
  [
    "a foreign name beside its own",
    { dnsNames: ["localhost", "intranet.example"] },
    "permitted subtree violation",
  ],
  ["an IPv4 address", { dnsNames: ["localhost"], ipAddresses: ["127.0.0.1"] }, "excluded subtree violation"],
  ["an IPv6 address", { dnsNames: ["localhost"], ipAddresses: ["::1"] }, "excluded subtree violation"],
] as const) {
  test(`whoever stole the authority's key cannot serve ${name}`, async () => {
    const forged = await stolen.issue({ ...server, ...names });

    const result = await handshake(forged, clientLeaf, { servername: names.dnsNames[0] });

    assert.equal(result.clientError, verdict);
  });
}

test("a name below localhost is permitted", async () => {
  const serving = await authority.issue({ ...server, dnsNames: ["provider.localhost"] });

  const result = await handshake(serving, clientLeaf, { servername: "provider.localhost" });

  assert.equal(result.clientError, undefined);
});

test("a server's certificate is not accepted from a client, nor a client's from a server", async () => {
  const served = await handshake(clientLeaf, clientLeaf);
  const called = await handshake(serverLeaf, serverLeaf);

  assert.match(served.clientError ?? "", /(unsuitable|unsupported) certificate purpose/);
  assert.equal(called.serverError, "INVALID_PURPOSE");
});

test("a client without a certificate, or with one of another authority of the same name, is not accepted", async () => {
  const other = await createAuthority({
    commonName: "Sallyport test",
    keyType: "ec-p256",
    lifetimeMs: hour,
    clock: systemClock,
  });

  const none = await handshake(serverLeaf, undefined);
  const foreign = await handshake(serverLeaf, await other.issue(client));

  assert.equal(none.serverError, "UNABLE_TO_GET_ISSUER_CERT");
  assert.notEqual(foreign.serverError, undefined);
});

for (const [what, days, sentence, code] of [
  ["expired", -2, "certificate has expired", "CERT_HAS_EXPIRED"],
  ["not yet valid", 2, "certificate is not yet valid", "CERT_NOT_YET_VALID"],
] as const) {
  test(`a leaf that is ${what} is refused on either side`, async () => {
    const clock = new FakeClock(Date.now() + days * 24 * hour);
    const longLived = await createAuthority({
      commonName: "Sallyport test",
      keyType: "ec-p256",
      lifetimeMs: 30 * 24 * hour,
      exportable: true,
      clock: new FakeClock(Date.now() - 10 * 24 * hour),
    });
    const elsewhen = loadAuthority(longLived.certificatePem, await longLived.exportPrivateKeyPem(), clock);
    const today = loadAuthority(longLived.certificatePem, await longLived.exportPrivateKeyPem(), systemClock);
    const ca = longLived.certificatePem;

    const served = await handshake(await elsewhen.issue(server), undefined, { ca });
    const called = await handshake(await today.issue(server), await elsewhen.issue(client), { ca });

    assert.equal(served.clientError, sentence);
    assert.deepEqual([called.clientError, called.serverError], [undefined, code]);
  });
}

test("a client whose common name looks like a foreign host is held to the constraint as well", async () => {
  const result = await handshake(
    serverLeaf,
    await stolen.issue({ ...client, commonName: "intranet.example" }),
  );

  assert.notEqual(result.serverError, undefined);
  await assert.rejects(authority.issue({ ...client, commonName: "intranet.example" }), {
    code: "E_CERTIFICATE_REQUEST_INVALID",
  });
});
