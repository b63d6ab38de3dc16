/**
 * Everything that can be wrong between the plugin and its account provider: each gives its own HRESULT and its own event,
 * no output, and never a crash.
 * @module
 */
import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import type { TlsOptions } from "node:tls";
import type { CertificateAuthority, IssuedCertificate } from "../../../src/pki/authority.ts";
import { callPlugin, readCauses, resultOf } from "../plugin-calls.ts";
import {
  goodBody,
  hostDirectory,
  httpAnswer,
  issue,
  keyVaultDirectory,
  makeAuthority,
  shiftedClock,
  startTcpServer,
  startTlsServer,
  writeHostFiles,
  type Answer,
  type FixtureServer,
  type HostFiles,
} from "../provider-fixture.ts";
import { Wine } from "../wine.ts";

const namespace = "cattle-windows-gmsa-system";
const account = `${namespace}:webapp01`;
const causes = readCauses();
const secretUri = "https://contoso.vault.azure.net/secrets/webapp01";
const keyVaultInput = `ObjectId=01234567-89ab-cdef-0123-456789abcdef;SecretUri=${secretUri}`;
const day = 24 * 60 * 60 * 1000;

let wine: Wine;
let authority: CertificateAuthority;
let server: IssuedCertificate;
let client: IssuedCertificate;

before(async () => {
  wine = await Wine.start();
  await wine.registerPlugin();
  // The slow ones are to end after a second.
  await wine.setPluginTimeout(1500);
  authority = await makeAuthority();
  server = await issue(authority, "server");
  client = await issue(authority, "client");
});
after(async () => {
  await wine.close();
});

const good: Answer = (socket) => socket.end(httpAnswer("200 OK", goodBody));

/** Files that fit, but for what a case changes; the port is a server's. */
function files(port: string | number, changed: Partial<HostFiles> = {}): HostFiles {
  return {
    port: String(port),
    authority: authority.certificatePem,
    certificate: client.certificatePem,
    key: client.privateKeyPem.reveal(),
    ...changed,
  };
}

function serverOptions(certificate: IssuedCertificate = server, more: TlsOptions = {}): TlsOptions {
  return {
    cert: certificate.certificatePem,
    key: certificate.privateKeyPem.reveal(),
    ca: authority.certificatePem,
    ...more,
  };
}

/** One call in a process of its own: the expected cause, in HRESULT and event, and nothing in the outputs. */
async function expectCause(cause: string, input = account): Promise<void> {
  const number = causes.get(cause) ?? 0;
  const { calls, events, exitCode } = await callPlugin(wine, [input]);
  assert.equal(exitCode, 0);
  assert.equal(calls.length, 1);
  const [call] = calls;
  const names = new Map([...causes].map(([name, value]) => [resultOf(value), name]));
  assert.equal(names.get(call?.result ?? "") ?? call?.result, cause);
  assert.deepEqual(
    [call?.domainName, call?.username, call?.password],
    cause === "success" ? [call?.domainName, call?.username, call?.password] : [null, null, null],
  );
  assert.deepEqual(
    events.map(({ id, type }) => [id, type]),
    [[number, cause === "success" ? "information" : "error"]],
  );
}

async function withServer(
  starting: Promise<FixtureServer>,
  body: (server: FixtureServer) => Promise<void>,
): Promise<void> {
  const started = await starting;
  try {
    await body(started);
  } finally {
    await started.close();
  }
}

describe("plugin input", () => {
  const cases: readonly (readonly [string, string, string])[] = [
    ["a missing input", "-", "input_empty"],
    ["an empty input", "", "input_empty"],
    ["no colon", "namespace", "input_form"],
    ["two colons", "a:b:c", "input_form"],
    ["an empty namespace", ":b", "input_namespace"],
    ["an empty name", "a:", "input_name"],
    ["dots as a namespace", "..:b", "input_namespace"],
    ["a backslash", "a\\b:c", "input_namespace"],
    ["upper case", "A:b", "input_namespace"],
    ["a blank", "a:b c", "input_name"],
    ["a namespace of 64 characters", `${"a".repeat(64)}:b`, "input_namespace"],
    ["a name of 254 characters", `a:${"b".repeat(254)}`, "input_name"],
    ["an input of 5,000 characters", `a:${"b".repeat(5000)}`, "input_name"],
    ["Key Vault input without an id", `SecretUri=${secretUri}`, "input_key_vault"],
    ["Key Vault input of 5,000 characters", `${keyVaultInput};x=${"y".repeat(5000)}`, "input_key_vault"],
    ["an ObjectId that is no GUID", `ObjectId=me;SecretUri=${secretUri}`, "input_object_id"],
    ["a SecretUri over HTTP", keyVaultInput.replace("https", "http"), "input_secret_uri"],
    ["a SecretUri with another header", `${keyVaultInput}\r\nHost: elsewhere`, "input_secret_uri"],
  ];

  test("each malformed input has its cause, and nothing of it reaches the event log", async () => {
    const { calls, events } = await callPlugin(
      wine,
      cases.map(([, input]) => input),
    );

    for (const [index, [name, , cause]] of cases.entries()) {
      const number = causes.get(cause) ?? 0;
      assert.equal(calls[index]?.result, resultOf(number), name);
      assert.equal(events[index]?.id, number, name);
      assert.equal(events[index]?.strings[0], "", name);
      assert.equal(calls[index]?.password, null, name);
    }
  });
});

describe("host directory", () => {
  const junk = "-----BEGIN CERTIFICATE-----\nbm90IGEgY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n";
  const cases: readonly (readonly [string, Partial<HostFiles>, string])[] = [
    ["no port.txt", { port: undefined }, "port_missing"],
    ["an empty port.txt", { port: "" }, "port_invalid"],
    ["port 0", { port: "0" }, "port_invalid"],
    ["port 65536", { port: "65536" }, "port_invalid"],
    ["a port with a letter", { port: "12x" }, "port_invalid"],
    ["a negative port", { port: "-1" }, "port_invalid"],
    ["a huge port.txt", { port: "1".repeat(100_000) }, "port_invalid"],
    ["no authority", { authority: undefined }, "ca_missing"],
    ["an empty authority", { authority: "" }, "ca_invalid"],
    ["an authority that is not PEM", { authority: "junk" }, "ca_invalid"],
    ["an authority that is not a certificate", { authority: junk }, "ca_invalid"],
    ["no client certificate", { certificate: undefined }, "certificate_missing"],
    ["a client certificate that is none", { certificate: junk }, "certificate_invalid"],
    ["no client key", { key: undefined }, "key_missing"],
    ["a client key that is none", { key: "junk" }, "key_invalid"],
    ["a client key with a NUL", { key: "a\0b" }, "key_invalid"],
  ];

  for (const [name, changed, cause] of cases) {
    test(`${name}: ${cause}`, async () => {
      writeHostFiles(wine, namespace, files(1, changed));
      await expectCause(cause);
    });
  }

  test("no directory: directory_missing", async () => {
    rmSync(hostDirectory(wine, namespace), { recursive: true, force: true });
    await expectCause("directory_missing");
  });

  test("the key of another certificate: key_mismatch", async () => {
    const other = await issue(authority, "client");
    writeHostFiles(wine, namespace, files(1, { key: other.privateKeyPem.reveal() }));
    await expectCause("key_mismatch");
  });

  test("an authority for another name: ca_invalid", async () => {
    const elsewhere = await makeAuthorityFor("example.com");
    writeHostFiles(wine, namespace, files(1, { authority: elsewhere.certificatePem }));
    await expectCause("ca_invalid");
  });

  test("an unknown critical extension: ca_invalid", async () => {
    // Policy constraints (2.5.29.36) instead of name constraints (2.5.29.30): one byte, before any signature counts.
    const der = Buffer.from(authority.certificatePem.replace(/-----[^-]+-----/gu, ""), "base64");
    der.writeUInt8(0x24, der.indexOf(Buffer.from("0603551d1e", "hex")) + 4);
    const pem = `-----BEGIN CERTIFICATE-----\n${der.toString("base64")}\n-----END CERTIFICATE-----\n`;
    writeHostFiles(wine, namespace, files(1, { authority: pem }));
    await expectCause("ca_invalid");
  });
});

async function makeAuthorityFor(name: string): Promise<CertificateAuthority> {
  const { createAuthority } = await import("../../../src/pki/authority.ts");
  return createAuthority({
    commonName: "account provider",
    keyType: "ec-p256",
    lifetimeMs: day,
    permittedDnsNames: [name],
    clock: shiftedClock(0),
  });
}

describe("connection and handshake", () => {
  test("nothing listens: provider_down", async () => {
    const gone = await startTcpServer(() => undefined);
    await gone.close();
    writeHostFiles(wine, namespace, files(gone.port));
    await expectCause("provider_down");
  });

  test("a server that keeps silent: handshake_timeout", async () => {
    await withServer(
      startTcpServer(() => undefined),
      async ({ port }) => {
        writeHostFiles(wine, namespace, files(port));
        await expectCause("handshake_timeout");
      },
    );
  });

  test("a server that hangs up: handshake_closed", async () => {
    await withServer(
      startTcpServer((socket) => socket.end()),
      async ({ port }) => {
        writeHostFiles(wine, namespace, files(port));
        await expectCause("handshake_closed");
      },
    );
  });

  test("a server that resets: handshake_closed", async () => {
    await withServer(
      startTcpServer((socket) => socket.resetAndDestroy()),
      async ({ port }) => {
        writeHostFiles(wine, namespace, files(port));
        await expectCause("handshake_closed");
      },
    );
  });

  test("a plain HTTP server: not_tls", async () => {
    const answer = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    await withServer(
      startTcpServer((socket) => socket.once("data", () => socket.end(answer))),
      async ({ port }) => {
        writeHostFiles(wine, namespace, files(port));
        await expectCause("not_tls");
      },
    );
  });

  test("records of noise: handshake_failed", async () => {
    const noise = Buffer.from("160303000400000000", "hex");
    await withServer(
      startTcpServer((socket) => socket.once("data", () => socket.end(noise))),
      async ({ port }) => {
        writeHostFiles(wine, namespace, files(port));
        await expectCause("handshake_failed");
      },
    );
  });

  const certificates: readonly (readonly [string, () => Promise<IssuedCertificate>, string])[] = [
    [
      "another authority",
      async () => issue(await makeAuthority({ commonName: "another" }), "server"),
      "server_untrusted",
    ],
    [
      "another authority of the same name",
      async () => issue(await makeAuthority(), "server"),
      "server_untrusted",
    ],
    [
      "a client certificate",
      async () => issue(authority, "client", { dnsNames: ["localhost"] }),
      "server_usage",
    ],
  ];
  for (const [name, make, cause] of certificates) {
    for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
      test(`a server with the certificate of ${name}, ${maxVersion}: ${cause}, and no request is sent`, async () => {
        const certificate = await make();
        await withServer(
          startTlsServer(serverOptions(certificate, { maxVersion, minVersion: maxVersion }), good),
          async (started) => {
            writeHostFiles(wine, namespace, files(started.port));
            await expectCause(cause);
            assert.deepEqual(started.requests, []);
          },
        );
      });
    }
  }

  test("a server certificate for another name: server_name", async () => {
    const open = await makeAuthority({ open: true });
    const elsewhere = await issue(open, "server", { dnsNames: ["elsewhere.example"] });
    await withServer(startTlsServer(serverOptions(elsewhere), good), async (started) => {
      writeHostFiles(wine, namespace, files(started.port, { authority: open.certificatePem }));
      await expectCause("server_name");
      assert.deepEqual(started.requests, []);
    });
  });

  test("an expired server certificate: server_expired", async () => {
    const old = await makeAuthority({ clock: shiftedClock(-10 * day) });
    const expired = await issue(old, "server");
    await withServer(startTlsServer(serverOptions(expired), good), async (started) => {
      writeHostFiles(wine, namespace, files(started.port, { authority: old.certificatePem }));
      await expectCause("server_expired");
    });
  });

  test("a self-made chain with our authority's subject: server_untrusted", async () => {
    const forged = await makeAuthority();
    const leaf = await issue(forged, "server");
    const options = { ...serverOptions(leaf), cert: leaf.chainPem };
    await withServer(startTlsServer(options, good), async (started) => {
      writeHostFiles(wine, namespace, files(started.port));
      await expectCause("server_untrusted");
    });
  });

  for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
    test(`a server that refuses our certificate inside TLS, ${maxVersion}: a cause of its own`, async () => {
      const stranger = await issue(await makeAuthority({ commonName: "stranger" }), "client");
      const options = serverOptions(server, { rejectUnauthorized: true, maxVersion, minVersion: maxVersion });
      await withServer(startTlsServer(options, good), async ({ port }) => {
        writeHostFiles(
          wine,
          namespace,
          files(port, { certificate: stranger.certificatePem, key: stranger.privateKeyPem.reveal() }),
        );
        // Node says so by hanging up, without an alert.
        const { calls } = await callPlugin(wine, [account]);
        const expected = [
          "response_closed",
          "response_failed",
          "handshake_closed",
          "client_certificate_refused",
        ];
        assert.ok(
          expected.map((cause) => resultOf(causes.get(cause) ?? 0)).includes(calls[0]?.result ?? ""),
          calls[0]?.result ?? "no result",
        );
        assert.equal(calls[0]?.password, null);
      });
    });
  }
});

describe("answers", () => {
  const json = (value: unknown): Buffer => httpAnswer("200 OK", JSON.stringify(value));
  const raw = (text: string): Buffer => Buffer.from(text, "latin1");
  const whole = { username: "u", password: "p", domainName: "d" };
  const cases: readonly (readonly [string, string, Buffer])[] = [
    ["400", "name_refused", httpAnswer("400 Bad Request", "")],
    ["401", "status_unexpected", httpAnswer("401 Unauthorized", "")],
    ["403 (a stranger's client certificate)", "client_certificate_refused", httpAnswer("403 Forbidden", "")],
    ["404", "secret_unavailable", httpAnswer("404 Not Found", "")],
    ["500 with good credentials", "provider_error", httpAnswer("500 Internal Server Error", goodBody)],
    ["204", "status_unexpected", raw("HTTP/1.1 204 No Content\r\n\r\n")],
    ["a redirect", "redirected", httpAnswer("302 Found", "", ["Location: /provider"])],
    ["not HTTP", "response_malformed", raw("SSH-2.0-OpenSSH_9.2\r\n")],
    [
      "a body cut short",
      "response_closed",
      raw(`HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n${"x".repeat(10)}`),
    ],
    ["a head cut short", "response_closed", raw("HTTP/1.1 200 OK\r\nContent-Le")],
    ["no length", "response_framing", raw("HTTP/1.1 200 OK\r\n\r\n{}")],
    ["chunked", "response_framing", raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")],
    ["a megabyte", "response_too_large", httpAnswer("200 OK", "x".repeat(1_000_000))],
    ["an endless head", "response_too_large", raw(`HTTP/1.1 200 OK\r\nX: ${"x".repeat(20_000)}`)],
    ["malformed JSON", "json_malformed", httpAnswer("200 OK", "{")],
    ["HTML", "json_malformed", httpAnswer("200 OK", "<html></html>")],
    ["text behind the JSON", "json_malformed", httpAnswer("200 OK", `${JSON.stringify(whole)}x`)],
    ["a password twice", "json_duplicate", httpAnswer("200 OK", '{"password":"a","password":"b"}')],
    ["invalid UTF-8", "json_text", httpAnswer("200 OK", Buffer.from("7b2261223a22ff227d", "hex"))],
    ["half a surrogate pair", "json_text", httpAnswer("200 OK", '{"username":"\\ud800"}')],
    ["null", "json_shape", httpAnswer("200 OK", "null")],
    ["a null password", "json_shape", json({ ...whole, password: null })],
    ["a missing field", "credential_missing", json({ username: "u", password: "p" })],
    ["an empty field", "credential_empty", json({ ...whole, username: "" })],
    ["an over-long field", "credential_too_long", json({ ...whole, password: "p".repeat(257) })],
  ];

  for (const [name, cause, bytes] of cases) {
    test(`${name}: ${cause}`, async () => {
      await withServer(
        startTlsServer(serverOptions(), (socket) => socket.end(bytes)),
        async ({ port }) => {
          writeHostFiles(wine, namespace, files(port));
          await expectCause(cause);
        },
      );
    });
  }

  test("no answer: response_timeout, within the deadline", async () => {
    await withServer(
      startTlsServer(serverOptions(), () => undefined),
      async ({ port }) => {
        writeHostFiles(wine, namespace, files(port));
        const { calls } = await callPlugin(wine, [account]);
        assert.equal(calls[0]?.result, resultOf(causes.get("response_timeout") ?? 0));
        assert.ok((calls[0]?.milliseconds ?? 0) < 3_000);
      },
    );
  });

  test("an answer that drips a byte at a time: response_timeout, within the deadline", async () => {
    const drip: Answer = (socket) => {
      const bytes = httpAnswer("200 OK", goodBody);
      let at = 0;
      const timer = setInterval(() => {
        socket.write(bytes.subarray(at, at + 1));
        at++;
      }, 50);
      socket.on("close", () => clearInterval(timer));
    };
    await withServer(startTlsServer(serverOptions(), drip), async ({ port }) => {
      writeHostFiles(wine, namespace, files(port));
      const { calls } = await callPlugin(wine, [account]);
      assert.equal(calls[0]?.result, resultOf(causes.get("response_timeout") ?? 0));
      assert.ok((calls[0]?.milliseconds ?? 0) < 3_000);
    });
  });

  test("an answer that is only slow: success", async () => {
    const slow: Answer = (socket) => {
      setTimeout(() => socket.end(httpAnswer("200 OK", goodBody)), 700);
    };
    await withServer(startTlsServer(serverOptions(), slow), async ({ port }) => {
      writeHostFiles(wine, namespace, files(port));
      await expectCause("success");
    });
  });

  test("a reset in the middle: a failure while answering", async () => {
    const broken: Answer = (socket, reset) => {
      socket.write(raw("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"), () => {
        setTimeout(reset, 100);
      });
    };
    await withServer(startTlsServer(serverOptions(), broken), async ({ port }) => {
      writeHostFiles(wine, namespace, files(port));
      // Which of the two depends on whether the reset overtakes the end of the stream.
      const { calls } = await callPlugin(wine, [account]);
      const broke = ["response_failed", "response_closed"].map((cause) => resultOf(causes.get(cause) ?? 0));
      assert.ok(broke.includes(calls[0]?.result ?? ""), calls[0]?.result ?? "no result");
      assert.equal(calls[0]?.password, null);
    });
  });
});

describe("Key Vault input", () => {
  const answering = (status: string, body: string): Promise<FixtureServer> =>
    startTlsServer(serverOptions(), (socket) => socket.end(httpAnswer(status, body)));

  test("nobody on this host answers it: key_vault_absent", async () => {
    rmSync(hostDirectory(wine, keyVaultDirectory), { recursive: true, force: true });
    await expectCause("key_vault_absent", keyVaultInput);
  });

  const refusals = [
    ["400 Bad Request", "key_vault_refused"],
    ["404 Not Found", "key_vault_unavailable"],
    ["503 Service Unavailable", "provider_error"],
  ] as const;
  for (const [status, cause] of refusals) {
    test(`${status}: ${cause}`, async () => {
      await withServer(answering(status, ""), async ({ port }) => {
        writeHostFiles(wine, keyVaultDirectory, files(port));
        await expectCause(cause, keyVaultInput);
      });
    });
  }

  test("the request names identity and address in one order, whatever the input's; the log has no query", async () => {
    await withServer(answering("200 OK", goodBody), async (started) => {
      writeHostFiles(wine, keyVaultDirectory, files(started.port));
      const input = `secreturi=${secretUri}?a=%31;Other=1;OBJECTID=01234567-89AB-cdef-0123-456789abcdef;`;

      const { calls, events } = await callPlugin(wine, [input]);

      const shown = `ObjectId=01234567-89AB-cdef-0123-456789abcdef;SecretUri=${secretUri}`;
      assert.equal(calls[0]?.password, (JSON.parse(goodBody) as Record<string, string>)["password"]);
      assert.deepEqual(events[0]?.strings, [shown, ""]);
      assert.match(started.requests[0] ?? "", /^GET \/provider HTTP\/1\.1\r\n/u);
      assert.ok(started.requests[0]?.includes(`\r\nobject: ${shown}?a=%31\r\nAccept:`));
    });
  });

  test("the longest input is one request", async () => {
    await withServer(answering("200 OK", goodBody), async (started) => {
      writeHostFiles(wine, keyVaultDirectory, files(started.port));
      const longest = keyVaultInput + "a".repeat(2_048 - keyVaultInput.length);

      await expectCause("success", longest);

      assert.ok(started.requests[0]?.includes(`\r\nobject: ${longest}\r\n`));
    });
  });
});

describe("what has to work", () => {
  for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
    test(`three strings, exactly, over ${maxVersion}`, async () => {
      const options = serverOptions(server, { maxVersion, minVersion: maxVersion });
      await withServer(startTlsServer(options, good), async (started) => {
        writeHostFiles(wine, namespace, files(started.port));
        const { calls, events } = await callPlugin(wine, [account]);
        const { username, password, domainName } = JSON.parse(goodBody) as Record<string, string>;
        assert.deepEqual(
          { username: calls[0]?.username, password: calls[0]?.password, domainName: calls[0]?.domainName },
          { username, password, domainName },
        );
        assert.deepEqual(events[0]?.strings, [account, ""]);
        assert.equal(
          started.requests[0],
          `GET /provider HTTP/1.1\r\nHost: localhost:${String(started.port)}\r\nobject: webapp01\r\n` +
            "Accept: application/json\r\nConnection: close\r\n\r\n",
        );
      });
    });
  }

  test("an RSA authority with RSA certificates, and the authority sent along", async () => {
    const rsa = await makeAuthority({ rsa: true });
    const [leaf, own] = await Promise.all([
      issue(rsa, "server", { keyType: "rsa-2048" }),
      issue(rsa, "client", { keyType: "rsa-2048" }),
    ]);
    await withServer(
      startTlsServer({ ...serverOptions(leaf), cert: leaf.chainPem, ca: rsa.certificatePem }, good),
      async ({ port }) => {
        writeHostFiles(wine, namespace, {
          port: String(port),
          authority: rsa.certificatePem,
          certificate: own.certificatePem,
          key: own.privateKeyPem.reveal(),
        });
        await expectCause("success");
      },
    );
  });

  test("two authorities in the file, the second one the server's", async () => {
    const former = await makeAuthority({ commonName: "former" });
    await withServer(startTlsServer(serverOptions(), good), async ({ port }) => {
      writeHostFiles(
        wine,
        namespace,
        files(port, { authority: former.certificatePem + authority.certificatePem }),
      );
      await expectCause("success");
    });
  });

  test("a server on ::1 alone", async () => {
    const { createServer } = await import("node:tls");
    const v6 = createServer(
      { ...serverOptions(), requestCert: true, rejectUnauthorized: false },
      (socket) => {
        socket.once("data", () => socket.end(httpAnswer("200 OK", goodBody)));
      },
    );
    await new Promise<void>((resolve) => {
      v6.listen(0, "::1", resolve);
    });
    try {
      const address = v6.address();
      writeHostFiles(wine, namespace, files(typeof address === "object" ? (address?.port ?? 0) : 0));
      await expectCause("success");
    } finally {
      v6.close();
    }
  });

  test("a namespace named like a device", async () => {
    await withServer(startTlsServer(serverOptions(), good), async ({ port }) => {
      writeHostFiles(wine, "con", files(port));
      await expectCause("success", "con:webapp01");
    });
  });
});
