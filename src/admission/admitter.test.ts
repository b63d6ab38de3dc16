/**
 * Tests of every decision, text and code of the webhook; the expected texts are windows-gmsa's.
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { applyPatch } from "rfc6902";
import { sampleSpec } from "../../test/samples/credential-spec.ts";
import { canonicalJson } from "../credential-spec/canonical-json.ts";
import { nodeOf } from "../credential-spec/json.ts";
import { createAdmitter, type AdmitterOptions } from "./admitter.ts";
import type { AccessAnswer, AccessQuestion, SpecLookup } from "./ports.ts";
import { readReview, renderReview, type AdmissionRequest, type Verdict } from "./review.ts";

const contents = canonicalJson(nodeOf(sampleSpec()));

interface World {
  /** Answers by name, in order; the last one stays. A string is the contents. */
  readonly specs?: Readonly<Record<string, string | SpecLookup | readonly SpecLookup[]>>;
  readonly access?: (question: AccessQuestion) => AccessAnswer;
  readonly options?: Partial<AdmitterOptions>;
}

interface Asked {
  readonly reviews: AccessQuestion[];
  readonly lookUps: string[];
}

function admitterIn(world: World) {
  const asked: Asked = { reviews: [], lookUps: [] };
  const uses = new Map<string, number>();
  const admitter = createAdmitter(
    {
      specs: {
        lookUp(name, { fresh }) {
          asked.lookUps.push(fresh ? `${name} fresh` : name);
          const answers = world.specs?.[name] ?? { found: false, reason: "absent" };
          const list = Array.isArray(answers)
            ? (answers as readonly SpecLookup[])
            : [answers as string | SpecLookup];
          const use = uses.get(name) ?? 0;
          uses.set(name, use + 1);
          const answer = list[Math.min(use, list.length - 1)] ?? { found: false, reason: "absent" };
          return Promise.resolve(typeof answer === "string" ? { found: true, contents: answer } : answer);
        },
      },
      access: {
        review(question) {
          asked.reviews.push(question);
          return Promise.resolve(world.access?.(question) ?? { allowed: true });
        },
      },
      randomUuid: () => "0123abcd-4567-489a-bcde-f0123456789a",
    },
    { randomHostname: false, authoriseExpansion: true, missingContents: "deny", ...world.options },
  );
  return { admitter, asked };
}

type Options = Readonly<Record<string, unknown>>;

interface PodParts {
  readonly name?: string;
  readonly pod?: Options;
  readonly containers?: readonly (Options | undefined)[];
  readonly initContainers?: readonly (Options | undefined)[];
  readonly ephemeralContainers?: readonly (Options | undefined)[];
  readonly spec?: Options;
  readonly metadata?: Options;
}

function podOf(parts: PodParts): object {
  const list = (prefix: string, all: readonly (Options | undefined)[] | undefined): object =>
    all === undefined
      ? {}
      : {
          [prefix]: all.map((options, index) => ({
            name: `${prefix[0]}${index}`,
            ...(options === undefined ? {} : { securityContext: { windowsOptions: options } }),
          })),
        };
  return {
    metadata: { name: parts.name ?? "web-0", ...parts.metadata },
    spec: {
      serviceAccountName: "app",
      ...(parts.pod === undefined ? {} : { securityContext: { windowsOptions: parts.pod } }),
      ...list("containers", parts.containers ?? [undefined]),
      ...list("initContainers", parts.initContainers),
      ...list("ephemeralContainers", parts.ephemeralContainers),
      ...parts.spec,
    },
  };
}

function requestOf(parts: PodParts, more: Partial<AdmissionRequest> = {}): AdmissionRequest {
  return {
    uid: "u1",
    kind: "Pod",
    operation: "CREATE",
    namespace: "shop",
    subResource: "",
    object: podOf(parts),
    oldObject: null,
    ...more,
  };
}

const signal = new AbortController().signal;
const named = { gmsaCredentialSpecName: "webapp01" };
const expanded = { ...named, gmsaCredentialSpec: contents };
const denied = (code: number, message: string): Verdict => ({ allowed: false, code, message });
const allowed = (verdict: Verdict): boolean => verdict.allowed;

// ── The envelope ────────────────────────────────────────────────────────────────────────────────────────────────────

const envelopes: readonly (readonly [name: string, body: string, message: RegExp])[] = [
  ["no JSON", "nope", /^unable to unmarshall JSON body as an admission review: /],
  ["nothing", "", /^unable to unmarshall JSON body as an admission review: unexpected end of JSON input$/],
  ["a list", "[]", /^unable to unmarshall JSON body as an admission review: /],
  ["bytes after the end", "{} {}", /^unable to unmarshall JSON body as an admission review: /],
  ["a million brackets", "[".repeat(1_000_000), /^unable to unmarshall JSON body as an admission review: /],
  ["an empty object", "{}", /^no 'Request' field in JSON body$/],
  ["a null request", '{"request":null}', /^no 'Request' field in JSON body$/],
  [
    "a request that is a string",
    '{"request":"x"}',
    /^unable to unmarshall JSON body as an admission review: /,
  ],
];

for (const [name, body, message] of envelopes) {
  test(`a body that is ${name} is refused with 400 and an empty uid`, () => {
    const reading = readReview(body);

    assert.ok(!reading.ok && !reading.verdict.allowed);
    assert.deepEqual([reading.uid, reading.verdict.code], ["", 400]);
    assert.match(reading.verdict.message, message);
  });
}

test("a parse error does not repeat the body", () => {
  const reading = readReview('{"request": secret-text');

  assert.ok(!JSON.stringify(reading).includes("secret-text"));
});

test("any text is read or refused, never thrown at", () => {
  fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (body) => void readReview(body)));
});

test("answers have the shape and the key order of windows-gmsa's", () => {
  const patches = [{ op: "add", path: "/spec/hostname", value: "x" }] as const;

  assert.equal(
    renderReview("u1", { allowed: true, patches: [], warnings: [], authorised: [] }),
    '{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","response":{"uid":"u1","allowed":true}}',
  );
  assert.equal(
    renderReview("u1", denied(403, "no")),
    '{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","response":{"uid":"u1","allowed":false,"status":{"metadata":{},"message":"no","code":403}}}',
  );
  assert.equal(
    renderReview("u1", { allowed: true, patches, warnings: [], authorised: [] }),
    `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","response":{"uid":"u1","allowed":true,"patch":"${Buffer.from('[{"op":"add","path":"/spec/hostname","value":"x"}]').toString("base64")}","patchType":"JSONPatch"}}`,
  );
});

test("warnings are cut where the API server would cut them", () => {
  const answer = renderReview("u1", {
    allowed: true,
    patches: [],
    warnings: ["ä".repeat(300)],
    authorised: ["a"],
  });

  const { response } = JSON.parse(answer) as { readonly response: { readonly warnings: readonly string[] } };
  assert.equal(Array.from(response.warnings[0] ?? "").length, 256);
});

for (const path of ["mutate", "validate"] as const) {
  const refusals: readonly (readonly [name: string, request: Partial<AdmissionRequest>, message: string])[] =
    [
      ["another kind", { kind: "Deployment" }, "expected a Pod object, got a Deployment"],
      ["no object", { object: null }, "unable to unmarshall pod JSON object: unexpected end of JSON input"],
      [
        "an absent object",
        { object: undefined },
        "unable to unmarshall pod JSON object: unexpected end of JSON input",
      ],
      [
        "a pod that is a list",
        { object: [] },
        "unable to unmarshall pod JSON object: the pod is not an object",
      ],
      [
        "containers that are no list",
        { object: { spec: { containers: {} } } },
        "unable to unmarshall pod JSON object: spec.containers is not a list",
      ],
      [
        "a spec name that is a number",
        { object: { spec: { securityContext: { windowsOptions: { gmsaCredentialSpecName: 1 } } } } },
        "unable to unmarshall pod JSON object: spec.securityContext.windowsOptions.gmsaCredentialSpecName is not a string",
      ],
      ["a deletion", { operation: "DELETE" }, "unpexpected operation DELETE"],
      ["an operation in lower case", { operation: "create" }, "unpexpected operation create"],
    ];
  for (const [name, request, message] of refusals) {
    test(`${path} refuses ${name} with 400`, async () => {
      const { admitter } = admitterIn({});

      assert.deepEqual(await admitter[path](requestOf({}, request), signal), denied(400, message));
    });
  }

  test(`${path} allows a pod without Windows options and asks nobody`, async () => {
    const { admitter, asked } = admitterIn({});

    assert.ok(allowed(await admitter[path](requestOf({}), signal)));
    assert.deepEqual(asked, { reviews: [], lookUps: [] });
  });
}

// ── Mutate ──────────────────────────────────────────────────────────────────────────────────────────────────────────

test("mutate puts the contents in at pod, container, init and ephemeral level, in this order", async () => {
  const { admitter, asked } = admitterIn({ specs: { webapp01: contents, sql01: "{}" } });
  const request = requestOf({
    pod: named,
    containers: [undefined, named],
    initContainers: [{ gmsaCredentialSpecName: "sql01" }],
    ephemeralContainers: [named],
  });

  const verdict = await admitter.mutate(request, signal);

  assert.ok(verdict.allowed);
  assert.deepEqual(
    verdict.patches.map(({ path, value }) => [path, value === contents ? "webapp01" : value]),
    [
      ["/spec/securityContext/windowsOptions/gmsaCredentialSpec", "webapp01"],
      ["/spec/containers/1/securityContext/windowsOptions/gmsaCredentialSpec", "webapp01"],
      ["/spec/initContainers/0/securityContext/windowsOptions/gmsaCredentialSpec", "{}"],
      ["/spec/ephemeralContainers/0/securityContext/windowsOptions/gmsaCredentialSpec", "webapp01"],
    ],
  );
  assert.equal(asked.reviews.length, 2);
});

test("mutate leaves contents alone that are already there, even empty ones", async () => {
  const { admitter, asked } = admitterIn({});

  const verdict = await admitter.mutate(
    requestOf({ pod: expanded, containers: [{ ...named, gmsaCredentialSpec: "" }] }),
    signal,
  );

  assert.deepEqual(verdict, { allowed: true, patches: [], warnings: [], authorised: [] });
  assert.deepEqual(asked.lookUps, []);
});

test("mutate does not hand out contents that the service account may not use", async () => {
  const { admitter, asked } = admitterIn({
    specs: { webapp01: contents },
    access: () => ({ allowed: false, reason: "" }),
  });

  assert.deepEqual(
    await admitter.mutate(requestOf({ pod: named }), signal),
    denied(403, 'service account "app" is not authorized to `use` GMSA cred spec "webapp01"'),
  );
  assert.deepEqual(asked.lookUps, []);
});

test("mutate asks nobody about access when that is switched off", async () => {
  const { admitter, asked } = admitterIn({
    specs: { webapp01: contents },
    options: { authoriseExpansion: false },
  });

  assert.ok(allowed(await admitter.mutate(requestOf({ pod: named }), signal)));
  assert.deepEqual(asked.reviews, []);
});

const retrievals: readonly (readonly [
  name: string,
  specName: string,
  lookup: SpecLookup,
  code: number,
  message: string,
])[] = [
  [
    "a spec that is not there",
    "webapp01",
    { found: false, reason: "absent" },
    404,
    "cred spec webapp01 does not exist",
  ],
  [
    "a spec without contents",
    "webapp01",
    { found: true, contents: undefined },
    417,
    "cred spec webapp01 does not have a credspec key",
  ],
  [
    "an API error that ends in not found",
    "webapp01",
    { found: false, reason: "unknown", detail: "500: page not found" },
    500,
    "unable to retrieve the contents of cred spec webapp01: 500: page not found",
  ],
  [
    "an API error of three characters",
    "webapp01",
    { found: false, reason: "unknown", detail: "odd" },
    500,
    "unable to retrieve the contents of cred spec webapp01: odd",
  ],
  [
    "an empty name",
    "",
    { found: false, reason: "absent" },
    500,
    "unable to retrieve the contents of cred spec : name is required",
  ],
  [
    "a name with a slash",
    "a/b",
    { found: false, reason: "absent" },
    500,
    `unable to retrieve the contents of cred spec a/b: invalid resource name "a/b": [may not contain '/']`,
  ],
  [
    "a name that climbs",
    "..",
    { found: false, reason: "absent" },
    500,
    `unable to retrieve the contents of cred spec ..: invalid resource name "..": [may not be '..']`,
  ],
  [
    "a name with both forbidden characters",
    "../%",
    { found: false, reason: "absent" },
    500,
    `unable to retrieve the contents of cred spec ../%: invalid resource name "../%": [may not contain '/' may not contain '%']`,
  ],
];

for (const [name, specName, lookup, code, message] of retrievals) {
  test(`mutate answers ${code} for ${name}`, async () => {
    const { admitter } = admitterIn({ specs: { [specName]: lookup } });

    const verdict = await admitter.mutate(requestOf({ pod: { gmsaCredentialSpecName: specName } }), signal);

    assert.deepEqual(verdict, denied(code, message));
  });
}

test("mutate gives a pod with an identity a host name of 15 characters, last", async () => {
  const { admitter } = admitterIn({ specs: { webapp01: contents }, options: { randomHostname: true } });

  const verdict = await admitter.mutate(requestOf({ pod: expanded, containers: [named] }), signal);

  assert.ok(verdict.allowed);
  assert.deepEqual(verdict.patches.at(-1), { op: "add", path: "/spec/hostname", value: "0123abcd-4567-4" });
  assert.equal(verdict.patches.length, 2);
});

test("a host name that is set, or a pod without identity, is left alone", async () => {
  const { admitter } = admitterIn({ options: { randomHostname: true } });

  for (const parts of [{ pod: expanded, spec: { hostname: "mine" } }, { pod: { runAsUserName: "x" } }, {}]) {
    const verdict = await admitter.mutate(requestOf(parts), signal);

    assert.deepEqual(verdict, { allowed: true, patches: [], warnings: [], authorised: [] });
  }
});

test("an update is not mutated", async () => {
  const { admitter, asked } = admitterIn({});

  const verdict = await admitter.mutate(
    requestOf({ pod: named }, { operation: "UPDATE", oldObject: podOf({}) }),
    signal,
  );

  assert.deepEqual(verdict, { allowed: true, patches: [], warnings: [], authorised: [] });
  assert.deepEqual(asked, { reviews: [], lookUps: [] });
});

test("an ephemeral container added later gets its contents, those that were there do not", async () => {
  const { admitter } = admitterIn({ specs: { webapp01: contents }, options: { randomHostname: true } });
  const old = podOf({ pod: expanded, ephemeralContainers: [expanded] });
  const request = requestOf(
    { pod: expanded, ephemeralContainers: [expanded, named] },
    { operation: "UPDATE", subResource: "ephemeralcontainers", oldObject: old },
  );

  const verdict = await admitter.mutate(request, signal);

  assert.ok(verdict.allowed);
  assert.deepEqual(
    verdict.patches.map(({ path }) => path),
    ["/spec/ephemeralContainers/1/securityContext/windowsOptions/gmsaCredentialSpec"],
  );
});

const naming = (count: number): PodParts => ({
  containers: Array.from({ length: count }, (_, at) => ({
    gmsaCredentialSpecName: `spec-${at}`,
    gmsaCredentialSpec: contents,
  })),
});
const unexpanded = (count: number): PodParts => ({
  containers: Array.from({ length: count }, (_, at) => ({ gmsaCredentialSpecName: `spec-${at}` })),
});

for (const [path, parts] of [
  ["mutate", unexpanded],
  ["validate", naming],
] as const) {
  test(`${path} refuses a pod that names more than 64 specs, and asks nobody`, async () => {
    const specs = Object.fromEntries(Array.from({ length: 64 }, (_, at) => [`spec-${at}`, contents]));
    const { admitter, asked } = admitterIn({ specs });

    const refused = await admitter[path](requestOf(parts(12_000)), signal);

    assert.deepEqual(
      refused,
      denied(
        422,
        "the pod names 12000 different GMSA cred specs, more than the 64 that one pod may name: split it into several pods",
      ),
    );
    assert.deepEqual(asked, { reviews: [], lookUps: [] });
    assert.ok(allowed(await admitter[path](requestOf(parts(64)), signal)));
    assert.equal(asked.reviews.length, 64);
  });

  test(`${path} asks in order, eight at a time, and no more after a refusal`, async () => {
    const specs = Object.fromEntries(Array.from({ length: 64 }, (_, at) => [`spec-${at}`, contents]));
    const { admitter, asked } = admitterIn({
      specs,
      access: ({ specName }) =>
        ["spec-9", "spec-12"].includes(specName) ? { allowed: false, reason: "" } : { allowed: true },
    });

    const refused = await admitter[path](requestOf(parts(40)), signal);

    assert.deepEqual(
      refused,
      denied(403, 'service account "app" is not authorized to `use` GMSA cred spec "spec-9"'),
    );
    assert.deepEqual(
      asked.reviews.map(({ specName }) => specName),
      Array.from({ length: 16 }, (_, at) => `spec-${at}`),
    );
  });
}

test("five hundred containers with one spec need one access review", async () => {
  const { admitter, asked } = admitterIn({ specs: { webapp01: contents } });

  const verdict = await admitter.mutate(
    requestOf({ containers: Array.from({ length: 500 }, () => named) }),
    signal,
  );

  assert.ok(verdict.allowed);
  assert.equal(verdict.patches.length, 500);
  assert.equal(asked.reviews.length, 1);
});

test("the patch, applied by a JSON Patch library, fills exactly the named and empty places", async () => {
  const options = fc.option(
    fc.record(
      {
        gmsaCredentialSpecName: fc.constantFrom("webapp01", "sql01"),
        gmsaCredentialSpec: fc.constantFrom("kept", ""),
      },
      { requiredKeys: [] },
    ),
    { nil: undefined },
  );
  const specs: Readonly<Record<string, string>> = { webapp01: contents, sql01: '{"a":"\u2028<"}' };
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        pod: options,
        containers: fc.array(options),
        initContainers: fc.array(options),
        ephemeralContainers: fc.array(options),
      }),
      fc.boolean(),
      async ({ pod, ...lists }, randomHostname) => {
        const parts = pod === undefined ? lists : { ...lists, pod };
        const { admitter } = admitterIn({ specs, options: { randomHostname } });
        const fill = (one: Options | undefined): Options | undefined =>
          one?.["gmsaCredentialSpecName"] === undefined || one["gmsaCredentialSpec"] !== undefined
            ? one
            : { ...one, gmsaCredentialSpec: specs[one["gmsaCredentialSpecName"] as string] };
        const all = [pod, ...lists.containers, ...lists.initContainers, ...lists.ephemeralContainers];
        const hasIdentity = all.some((one) => one?.gmsaCredentialSpecName !== undefined);
        const filledPod = fill(pod);
        const expected = podOf({
          ...(filledPod === undefined ? {} : { pod: filledPod }),
          containers: lists.containers.map(fill),
          initContainers: lists.initContainers.map(fill),
          ephemeralContainers: lists.ephemeralContainers.map(fill),
          ...(randomHostname && hasIdentity ? { spec: { hostname: "0123abcd-4567-4" } } : {}),
        });

        const verdict = await admitter.mutate(requestOf(parts), signal);

        assert.ok(verdict.allowed);
        const document = podOf(parts);
        const errors = applyPatch(document, [...verdict.patches]);
        assert.deepEqual(
          errors.filter((error) => error !== null),
          [],
        );
        // Through JSON: generated records have no prototype.
        assert.deepEqual(JSON.parse(JSON.stringify(document)), JSON.parse(JSON.stringify(expected)));
      },
    ),
  );
});

// ── Validate ────────────────────────────────────────────────────────────────────────────────────────────────────────

test("validate asks for the pod's service account in the pod's namespace", async () => {
  const { admitter, asked } = admitterIn({ specs: { webapp01: contents } });

  const verdict = await admitter.validate(requestOf({ pod: expanded, containers: [expanded] }), signal);

  assert.deepEqual(verdict, { allowed: true, patches: [], warnings: [], authorised: ["webapp01"] });
  assert.deepEqual(asked.reviews, [{ namespace: "shop", serviceAccount: "app", specName: "webapp01" }]);
});

const accessRefusals: readonly (readonly [reason: string, message: string])[] = [
  ["", 'service account "app" is not authorized to `use` GMSA cred spec "webapp01"'],
  [
    "no rule",
    'service account "app" is not authorized to `use` GMSA cred spec "webapp01", reason: "no rule"',
  ],
  [
    "error when checking authz access: 100% gone",
    'service account "app" is not authorized to `use` GMSA cred spec "webapp01", reason: "error when checking authz access: 100% gone"',
  ],
];

for (const [reason, message] of accessRefusals) {
  test(`validate refuses with 403 and ${reason === "" ? "no reason" : `the reason ${reason}`}`, async () => {
    const { admitter } = admitterIn({
      specs: { webapp01: contents },
      access: () => ({ allowed: false, reason }),
    });

    assert.deepEqual(await admitter.validate(requestOf({ pod: expanded }), signal), denied(403, message));
  });
}

for (const kind of ["pod", "container", "initContainer", "ephemeralContainer"] as const) {
  const at = (options: Options): PodParts =>
    kind === "pod" ? { pod: options } : { [`${kind}s`]: [options] };
  const resource = { pod: "web-0", container: "c0", initContainer: "i0", ephemeralContainer: "e0" }[kind];

  test(`validate refuses without the right to use at ${kind} level`, async () => {
    const { admitter } = admitterIn({
      specs: { webapp01: contents },
      access: () => ({ allowed: false, reason: "" }),
    });

    const verdict = await admitter.validate(requestOf(at(expanded)), signal);

    assert.ok(!verdict.allowed && verdict.code === 403);
  });

  test(`validate refuses other contents at ${kind} level`, async () => {
    const { admitter } = admitterIn({ specs: { webapp01: contents } });

    assert.deepEqual(
      await admitter.validate(requestOf(at({ ...named, gmsaCredentialSpec: "{}" })), signal),
      denied(
        422,
        `the GMSA cred spec contents for ${kind} "${resource}" does not match the contents of GMSA resource "webapp01"`,
      ),
    );
  });

  test(`validate refuses contents without a name at ${kind} level`, async () => {
    const { admitter } = admitterIn({});

    assert.deepEqual(
      await admitter.validate(requestOf(at({ gmsaCredentialSpec: contents })), signal),
      denied(
        422,
        `${kind} "${resource}" has a GMSA cred spec set, but does not define the name of the corresponding resource`,
      ),
    );
  });

  test(`validate refuses a name without contents at ${kind} level and says what happened`, async () => {
    const { admitter } = admitterIn({ specs: { webapp01: contents } });

    const verdict = await admitter.validate(requestOf(at(named)), signal);

    assert.ok(!verdict.allowed);
    assert.equal(verdict.code, 422);
    assert.match(
      verdict.message,
      new RegExp(
        `^${kind} "${resource}" names GMSA cred spec "webapp01" without its contents.*mutating webhook`,
      ),
    );
  });
}

test("a name without contents can be a warning", async () => {
  const { admitter } = admitterIn({ specs: { webapp01: contents }, options: { missingContents: "warn" } });

  const verdict = await admitter.validate(requestOf({ pod: expanded, containers: [named] }), signal);

  assert.ok(verdict.allowed);
  assert.match(verdict.warnings.join(), /container "c0" names .* hides the pod's own contents/);
});

const equalContents: readonly (readonly [name: string, text: string])[] = [
  ["the same bytes", contents],
  ["other spacing", JSON.stringify(sampleSpec(), null, 2)],
  ["other order", JSON.stringify(Object.fromEntries(Object.entries(sampleSpec()).toReversed()))],
  ["escapes", contents.replaceAll("contoso", "\\u0063ontoso")],
];

for (const [name, text] of equalContents) {
  test(`contents with ${name} match`, async () => {
    const { admitter, asked } = admitterIn({ specs: { webapp01: contents } });

    assert.ok(
      allowed(await admitter.validate(requestOf({ pod: { ...named, gmsaCredentialSpec: text } }), signal)),
    );
    assert.deepEqual(asked.lookUps, ["webapp01"]);
  });
}

const unparsable: readonly (readonly [name: string, text: string, message: RegExp])[] = [
  ["no JSON", 'a"%d', /: unable to parse "a\\"%d" as a JSON object: /],
  ["a list", "[]", /: unable to parse "\[\]" as a JSON object: it is array/],
  [
    "a duplicate key",
    contents.replace('"Sid":', '"Sid":"S-1-5-21-9-9-9","Sid":'),
    /as a JSON object: the key "\/DomainJoinConfig\/Sid" stands twice$/,
  ],
  ["half a surrogate pair", '{"a":"\\ud800"}', /half of a surrogate pair$/],
  [
    "control characters and U+2028",
    '{"a":"\u0001\u2028"}',
    /unable to parse "\{\\"a\\":\\"\\x01\\u2028\\"\}"/,
  ],
  ["percent signs and angle brackets", "%s<%", /unable to parse "%s<%" as a JSON object/],
];

for (const [name, text, message] of unparsable) {
  test(`contents that are ${name} are refused with 422`, async () => {
    const { admitter } = admitterIn({ specs: { webapp01: contents } });

    const verdict = await admitter.validate(
      requestOf({ pod: { ...named, gmsaCredentialSpec: text } }),
      signal,
    );

    assert.ok(!verdict.allowed && verdict.code === 422);
    assert.match(verdict.message, message);
  });
}

test("a resource whose contents are no object is told as such", async () => {
  const { admitter } = admitterIn({ specs: { webapp01: '"text"' } });

  const verdict = await admitter.validate(requestOf({ pod: expanded }), signal);

  assert.ok(!verdict.allowed);
  assert.match(
    verdict.message,
    /: unable to parse CRD "\\"text\\"" as a JSON object: it is string, not an object$/,
  );
});

test("a spec deleted between mutate and validate is told as missing", async () => {
  const { admitter } = admitterIn({});

  assert.deepEqual(
    await admitter.validate(requestOf({ pod: expanded }), signal),
    denied(404, "cred spec webapp01 does not exist"),
  );
});

test("a spec changed between mutate and validate does not refuse the pod that was just expanded", async () => {
  const { admitter } = admitterIn({
    specs: { webapp01: { found: true, contents: '{"new":"1"}', recent: [contents] } },
  });

  assert.ok(allowed(await admitter.validate(requestOf({ pod: expanded }), signal)));
});

test("a cache behind the pod's contents is checked against the source before anything is refused", async () => {
  const { admitter, asked } = admitterIn({
    specs: {
      webapp01: [
        { found: true, contents: '{"old":"1"}' },
        { found: true, contents },
      ],
    },
  });

  assert.ok(allowed(await admitter.validate(requestOf({ pod: expanded }), signal)));
  assert.deepEqual(asked.lookUps, ["webapp01", "webapp01 fresh"]);
});

test("the name of a pod that its generator names later is empty in messages", async () => {
  const { admitter } = admitterIn({});

  const verdict = await admitter.validate(requestOf({ name: "", pod: { gmsaCredentialSpec: "{}" } }), signal);

  assert.ok(!verdict.allowed);
  assert.match(verdict.message, /^pod "" has a GMSA cred spec set/);
});

// ── Updates ─────────────────────────────────────────────────────────────────────────────────────────────────────────

const updates: readonly (readonly [
  name: string,
  before: PodParts,
  after: PodParts,
  message: string | undefined,
])[] = [
  ["nothing", { pod: expanded }, { pod: expanded }, undefined],
  [
    "the name",
    { pod: expanded },
    { pod: { ...expanded, gmsaCredentialSpecName: "other" } },
    'GMSA name modified on pod "web-0"',
  ],
  [
    "the contents' spacing",
    { pod: expanded },
    { pod: { ...expanded, gmsaCredentialSpec: `${contents} ` } },
    'GMSA contents modified on pod "web-0"',
  ],
  [
    "both",
    { containers: [{}] },
    { containers: [expanded] },
    'GMSA name and contents modified on container "c0"',
  ],
  [
    "the name away",
    { containers: [expanded] },
    { containers: [{}] },
    'GMSA name and contents modified on container "c0"',
  ],
  [
    "an init container",
    { initContainers: [expanded] },
    { initContainers: [{ ...expanded, gmsaCredentialSpec: "x" }] },
    'GMSA contents modified on initContainer "i0"',
  ],
  ["other options", { pod: {} }, { pod: { runAsUserName: "x" } }, undefined],
];

for (const [name, before, after, message] of updates) {
  test(`an update that changes ${name} is ${message === undefined ? "allowed" : "refused"}`, async () => {
    const { admitter, asked } = admitterIn({});

    const verdict = await admitter.validate(
      requestOf(after, { operation: "UPDATE", oldObject: podOf(before) }),
      signal,
    );

    if (message === undefined) assert.ok(verdict.allowed);
    else assert.deepEqual(verdict, denied(403, `cannot update an existing pod's GMSA settings (${message})`));
    assert.deepEqual(asked, { reviews: [], lookUps: [] });
  });
}

test("an ephemeral container added later is authorised and compared", async () => {
  const more = { operation: "UPDATE", subResource: "ephemeralcontainers", oldObject: podOf({}) };
  const refused = admitterIn({
    specs: { webapp01: contents },
    access: () => ({ allowed: false, reason: "" }),
  });
  const mismatched = admitterIn({ specs: { webapp01: "{}" } });
  const good = admitterIn({ specs: { webapp01: contents } });
  const request = requestOf({ ephemeralContainers: [expanded] }, more);

  assert.ok(!allowed(await refused.admitter.validate(request, signal)));
  assert.ok(!allowed(await mismatched.admitter.validate(request, signal)));
  assert.ok(allowed(await good.admitter.validate(request, signal)));
});

test("an ephemeral container cannot come in through a plain update", async () => {
  const { admitter } = admitterIn({ specs: { webapp01: contents } });

  const verdict = await admitter.validate(
    requestOf({ ephemeralContainers: [expanded] }, { operation: "UPDATE", oldObject: podOf({}) }),
    signal,
  );

  assert.ok(!verdict.allowed && verdict.code === 403);
});

// ── Warnings ────────────────────────────────────────────────────────────────────────────────────────────────────────

const owner = { ownerReferences: [{ kind: "ReplicaSet" }] };
const warned: readonly (readonly [name: string, parts: PodParts, warnings: readonly RegExp[]])[] = [
  ["nothing unusual", { pod: expanded }, []],
  [
    "the service account of Windows",
    { pod: { ...expanded, runAsUserName: "NT AUTHORITY\\NETWORK SERVICE" } },
    [],
  ],
  [
    "a user without the identity",
    { pod: { ...expanded, runAsUserName: "ContainerUser" } },
    [/pod "web-0" runs as "ContainerUser"/],
  ],
  [
    "a container's user",
    { pod: expanded, containers: [{ runAsUserName: "ContainerUser" }] },
    [/container "c0" runs as/],
  ],
  [
    "a HostProcess pod",
    { pod: { ...expanded, hostProcess: true } },
    [/pod "web-0" is a HostProcess container/],
  ],
  [
    "a HostProcess container",
    { pod: expanded, containers: [{ hostProcess: true }] },
    [/container "c0" is a HostProcess/],
  ],
  ["a host name for one pod", { pod: expanded, spec: { hostname: "mine" } }, []],
  [
    "a host name for all replicas",
    { pod: expanded, spec: { hostname: "mine" }, metadata: owner },
    [/all replicas get the host name "mine"/],
  ],
  [
    "the gMSA's name as host name",
    { pod: expanded, spec: { hostname: "webapp01" } },
    [/is the name of the GMSA/],
  ],
];

for (const [name, parts, warnings] of warned) {
  test(`a pod with ${name} gets ${warnings.length} warning(s)`, async () => {
    const { admitter } = admitterIn({ specs: { webapp01: contents } });

    const verdict = await admitter.validate(requestOf(parts), signal);

    assert.ok(verdict.allowed);
    assert.equal(verdict.warnings.length, warnings.length, verdict.warnings.join("\n"));
    warnings.forEach((pattern, index) => assert.match(verdict.warnings[index] ?? "", pattern));
  });
}
