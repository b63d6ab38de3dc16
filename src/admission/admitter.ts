/**
 * The decisions: which contents a pod gets (mutate), and whether it may have them (validate). Texts, codes and order are
 * those of windows-gmsa's webhook; where this one is stricter, `docs/reference/admission.md` says so.
 * @module
 */
import { sameDocument } from "../credential-spec/canonical-json.ts";
import { readJson, type JsonNode } from "../credential-spec/json.ts";
import { goQuote } from "./go-quote.ts";
import { readPod, type GmsaEntry, type GmsaPod } from "./pod.ts";
import { podWarnings, shadowWarning } from "./pod-warnings.ts";
import type { AccessAnswer, AccessReviewer, CredentialSpecs } from "./ports.ts";
import { allow, deny, type AdmissionRequest, type PatchOperation, type Verdict } from "./review.ts";

export interface AdmitterDependencies {
  readonly specs: CredentialSpecs;
  readonly access: AccessReviewer;
  /** A new UUID in lower case, version 4. */
  readonly randomUuid: () => string;
}

export interface AdmitterOptions {
  /** Gives each pod with an identity a host name of its own. */
  readonly randomHostname: boolean;
  /** Asks for access before contents are put into a pod, not only afterwards. */
  readonly authoriseExpansion: boolean;
  /** What becomes of a pod that names a spec whose contents are missing at validation. */
  readonly missingContents: "deny" | "warn";
}

export interface Admitter {
  mutate(request: AdmissionRequest, signal: AbortSignal): Promise<Verdict>;
  validate(request: AdmissionRequest, signal: AbortSignal): Promise<Verdict>;
}

export function createAdmitter(dependencies: AdmitterDependencies, options: AdmitterOptions): Admitter {
  return {
    async mutate(request, signal) {
      const opened = openPod(request);
      if ("verdict" in opened) return opened.verdict;
      const consultation = new Consultation(
        dependencies,
        request.namespace,
        opened.pod.serviceAccount,
        signal,
      );
      if (request.operation === "CREATE")
        return await expand(opened.pod, opened.pod.entries, consultation, options);
      const added = addedEphemeral(request, opened.pod);
      if (!added.ok) return added.verdict;
      return await expand(opened.pod, added.entries, consultation, { ...options, randomHostname: false });
    },

    async validate(request, signal) {
      const opened = openPod(request);
      if ("verdict" in opened) return opened.verdict;
      const { pod } = opened;
      const consultation = new Consultation(dependencies, request.namespace, pod.serviceAccount, signal);
      if (request.operation === "CREATE") return await authorise(pod, pod.entries, consultation, options);
      const added = addedEphemeral(request, pod);
      if (!added.ok) return added.verdict;
      const old = readPod(request.oldObject);
      if (!old.ok) return deny(400, `unable to unmarshall pod JSON object: ${old.problem}`);
      const kept = pod.entries.filter((entry) => !added.entries.includes(entry));
      const refusal = compareWithOld(kept, old.pod);
      return refusal ?? (await authorise(pod, added.entries, consultation, options));
    },
  };
}

type OpenedPod = { readonly pod: GmsaPod } | { readonly verdict: Verdict };

function openPod(request: AdmissionRequest): OpenedPod {
  if (request.kind !== "Pod") return { verdict: deny(400, `expected a Pod object, got a ${request.kind}`) };
  const reading = readPod(request.object);
  if (!reading.ok) return { verdict: deny(400, `unable to unmarshall pod JSON object: ${reading.problem}`) };
  if (request.operation !== "CREATE" && request.operation !== "UPDATE") {
    // The misspelling is windows-gmsa's.
    return { verdict: deny(400, `unpexpected operation ${request.operation}`) };
  }
  return { pod: reading.pod };
}

type AddedEntries =
  | { readonly ok: true; readonly entries: readonly GmsaEntry[] }
  | { readonly ok: false; readonly verdict: Verdict };

/** Ephemeral containers are the only ones that an existing pod can gain, and only through their subresource. */
function addedEphemeral(request: AdmissionRequest, pod: GmsaPod): AddedEntries {
  if (request.subResource !== "ephemeralcontainers") return { ok: true, entries: [] };
  const old = readPod(request.oldObject);
  if (!old.ok) {
    return { ok: false, verdict: deny(400, `unable to unmarshall pod JSON object: ${old.problem}`) };
  }
  const existing = new Set([
    ...old.pod.entries.filter((entry) => entry.kind === "ephemeralContainer").map((entry) => entry.resource),
    ...old.pod.inheriting,
  ]);
  const entries = pod.entries.filter(
    (entry) => entry.kind === "ephemeralContainer" && !existing.has(entry.resource),
  );
  return { ok: true, entries };
}

/** Different specs that one pod may name: who creates pods must not make everybody else's wait. */
const mostSpecs = 64;

/** Access reviews of one request under way at once. */
const reviewsAtOnce = 8;

/** What one request asks the world, each question once. */
class Consultation {
  readonly #dependencies: AdmitterDependencies;
  readonly #namespace: string;
  readonly #serviceAccount: string;
  readonly #signal: AbortSignal;
  readonly #decided = new AbortController();
  readonly #answers = new Map<string, Promise<AccessAnswer>>();
  /** What is asked next, in the entries' order. */
  #ahead: readonly string[] = [];

  constructor(
    dependencies: AdmitterDependencies,
    namespace: string,
    serviceAccount: string,
    signal: AbortSignal,
  ) {
    this.#dependencies = dependencies;
    this.#namespace = namespace;
    this.#serviceAccount = serviceAccount;
    this.#signal = AbortSignal.any([signal, this.#decided.signal]);
  }

  get randomUuid(): () => string {
    return this.#dependencies.randomUuid;
  }

  /** These will be asked about in this order: a few at once, and none after a refusal. */
  expect(names: Iterable<string>): void {
    this.#ahead = [...new Set(names)];
  }

  /** The refusal, if the service account may not use that spec; then nobody waits for other answers. */
  async refusal(name: string): Promise<Verdict | undefined> {
    if (!this.#answers.has(name)) {
      const batch = this.#ahead.slice(0, reviewsAtOnce);
      this.#ahead = this.#ahead.slice(reviewsAtOnce);
      for (const each of batch) void this.#answer(each);
    }
    const answer = await this.#answer(name);
    if (answer.allowed) return undefined;
    this.#decided.abort();
    const reason = answer.reason === "" ? "" : `, reason: ${goQuote(answer.reason)}`;
    return deny(
      403,
      `service account ${goQuote(this.#serviceAccount)} is not authorized to \`use\` GMSA cred spec ${goQuote(name)}${reason}`,
    );
  }

  async contents(name: string, fresh = false): Promise<Contents> {
    const problem = nameProblem(name);
    if (problem !== undefined) return { ok: false, verdict: retrievalFailed(name, problem) };
    const lookup = await this.#dependencies.specs.lookUp(name, { fresh, signal: this.#signal });
    if (lookup.found) {
      if (lookup.contents === undefined) {
        return { ok: false, verdict: deny(417, `cred spec ${name} does not have a credspec key`) };
      }
      return { ok: true, contents: lookup.contents, recent: lookup.recent ?? [] };
    }
    if (lookup.reason === "absent")
      return { ok: false, verdict: deny(404, `cred spec ${name} does not exist`) };
    return { ok: false, verdict: retrievalFailed(name, lookup.detail) };
  }

  #answer(name: string): Promise<AccessAnswer> {
    const known = this.#answers.get(name);
    if (known !== undefined) return known;
    const question = { namespace: this.#namespace, serviceAccount: this.#serviceAccount, specName: name };
    const answer = this.#dependencies.access.review(question, this.#signal);
    this.#answers.set(name, answer);
    return answer;
  }
}

type Contents =
  | { readonly ok: true; readonly contents: string; readonly recent: readonly string[] }
  | { readonly ok: false; readonly verdict: Verdict };

function retrievalFailed(name: string, detail: string): Verdict {
  return deny(500, `unable to retrieve the contents of cred spec ${name}: ${detail}`);
}

/** Names that cannot stand in a path of the API, in the words of Kubernetes' client. Mutation comes before validation. */
function nameProblem(name: string): string | undefined {
  if (name === "") return "name is required";
  if (name === "." || name === "..") return `invalid resource name ${goQuote(name)}: [may not be '${name}']`;
  const forbidden = ["/", "%"].filter((character) => name.includes(character));
  if (forbidden.length > 0) {
    return `invalid resource name ${goQuote(name)}: [${forbidden.map((character) => `may not contain '${character}'`).join(" ")}]`;
  }
  return undefined;
}

function tooMany(entries: readonly GmsaEntry[]): Verdict | undefined {
  const { size } = new Set(entries.flatMap(({ specName }) => specName ?? []));
  if (size <= mostSpecs) return undefined;
  return deny(
    422,
    `the pod names ${size} different GMSA cred specs, more than the ${mostSpecs} that one pod may name: split it into several pods`,
  );
}

async function expand(
  pod: GmsaPod,
  entries: readonly GmsaEntry[],
  consultation: Consultation,
  options: AdmitterOptions,
): Promise<Verdict> {
  const excess = tooMany(entries);
  if (excess !== undefined) return excess;
  const named = entries.filter((entry) => entry.specName !== undefined);
  const empty = named.filter((entry) => entry.contents === undefined);
  if (options.authoriseExpansion) {
    consultation.expect(
      empty.map((entry) => entry.specName ?? "").filter((name) => nameProblem(name) === undefined),
    );
  }
  const patches: PatchOperation[] = [];
  for (const entry of empty) {
    const name = entry.specName ?? "";
    if (options.authoriseExpansion && nameProblem(name) === undefined) {
      const refusal = await consultation.refusal(name);
      if (refusal !== undefined) return refusal;
    }
    const found = await consultation.contents(name);
    if (!found.ok) return found.verdict;
    const path = `${entry.pointer}/securityContext/windowsOptions/gmsaCredentialSpec`;
    patches.push({ op: "add", path, value: found.contents });
  }
  if (options.randomHostname && named.length > 0 && pod.hostname === "") {
    // NetBIOS knows 15 characters; more would be cut, and cut names can be equal.
    patches.push({ op: "add", path: "/spec/hostname", value: consultation.randomUuid().slice(0, 15) });
  }
  return allow(patches);
}

async function authorise(
  pod: GmsaPod,
  entries: readonly GmsaEntry[],
  consultation: Consultation,
  options: AdmitterOptions,
): Promise<Verdict> {
  const excess = tooMany(entries);
  if (excess !== undefined) return excess;
  const names = new Set(entries.map((entry) => entry.specName).filter((name) => name !== undefined));
  consultation.expect(names);
  const warnings: string[] = [];
  for (const entry of entries) {
    const { specName, contents } = entry;
    if (specName === undefined) {
      if (contents === undefined) continue;
      return deny(
        422,
        `${entry.kind} ${goQuote(entry.resource)} has a GMSA cred spec set, but does not define the name of the corresponding resource`,
      );
    }
    const refusal = await consultation.refusal(specName);
    if (refusal !== undefined) return refusal;
    if (contents === undefined || contents === "") {
      const warning = shadowWarning(entry, pod);
      if (options.missingContents === "deny") {
        return deny(
          422,
          `${warning}; the mutating webhook did not expand it (is it registered, and for this namespace?)`,
        );
      }
      warnings.push(warning);
      continue;
    }
    const mismatch = await compareContents(entry, specName, contents, consultation);
    if (mismatch !== undefined) return mismatch;
  }
  if (entries.length > 0) warnings.push(...podWarnings(pod));
  return allow([], warnings, [...names]);
}

async function compareContents(
  entry: GmsaEntry,
  name: string,
  contents: string,
  consultation: Consultation,
): Promise<Verdict | undefined> {
  const known = await consultation.contents(name);
  if (!known.ok) return known.verdict;
  if (contents === known.contents || known.recent.includes(contents)) return undefined;
  const first = difference(entry, name, contents, known.contents);
  if (first === undefined) return undefined;
  // The cache may be a moment behind what another replica put into the pod: the source decides.
  const fresh = await consultation.contents(name, true);
  if (!fresh.ok) return fresh.verdict;
  return difference(entry, name, contents, fresh.contents);
}

function difference(entry: GmsaEntry, name: string, contents: string, expected: string): Verdict | undefined {
  if (contents === expected) return undefined;
  const message = `the GMSA cred spec contents for ${entry.kind} ${goQuote(entry.resource)} does not match the contents of GMSA resource ${goQuote(name)}`;
  const given = readObject(contents);
  if (!given.ok)
    return deny(422, `${message}: unable to parse ${goQuote(contents)} as a JSON object: ${given.problem}`);
  const wanted = readObject(expected);
  if (!wanted.ok)
    return deny(
      422,
      `${message}: unable to parse CRD ${goQuote(expected)} as a JSON object: ${wanted.problem}`,
    );
  return sameDocument(given.value, wanted.value) ? undefined : deny(422, message);
}

type ObjectReading =
  | { readonly ok: true; readonly value: JsonNode }
  | { readonly ok: false; readonly problem: string };

/**
 * A JSON object without duplicate keys. Windows parses the contents again, with another parser: what two parsers can read
 * differently is not allowed to pass a comparison.
 */
function readObject(text: string): ObjectReading {
  const reading = readJson(text);
  if (!reading.ok) return reading;
  if (reading.value.type !== "object")
    return { ok: false, problem: `it is ${reading.value.type}, not an object` };
  const [duplicate] = reading.duplicates;
  if (duplicate !== undefined)
    return { ok: false, problem: `the key ${goQuote(duplicate.pointer)} stands twice` };
  return { ok: true, value: reading.value };
}

/** On an update the identity stays what it was, compared as text. */
function compareWithOld(entries: readonly GmsaEntry[], old: GmsaPod): Verdict | undefined {
  for (const entry of entries) {
    const before = old.entries.find(
      (candidate) =>
        candidate.kind === entry.kind && (entry.kind === "pod" || candidate.resource === entry.resource),
    );
    const changed = [
      ...(before?.specName === entry.specName ? [] : ["name"]),
      ...(before?.contents === entry.contents ? [] : ["contents"]),
    ];
    if (changed.length === 0) continue;
    return deny(
      403,
      `cannot update an existing pod's GMSA settings (GMSA ${changed.join(" and ")} modified on ${entry.kind} ${goQuote(entry.resource)})`,
    );
  }
  return undefined;
}
