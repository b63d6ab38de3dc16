/**
 * The plugin as COM has it: the rules of a class object, in process and through dllhost.exe, from many threads, and a
 * thousand times without growing.
 * @module
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { callPlugin, parseLines, readCauses, resultOf } from "../plugin-calls.ts";
import {
  goodBody,
  httpAnswer,
  issue,
  keyVaultDirectory,
  makeAuthority,
  startTlsServer,
  writeHostFiles,
  type FixtureServer,
} from "../provider-fixture.ts";
import { keyVaultClassId, pluginDll, replacedClassId, Wine } from "../wine.ts";

const causes = readCauses();
const expected = JSON.parse(goodBody) as Readonly<Record<string, string>>;

let wine: Wine;
let server: FixtureServer;
before(async () => {
  wine = await Wine.start();
  await wine.registerPlugin("answer-key-vault-plugin");
  const authority = await makeAuthority();
  const [own, client] = await Promise.all([issue(authority, "server"), issue(authority, "client")]);
  server = await startTlsServer(
    { cert: own.certificatePem, key: own.privateKeyPem.reveal(), ca: authority.certificatePem },
    (socket) =>
      socket.end(socket.authorized ? httpAnswer("200 OK", goodBody) : httpAnswer("403 Forbidden", "")),
  );
  for (const directory of ["ns", keyVaultDirectory]) {
    writeHostFiles(wine, directory, {
      port: String(server.port),
      authority: authority.certificatePem,
      certificate: client.certificatePem,
      key: client.privateKeyPem.reveal(),
    });
  }
});
after(async () => {
  await server.close();
  await wine.close();
});

function assertGood(call: { readonly result: string; readonly password: string | null } | undefined): void {
  assert.equal(call?.result, "00000000");
  assert.equal(call?.password, expected["password"]);
}

describe("the class object", () => {
  test("keeps the rules of COM and lets the DLL go when nothing is held", async () => {
    const { stdout } = await wine.host("lifecycle", pluginDll);

    assert.deepEqual(JSON.parse(stdout), {
      unloadAtFirst: "00000000",
      strangeClass: "80040111",
      noOutput: "80004003",
      strangeInterface: "80004002",
      factory: "00000000",
      unloadWithFactory: "00000001",
      aggregated: "80040110",
      objectStrange: "80004002",
      object: "00000000",
      unloadWithObject: "00000001",
      query: "00000000",
      sameIdentity: true,
      nullOutput: "80004003",
      left: 0,
      unloadAtLast: "00000000",
      freed: true,
    });
  });

  test("has a sentence for every HRESULT it can give", async () => {
    const { stdout } = await wine.host("messages", pluginDll);

    const messages = parseLines(stdout) as readonly { readonly number: number; readonly text: string }[];
    assert.deepEqual(
      messages.map(({ number }) => number),
      [...causes.values()],
    );
    for (const { text } of messages) assert.match(text, /^[A-Z].*\.\r\n$/u);
  });
});

describe("calls", () => {
  test("in process, by each class id", async () => {
    assertGood((await callPlugin(wine, ["ns:webapp01"])).calls[0]);
    assertGood((await callPlugin(wine, ["ns:webapp01"], { classId: replacedClassId })).calls[0]);
    assertGood((await callPlugin(wine, ["ns:webapp01"], { classId: keyVaultClassId })).calls[0]);
  });

  test("a credential spec made for Microsoft's Key Vault plugin, through dllhost", async () => {
    const input =
      "ObjectId=01234567-89ab-cdef-0123-456789abcdef;SecretUri=https://contoso.vault.azure.net/secrets/a";

    const { calls } = await callPlugin(wine, [input], { classId: keyVaultClassId, surrogate: true });

    assertGood(calls[0]);
  });

  test("out of process, through dllhost: strings and failures cross over, outputs stay NULL on failure", async () => {
    const { calls } = await callPlugin(wine, ["ns:webapp01", "nowhere:webapp01", "bad"], { surrogate: true });

    assertGood(calls[0]);
    assert.deepEqual(
      calls
        .slice(1)
        .map(({ result, username, password, domainName }) => [result, username, password, domainName]),
      [
        [resultOf(causes.get("directory_missing") ?? 0), null, null, null],
        [resultOf(causes.get("input_form") ?? 0), null, null, null],
      ],
    );
  });

  test("from 16 threads at once, in process", async () => {
    const { calls, exitCode } = await callPlugin(wine, ["ns:webapp01"], { threads: 16, count: 10 });

    assert.equal(exitCode, 0);
    assert.equal(calls.length, 160);
    for (const call of calls) assertGood(call);
  });

  test("from 16 threads at once, through dllhost, good and bad mixed", async () => {
    const { calls } = await callPlugin(wine, ["ns:webapp01", "nowhere:x"], {
      surrogate: true,
      threads: 16,
      count: 3,
    });

    assert.equal(calls.length, 96);
    assert.equal(calls.filter(({ password }) => password === expected["password"]).length, 48);
    assert.equal(calls.filter(({ password }) => password === null).length, 48);
  });

  test("a thousand of them use no more memory than the first hundred", async () => {
    const { stdout } = await wine.host(
      "grow",
      "{D035536E-1862-450C-830A-FB8629184C57}",
      "100",
      "1000",
      "ns:webapp01",
    );

    const seen = JSON.parse(stdout) as Readonly<Record<string, number>>;
    assert.equal(seen["failures"], 0);
    assert.ok((seen["blocksAfter"] ?? 0) <= (seen["blocksBefore"] ?? 0) + 5, stdout);
    assert.ok((seen["bytesAfter"] ?? 0) <= (seen["bytesBefore"] ?? 0) + 4096, stdout);
    assert.ok((seen["handlesAfter"] ?? 0) <= (seen["handlesBefore"] ?? 0), stdout);
  });

  test("a thousand failures use no more memory either", async () => {
    const { stdout } = await wine.host(
      "grow",
      "{D035536E-1862-450C-830A-FB8629184C57}",
      "100",
      "1000",
      "nowhere:webapp01",
    );

    const seen = JSON.parse(stdout) as Readonly<Record<string, number>>;
    assert.equal(seen["failures"], 1100);
    assert.ok((seen["blocksAfter"] ?? 0) <= (seen["blocksBefore"] ?? 0) + 5, stdout);
  });
});
