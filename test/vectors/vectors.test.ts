/**
 * The vectors that the DLL's parsers are held to, held to JavaScript's own: what C and TypeScript are to agree on.
 * @module
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";

interface Vector {
  readonly name: string;
  readonly cause: string;
  readonly input?: string;
  readonly text?: string;
  readonly hex?: string;
  readonly namespace?: string;
  readonly secret?: string;
  /** What the header `object` holds for an input of Key Vault's, and how much of it may be logged. */
  readonly keyVault?: string;
  readonly shown?: string;
  readonly port?: number;
  readonly username?: string;
  readonly password?: string;
  readonly domainName?: string;
}

function read(kind: string): readonly Vector[] {
  const lines = readFileSync(join(import.meta.dirname, `${kind}.ndjson`), "utf8").trimEnd().split("\n");
  return lines.map((line) => JSON.parse(line) as Vector);
}

function bytesOf({ text, hex }: Vector): Buffer {
  return hex === undefined ? Buffer.from(text ?? "", "utf8") : Buffer.from(hex, "hex");
}

function parses(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

describe("credentials-json", () => {
  for (const vector of read("credentials-json")) {
    test(`${vector.name}: ${vector.cause}`, () => {
      const bytes = bytesOf(vector);
      const text = bytes.toString("utf8");
      if (vector.cause === "success") {
        const { username, password, domainName } = JSON.parse(text) as Vector;
        assert.deepEqual(
          [username, password, domainName],
          [vector.username, vector.password, vector.domainName],
        );
      } else if (vector.cause === "json_malformed") {
        assert.equal(parses(text), false);
      } else if (vector.cause !== "json_text") {
        assert.equal(parses(text), true);
      } else if (vector.hex !== undefined) {
        assert.throws(() => new TextDecoder("utf-8", { fatal: true }).decode(bytes));
      } else {
        const { password = "" } = JSON.parse(text) as Vector;
        assert.ok(!password.isWellFormed() || password.includes("\0"));
      }
    });
  }
});

describe("plugin-input", () => {
  const form = /^(?<namespace>[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?):(?<secret>(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)$/;

  /** What the header `object` says for an input of Key Vault's, as docs/reference/ccg-plugin.md describes it. */
  const keyVaultObject = (input: string): string | undefined => {
    const pairs = input
      .split(";")
      .filter((part) => part !== "")
      .map((part) => /^([^=]*)=(.*)$/s.exec(part)?.slice(1));
    const values = (key: string): readonly (string | undefined)[] =>
      pairs.filter((pair) => pair?.[0]?.replace(/[A-Z]/g, (letter) => letter.toLowerCase()) === key).map((pair) => pair?.[1]);
    const [id, ...moreIds] = values("objectid");
    const [uri, ...moreUris] = values("secreturi");
    const whole = pairs.every((pair) => pair !== undefined) && moreIds.length + moreUris.length === 0;
    if (!whole || input.length > 2_048 || id === undefined || uri === undefined) return undefined;
    if (!/^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i.test(id)) return undefined;
    return /^https:\/\/[!#-&(-[\]-~]+$/i.test(uri) ? `ObjectId=${id};SecretUri=${uri}` : undefined;
  };

  for (const { name, cause, input = "", namespace, secret, keyVault, shown } of read("plugin-input")) {
    test(`${name}: ${cause}`, () => {
      const groups = form.exec(input)?.groups;
      const object = input.includes("=") ? keyVaultObject(input) : undefined;
      assert.deepEqual([groups?.["namespace"], groups?.["secret"], object], [namespace, secret, keyVault]);
      assert.equal(cause === "success", groups !== undefined || object !== undefined);
      assert.ok(object?.startsWith(shown ?? "") ?? shown === undefined);
      if (object?.includes("@") === true) assert.ok(shown?.includes("SecretUri") === false);
    });
  }
});

describe("port-file", () => {
  for (const vector of read("port-file")) {
    test(`${vector.name}: ${vector.cause}`, () => {
      const text = bytesOf(vector).toString("utf8");
      const valid = /^[1-9]\d{0,4}$/.test(text) && Number(text) <= 65_535;
      assert.equal(valid ? Number(text) : undefined, vector.port);
      assert.equal(valid, vector.cause === "success");
    });
  }
});
