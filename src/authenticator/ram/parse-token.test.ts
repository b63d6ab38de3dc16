import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as fc from "fast-check";
import { parseToken, type ParsedToken, type ParseTokenOptions, type TokenFault } from "./parse-token.ts";
import { signRpc } from "./sign.ts";
import { mintToken, v2Prefix } from "./token.ts";

const now = Date.parse("2026-01-01T00:10:00Z");
const clusterId = "c1234567890abcdef";
const key = { accessKeyId: "LTAI.example", accessKeySecret: "secret", securityToken: "CAIS+token/=" };
const options: ParseTokenOptions = {
  clusterId,
  now,
  clockSkewMs: 300_000,
  maxLength: 8192,
  acceptV1: false,
  extraParameters: [],
};

interface Envelope {
  clusterId?: unknown;
  query?: Record<string, unknown>;
  headers?: Record<string, unknown>;
  [other: string]: unknown;
}

function envelope(): Required<Envelope> {
  const { token } = mintToken(clusterId, key, now, "sallyport/test");
  return JSON.parse(Buffer.from(token.slice(v2Prefix.length), "base64").toString()) as Required<Envelope>;
}

function encode(value: unknown): string {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return v2Prefix + Buffer.from(text).toString("base64");
}

function faultOf(token: string, changed: Partial<ParseTokenOptions> = {}): TokenFault | undefined {
  const parsed: ParsedToken = parseToken(token, { ...options, ...changed });
  return parsed.ok ? undefined : parsed.reason;
}

test("a minted token is read back with the parts that STS has to see", () => {
  const parsed = parseToken(mintToken(clusterId, key, now, "sallyport/test").token, options);

  assert.ok(parsed.ok);
  assert.ok(parsed.token.generation === 2);
  assert.equal(parsed.token.accessKeyId, key.accessKeyId);
  assert.equal(parsed.token.securityToken, key.securityToken);
  assert.equal(parsed.token.date, "2026-01-01T00:10:00Z");
  assert.equal(parsed.token.userAgent, "sallyport/test");
});

test("the minted envelope has the members that ack-ram-tool writes", () => {
  const { headers, ...rest } = envelope();

  assert.deepEqual(rest, { clusterId, method: "POST", path: "/", query: { ACKClusterId: clusterId } });
  assert.deepEqual(Object.keys(headers).sort(), [
    "Authorization",
    "user-agent",
    "x-acs-action",
    "x-acs-content-sha256",
    "x-acs-date",
    "x-acs-security-token",
    "x-acs-version",
  ]);
});

describe("encodings", () => {
  const json = JSON.stringify({ ...envelope(), note: "~~~???>>>" });
  for (const alphabet of ["base64", "base64url"] as const) {
    for (const padded of [true, false]) {
      test(`${alphabet} ${padded ? "with" : "without"} padding is accepted`, () => {
        const bare = Buffer.from(json).toString(alphabet).replace(/=+$/, "");
        const text = padded ? bare.padEnd(Math.ceil(bare.length / 4) * 4, "=") : bare;

        assert.equal(faultOf(v2Prefix + text), undefined);
      });
    }
  }
  const broken: readonly [name: string, text: string][] = [
    ["white space", `${Buffer.from(json).toString("base64")}\n`],
    ["padding in the middle", `AA==${Buffer.from(json).toString("base64")}`],
    ["a character of neither alphabet", "e30!"],
    ["too much padding", "e30==="],
    ["one character too many", "e30eY"],
    ["bits that are left over", "e31="],
    ["bytes that are not UTF-8", Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d]).toString("base64")],
  ];
  for (const [name, text] of broken) {
    test(`base64 with ${name} is refused`, () => {
      assert.equal(faultOf(v2Prefix + text), "not-base64");
    });
  }
});

test("a token of one megabyte is refused by its length", () => {
  assert.equal(faultOf(v2Prefix + "A".repeat(1_000_000)), "too-large");
});

test("other bearer tokens are refused by their prefix", () => {
  for (const text of ["", "eyJhbGciOi.eyJ.sig", "k8s-aws-v1.abc", "K8S-ACK-V2.e30="]) {
    assert.equal(faultOf(text), "wrong-prefix");
  }
});

describe("the cluster binding", () => {
  test("a token that was signed for another cluster is refused, whatever its unsigned field says", () => {
    const { token } = mintToken("c0000000000000000", key, now, "x");
    const replayed = JSON.parse(Buffer.from(token.slice(v2Prefix.length), "base64").toString()) as Envelope;
    replayed.clusterId = clusterId;

    assert.equal(faultOf(encode(replayed)), "other-cluster");
  });

  test("the unsigned field alone decides nothing", () => {
    assert.equal(faultOf(encode({ ...envelope(), clusterId: "c0000000000000000" })), undefined);
    const { clusterId: _gone, method: _method, path: _path, ...rest } = envelope();
    assert.equal(faultOf(encode(rest)), undefined);
  });

  test("the refusal names the other cluster in printable characters only", () => {
    const parsed = parseToken(encode({ ...envelope(), query: { ACKClusterId: "a\nb\u0007" } }), options);

    assert.ok(!parsed.ok);
    assert.equal(parsed.message, "unexpected clusterid a?b? in token");
  });
});

describe("query parameters", () => {
  test("one that is not on the allow-list is refused, not dropped", () => {
    const token = encode({ ...envelope(), query: { ACKClusterId: clusterId, env: "prod" } });

    assert.equal(faultOf(token), "unexpected-parameter");
    assert.equal(faultOf(token, { extraParameters: ["env"] }), undefined);
  });

  for (const name of ["Action", "x-acs-action", "ackclusterid"]) {
    test(`${name} cannot stand among them`, () => {
      const token = encode({ ...envelope(), query: { ACKClusterId: clusterId, [name]: "AssumeRole" } });
      assert.ok(["unexpected-parameter", "repeated-name"].includes(faultOf(token) ?? ""));
    });
  }
});

describe("every part of the envelope", () => {
  for (const part of ["query", "headers"] as const) {
    for (const value of [
      undefined,
      null,
      [],
      "text",
      1,
      { ACKClusterId: 1 },
      { ACKClusterId: [clusterId] },
    ]) {
      test(`${part} as ${JSON.stringify(value) ?? "nothing"} is refused`, () => {
        assert.equal(faultOf(encode({ ...envelope(), [part]: value })), "malformed");
      });
    }
  }

  const required: Readonly<Record<string, TokenFault>> = {
    Authorization: "bad-authorization",
    "x-acs-action": "unexpected-action",
    "x-acs-version": "unexpected-version",
    "x-acs-content-sha256": "unexpected-body",
    "x-acs-date": "malformed",
    "x-acs-security-token": "bad-signed-headers",
  };
  for (const [name, expected] of Object.entries(required)) {
    test(`${name} that is missing is refused`, () => {
      const value = envelope();
      delete value.headers[name];
      assert.equal(faultOf(encode(value)), expected);
    });

    test(`${name} that is empty is refused`, () => {
      const value = envelope();
      value.headers[name] = "";
      assert.notEqual(faultOf(encode(value)), undefined);
    });

    test(`${name} with a line break is refused`, () => {
      const value = envelope();
      value.headers[name] = `${String(value.headers[name])}\r\nx-injected: 1`;
      assert.notEqual(faultOf(encode(value)), undefined);
    });

    test(`${name} of another type is refused`, () => {
      const value = envelope();
      value.headers[name] = [value.headers[name]];
      assert.equal(faultOf(encode(value)), "malformed");
    });

    test(`${name} that stands twice is refused, also in another case`, () => {
      for (const twin of [name, name.toUpperCase()]) {
        const text = JSON.stringify(envelope()).replace(`"${name}"`, `"${twin}":"x","${name}"`);
        assert.equal(faultOf(encode(text)), "repeated-name");
      }
    });
  }

  const long: readonly [name: string, length: number, expected: TokenFault][] = [
    ["x-acs-date", 100, "malformed"],
    ["x-acs-security-token", 6_001, "malformed"],
    ["x-acs-signature-nonce", 65, "malformed"],
    ["x-acs-action", 100, "unexpected-action"],
    ["Authorization", 7_000, "bad-authorization"],
  ];
  for (const [name, length, expected] of long) {
    test(`${name} that is over-long is refused`, () => {
      const value = envelope();
      value.headers[name] = "a".repeat(length);
      assert.equal(faultOf(encode(value), { maxLength: 65_536 }), expected);
    });
  }

  test("a user agent of any length and kind is shown in part only", () => {
    const value = envelope();
    value.headers["user-agent"] = `agent\r\nx-injected: 1 ${"é".repeat(500)}`;
    const parsed = parseToken(encode(value), options);
    assert.ok(parsed.ok);
    assert.match(parsed.token.userAgent, /^agent\?\?x-injected: 1 \?+$/);
    assert.equal(parsed.token.userAgent.length, 128);
  });

  test("a name that stands twice is found when it is written with escapes", () => {
    const text = JSON.stringify(envelope()).replace('"query":{', '"query":{"\\u0041CKClusterId":"x",');
    assert.equal(faultOf(encode(text)), "repeated-name");
  });
});

describe("the Authorization header", () => {
  const good = String(envelope().headers["Authorization"]);
  const bad: readonly [name: string, value: string][] = [
    ["a spoofed credential before the real one", good.replace("Credential=", "Credential=SPOOF,Credential=")],
    ["a space after a comma", good.replace(",Signed", ", Signed")],
    ["another algorithm", good.replace("SHA256", "SHA1")],
    [
      "a signature in upper case",
      good.replace(/[0-9a-f]{64}$/, (hex) => hex.toUpperCase().replace(/0/g, "A")),
    ],
    ["a short signature", good.slice(0, -1)],
    ["something after it", `${good},x=y`],
    ["an access key with other characters", good.replace("LTAI.example", "LTAI example")],
    ["an over-long access key", good.replace("LTAI.example", "L".repeat(129))],
  ];
  for (const [name, value] of bad) {
    test(`with ${name} is refused`, () => {
      const changed = envelope();
      changed.headers["Authorization"] = value;
      assert.equal(faultOf(encode(changed)), "bad-authorization");
    });
  }

  for (const names of [
    "x-acs-action",
    "x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-security-token",
    "x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-version",
    "host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-security-token;x-acs-version",
    "x-acs-action;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-security-token;x-acs-version",
  ]) {
    test(`that signs ${names} is refused`, () => {
      const changed = envelope();
      changed.headers["Authorization"] = good.replace(/SignedHeaders=[^,]+/, `SignedHeaders=${names}`);
      assert.equal(faultOf(encode(changed)), "bad-signed-headers");
    });
  }
});

describe("the date", () => {
  const cases: readonly [offsetSeconds: number, expected: TokenFault | undefined][] = [
    [-900, undefined],
    [-901, "too-old"],
    [300, undefined],
    [301, "from-the-future"],
    [-2 * 86_400, "too-old"],
  ];
  for (const [offset, expected] of cases) {
    test(`${offset} s from now is ${expected ?? "accepted"}`, () => {
      assert.equal(faultOf(mintToken(clusterId, key, now + offset * 1000, "x").token), expected);
    });
  }
  for (const date of [
    "2026-01-01",
    "2026-02-30T00:00:00Z",
    "2026-01-01T00:10:00+00:00",
    "Thu, 01 Jan 2026",
  ]) {
    test(`${date} is malformed`, () => {
      const changed = envelope();
      changed.headers["x-acs-date"] = date;
      assert.equal(faultOf(encode(changed)), "malformed");
    });
  }
});

describe("a token of the first generation", () => {
  const parameters = {
    SignatureVersion: "1.0",
    Format: "JSON",
    Timestamp: "2026-01-01T00:05:00Z",
    AccessKeyId: "testid",
    SignatureMethod: "HMAC-SHA1",
    Version: "2015-04-01",
    SignatureNonce: "8ac2a3ac-44c2-4a0e-afe0-de8f130e30fd",
    Action: "GetCallerIdentity",
    ClusterId: clusterId,
  };
  const v1 = { acceptV1: true };

  function urlOf(
    changed: Readonly<Record<string, string>> = {},
    origin = "https://sts.aliyuncs.com/",
  ): string {
    const all: Record<string, string> = { ...parameters, ...changed };
    const signature = signRpc("GET", Object.entries(all), "testsecret");
    return `${origin}?${new URLSearchParams({ ...all, Signature: signature }).toString()}`;
  }
  const wrap = (url: string, alphabet: "base64" | "base64url" = "base64"): string =>
    `k8s-ack-v1.${Buffer.from(url).toString(alphabet)}`;

  test("is refused unless it is switched on", () => {
    assert.equal(faultOf(wrap(urlOf())), "wrong-prefix");
  });

  for (const alphabet of ["base64", "base64url"] as const) {
    test(`is accepted in ${alphabet} when switched on`, () => {
      const parsed = parseToken(wrap(urlOf(), alphabet), { ...options, ...v1 });

      assert.ok(parsed.ok);
      assert.equal(parsed.token.accessKeyId, "testid");
    });
  }

  const bad: readonly [name: string, url: string, expected: TokenFault][] = [
    ["another host", urlOf({}, "https://evil.example/"), "malformed"],
    ["a host that only ends alike", urlOf({}, "https://sts.aliyuncs.com.evil.example/"), "malformed"],
    ["plain HTTP", urlOf({}, "http://sts.aliyuncs.com/"), "malformed"],
    ["a port", urlOf({}, "https://sts.aliyuncs.com:8443/"), "malformed"],
    ["a user", urlOf({}, "https://user@sts.aliyuncs.com/"), "malformed"],
    ["a path", urlOf({}, "https://sts.aliyuncs.com/x"), "malformed"],
    ["another action", urlOf({ Action: "AssumeRole" }), "unexpected-action"],
    ["a second action in another case", `${urlOf()}&action=AssumeRole`, "repeated-name"],
    ["the same action twice", `${urlOf()}&Action=GetCallerIdentity`, "repeated-name"],
    ["another cluster", urlOf({ ClusterId: "other" }), "other-cluster"],
    ["another parameter", urlOf({ RoleArn: "acs:ram::1:role/x" }), "unexpected-parameter"],
    ["another version", urlOf({ Version: "2014-05-26" }), "malformed"],
    ["another signature method", urlOf({ SignatureMethod: "HMAC-SHA256" }), "malformed"],
    ["an old date", urlOf({ Timestamp: "2025-12-31T00:00:00Z" }), "too-old"],
    ["no URL", "nothing", "malformed"],
  ];
  for (const [name, url, expected] of bad) {
    test(`with ${name} is refused`, () => {
      assert.equal(faultOf(wrap(url), v1), expected);
    });
  }
});

test("never throws, whatever the text", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 400 }), fc.boolean(), (text, acceptV1) => {
      for (const prefix of ["", v2Prefix, "k8s-ack-v1."]) {
        parseToken(prefix + text, { ...options, acceptV1 });
        parseToken(prefix + Buffer.from(text).toString("base64"), { ...options, acceptV1 });
      }
    }),
  );
});

test("never throws for any JSON, and accepts none that was not signed for this cluster", () => {
  fc.assert(
    fc.property(fc.json(), (text) => {
      assert.notEqual(faultOf(encode(text)), undefined);
    }),
  );
});
