/**
 * The DLL and the account provider as a pair: the host directory is the one the provider wrote itself, and the TypeScript
 * probe comes to the same conclusion as the DLL wherever a link is broken.
 * @module
 */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { runCommand } from "../../guarded-process.ts";
import { startCluster } from "../../kubernetes/control-plane.ts";
import { callPlugin, readCauses, resultOf } from "../plugin-calls.ts";
import { startProvider } from "../provider-process.ts";
import {
  goodBody,
  hostDirectory,
  httpAnswer,
  issue,
  makeAuthority,
  startTcpServer,
  startTlsServer,
  writeHostFiles,
  type FixtureServer,
  type HostFiles,
} from "../provider-fixture.ts";
import { Wine } from "../wine.ts";

const main = join(import.meta.dirname, "..", "..", "..", "src", "main.ts");
const causes = readCauses();
const password = 'Pä55 "wörd" \\ €😀';

let wine: Wine;
let folder: string;
before(async () => {
  wine = await Wine.start();
  await wine.registerPlugin();
  folder = mkdtempSync(join(process.env["SALLYPORT_E2E_RUN_DIRECTORY"] ?? tmpdir(), "provider-"));
});
after(async () => {
  await wine.close();
});

function secret(namespace: string, name: string): string {
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name, namespace },
    type: "Opaque",
    stringData: { username: "ccg-webapp", password, domainName: "contoso.example" },
  });
}

function manifests(namespace: string): readonly string[] {
  const directory = join(folder, `${namespace}-manifests`);
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, "secret.json"), secret(namespace, "webapp01"));
  return ["--manifests", directory];
}

const account = { username: "ccg-webapp", password, domainName: "contoso.example" };

describe("with the account provider", () => {
  test("the strings of a Secret come out of COM, in process and through dllhost", async (t) => {
    await startProvider(t, wine, folder, "web", manifests("web"));

    for (const surrogate of [false, true]) {
      const { calls } = await callPlugin(wine, ["web:webapp01"], { surrogate });
      const [call] = calls;
      assert.deepEqual(
        { username: call?.username, password: call?.password, domainName: call?.domainName },
        account,
        `${call?.result ?? "no result"}, surrogate ${String(surrogate)}`,
      );
    }
  });

  test("a Secret that it does not serve is secret_unavailable", async (t) => {
    await startProvider(t, wine, folder, "other", manifests("other"));

    const { calls } = await callPlugin(wine, ["other:webapp02"]);

    assert.equal(calls[0]?.result, resultOf(causes.get("secret_unavailable") ?? 0));
  });

  test("a client certificate of another authority is client_certificate_refused", async (t) => {
    await startProvider(t, wine, folder, "strange", manifests("strange"));
    const stranger = await issue(await makeAuthority({ commonName: "stranger" }), "client");
    const client = join(hostDirectory(wine, "strange"), "ssl", "client");
    writeFileSync(join(client, "tls.crt"), stranger.certificatePem);
    writeFileSync(join(client, "tls.key"), stranger.privateKeyPem.reveal());

    const { calls } = await callPlugin(wine, ["strange:webapp01"]);

    assert.equal(calls[0]?.result, resultOf(causes.get("client_certificate_refused") ?? 0));
  });

  test("after it has ended the cause is a missing directory or port, not a time-out", async (t) => {
    const provider = await startProvider(t, wine, folder, "ended", manifests("ended"));
    await provider.stop();

    const { calls } = await callPlugin(wine, ["ended:webapp01"]);

    const expected = ["directory_missing", "port_missing"].map((name) => resultOf(causes.get(name) ?? 0));
    assert.ok(expected.includes(calls[0]?.result ?? ""), calls[0]?.result ?? "no result");
    assert.ok((calls[0]?.milliseconds ?? 0) < 1_000);
  });

  test("certificates that rotate every few seconds break no call of eight threads", async (t) => {
    await startProvider(t, wine, folder, "rotating", [...manifests("rotating"), "--leaf-lifetime", "6s"]);
    const certificate = join(hostDirectory(wine, "rotating"), "ssl", "client", "tls.crt");
    const seen = new Set<string>();
    // As many rounds as it takes for four certificates to have been in use. Each is replaced two seconds before its end,
    // which is what a call may take on a busy machine.
    const failures: string[] = [];
    let calls = 0;
    for (let round = 0; round < 60 && seen.size < 4; round++) {
      const watching = setInterval(() => seen.add(readFileSync(certificate, "utf8")), 50);
      const done = await callPlugin(wine, ["rotating:webapp01"], { threads: 8, count: 20 });
      clearInterval(watching);
      assert.equal(done.exitCode, 0);
      calls += done.calls.length;
      failures.push(...done.calls.map(({ result }) => result).filter((result) => result !== "00000000"));
    }

    assert.deepEqual(failures, []);
    assert.ok(
      seen.size >= 4,
      `only ${String(seen.size)} certificates were in use during ${String(calls)} calls`,
    );
  });
});

test("the whole chain: a Secret in a real API server, the provider, the DLL through COM", async (t) => {
  const cluster = await startCluster({ controllers: false });
  t.after(() => cluster.stop());
  const namespace = await cluster.namespace(t);
  await cluster.apply([JSON.parse(secret(namespace, "webapp01"))], { namespace });
  const kubeconfig = await cluster.kubeconfig({ user: "admin", groups: ["system:masters"] });
  await startProvider(t, wine, folder, namespace, ["--kubeconfig", kubeconfig]);

  const { calls } = await callPlugin(wine, [`${namespace}:webapp01`], { surrogate: true });

  assert.deepEqual(
    { username: calls[0]?.username, password: calls[0]?.password, domainName: calls[0]?.domainName },
    account,
  );
});

describe("probe and DLL", () => {
  /** Which causes of the DLL the probe's broken link stands for. */
  const groups: Readonly<Record<string, readonly [number, number]>> = {
    "port file": [201, 203],
    "certificate files": [204, 212],
    connection: [301, 307],
    "server certificate": [308, 312],
    "client certificate": [313, 313],
    "impersonation account": [401, 402],
    answer: [403, 507],
  };

  async function probe(namespace: string): Promise<string> {
    const directory = hostDirectory(wine, namespace);
    const { stdout, stderr } = await runCommand(process.execPath, [
      ...[main, "account-provider", "probe", "webapp01", "--namespace", namespace],
      ...["--host-dir", directory, "--timeout", "1500ms", "--json"],
    ]);
    assert.equal(stderr, "");
    const { links } = JSON.parse(stdout) as { links: readonly { link: string; holds: boolean }[] };
    return links.find(({ holds }) => !holds)?.link ?? "none";
  }

  test("find the same link broken, whatever the fault", async () => {
    await wine.setPluginTimeout(1500);
    const authority = await makeAuthority();
    const [server, client] = await Promise.all([issue(authority, "server"), issue(authority, "client")]);
    const files = (port: number, changed: Partial<HostFiles> = {}): HostFiles => ({
      port: String(port),
      authority: authority.certificatePem,
      certificate: client.certificatePem,
      key: client.privateKeyPem.reveal(),
      ...changed,
    });
    const answering = (bytes: Buffer, certificate = server): Promise<FixtureServer> =>
      startTlsServer(
        {
          cert: certificate.certificatePem,
          key: certificate.privateKeyPem.reveal(),
          ca: authority.certificatePem,
        },
        (socket) => socket.end(bytes),
      );
    const untrusted = await issue(await makeAuthority({ commonName: "another" }), "server");
    const whole = { username: "u", password: "p", domainName: "d" };
    const json = (value: unknown): Buffer => httpAnswer("200 OK", JSON.stringify(value));
    const silent = (): Promise<FixtureServer> => startTcpServer(() => undefined);
    const cases: readonly (readonly [string, () => Promise<FixtureServer>, Partial<HostFiles>])[] = [
      ["no port.txt", silent, { port: undefined }],
      ["a port with a line feed", silent, { port: "443\n" }],
      ["port 65536", silent, { port: "65536" }],
      ["no authority", silent, { authority: undefined }],
      ["no client certificate", silent, { certificate: undefined }],
      ["no client key", silent, { key: undefined }],
      ["a server that keeps silent", silent, {}],
      ["a server that hangs up", () => startTcpServer((socket) => socket.end()), {}],
      ["a server of another authority", () => answering(httpAnswer("200 OK", goodBody), untrusted), {}],
      ["403", () => answering(httpAnswer("403 Forbidden", "")), {}],
      ["404", () => answering(httpAnswer("404 Not Found", "")), {}],
      ["500", () => answering(httpAnswer("500 Internal Server Error", goodBody)), {}],
      ["a redirect", () => answering(httpAnswer("302 Found", "", ["Location: /provider"])), {}],
      ["malformed JSON", () => answering(httpAnswer("200 OK", "{")), {}],
      ["a missing field", () => answering(json({ username: "u", password: "p" })), {}],
      ["an empty field", () => answering(json({ ...whole, password: "" })), {}],
      ["a number as a password", () => answering(json({ ...whole, password: 1 })), {}],
    ];
    const disagreements: string[] = [];
    for (const [name, start, changed] of cases) {
      const running = await start();
      try {
        writeHostFiles(wine, "probed", files(running.port, changed));
        const link = await probe("probed");
        const { calls } = await callPlugin(wine, ["probed:webapp01"]);
        const number = Number.parseInt(calls[0]?.result ?? "0", 16) & 0xffff;
        const [lowest, highest] = groups[link] ?? [-1, -1];
        if (number < lowest || number > highest) disagreements.push(`${name}: ${link}, ${String(number)}`);
      } finally {
        await running.close();
      }
    }
    assert.deepEqual(disagreements, []);
  });
});
