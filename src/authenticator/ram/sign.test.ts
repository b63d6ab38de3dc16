import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import * as fc from "fast-check";
import {
  acs3Authorization,
  canonicaliseAcs3,
  percentEncode,
  signAcs3,
  signRpc,
  type Acs3Request,
  type Fields,
} from "./sign.ts";

interface Vectors {
  readonly acs3: readonly {
    readonly name: string;
    readonly secret: string;
    readonly request: Acs3Request;
    readonly hash?: string;
    readonly signature: string;
  }[];
  readonly rpc: readonly {
    readonly name: string;
    readonly method: string;
    readonly secret: string;
    readonly parameters: Fields;
    readonly signature: string;
  }[];
}

const vectors = JSON.parse(
  readFileSync(new URL("../../../test/vectors/ram-signatures.json", import.meta.url), "utf8"),
) as Vectors;

describe("the ACS3 signature", () => {
  for (const vector of vectors.acs3) {
    test(`agrees with example ${vector.name}`, () => {
      const { hash } = canonicaliseAcs3(vector.request);

      if (vector.hash !== undefined) assert.equal(hash, vector.hash);
      assert.equal(signAcs3(hash, vector.secret), vector.signature);
    });
  }

  test("canonicalises example A to the documented text", () => {
    const request = vectors.acs3[0]?.request;
    assert.ok(request);

    assert.equal(
      canonicaliseAcs3(request).canonicalRequest,
      `POST
/
ACKClusterId=c1234567890abcdef
x-acs-action:GetCallerIdentity
x-acs-content-sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
x-acs-date:2024-07-31T11:35:24Z
x-acs-version:2015-04-01

x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-version
e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855`,
    );
  });

  test("makes an Authorization header without spaces between its parts", () => {
    const request = vectors.acs3[0]?.request;
    assert.ok(request);

    assert.equal(
      acs3Authorization(request, "LTAI_EXAMPLE", "EXAMPLE_SECRET"),
      "ACS3-HMAC-SHA256 Credential=LTAI_EXAMPLE,SignedHeaders=x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-version,Signature=adbefb83215c4e79260737b22491c71c693d7bab2a75e3ea4fc7e711e25e8b24",
    );
  });
});

describe("the RPC signature", () => {
  for (const vector of vectors.rpc) {
    test(`agrees with example ${vector.name}`, () => {
      assert.equal(signRpc(vector.method, vector.parameters, vector.secret), vector.signature);
    });
  }
});

test("percent-encoding keeps the unreserved characters of RFC 3986 and nothing else", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), (text) => {
      const encoded = percentEncode(text);

      assert.match(encoded, /^(?:[A-Za-z0-9._~-]|%[0-9A-F]{2})*$/);
      assert.equal(decodeURIComponent(encoded), text);
    }),
  );
});
