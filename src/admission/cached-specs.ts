/**
 * Credential specs from a watched source: answered from memory, a miss asks the source once, so that a spec created a
 * moment ago works, and so does a Role that grants `get` alone.
 * @module
 */
import type { Clock } from "../clock.ts";
import { canonicalJson } from "../credential-spec/canonical-json.ts";
import { nodeOf } from "../credential-spec/json.ts";
import { reasonOf } from "../errors.ts";
import { gmsaCredentialSpecKind } from "../kubernetes/kinds.ts";
import type {
  KubernetesObject,
  ParsedResource,
  ResourceSource,
  SyncStatus,
} from "../kubernetes/resource-source.ts";
import type { CredentialSpecs, SpecLookup } from "./ports.ts";

/** How long contents that were replaced are still accepted in a pod, milliseconds: longer than one admission takes. */
const recentMs = 30_000;

export interface CachedSpecs extends CredentialSpecs {
  status(): SyncStatus;
  close(): Promise<void>;
}

interface CachedSpec {
  readonly name: string;
  readonly contents: string | undefined;
}

/** @param cached false: every look-up asks the source (for measurements). */
export function createCachedSpecs(source: ResourceSource, clock: Clock, cached = true): CachedSpecs {
  const cache = cached ? source.watch({ kind: gmsaCredentialSpecKind, parse }) : undefined;
  const recent = new Map<string, readonly { readonly contents: string; readonly until: number }[]>();
  cache?.onChange((change) => {
    const { previous } = change;
    if (change.type !== "modified" || previous?.contents === undefined) return;
    const kept = (recent.get(previous.name) ?? []).filter((old) => old.until > clock.now());
    recent.set(previous.name, [...kept, { contents: previous.contents, until: clock.now() + recentMs }]);
  });

  async function ask(name: string, signal: AbortSignal): Promise<SpecLookup> {
    try {
      const lookup = await source.get({ kind: gmsaCredentialSpecKind, name, parse }, signal);
      if (lookup.found) return found(lookup.object);
      if (lookup.reason === "absent") return { found: false, reason: "absent" };
      return { found: false, reason: "unknown", detail: lookup.detail };
    } catch (error) {
      return { found: false, reason: "unknown", detail: reasonOf(error) };
    }
  }

  function found(spec: CachedSpec): SpecLookup {
    const now = clock.now();
    const before = (recent.get(spec.name) ?? []).filter((old) => old.until > now);
    if (before.length === 0) recent.delete(spec.name);
    return { found: true, contents: spec.contents, recent: before.map((old) => old.contents) };
  }

  return {
    async lookUp(name, { fresh, signal }) {
      const known = fresh ? undefined : cache?.get(name);
      return known === undefined ? await ask(name, signal) : found(known);
    },
    status: () => cache?.status() ?? { state: "synced", since: clock.now() },
    close: async () => await cache?.close(),
  };
}

function parse(object: KubernetesObject): ParsedResource<CachedSpec> {
  const credspec = object["credspec"];
  // An empty string counts as no contents, as upstream.
  const contents = credspec === undefined || credspec === "" ? undefined : canonicalJson(nodeOf(credspec));
  return { ok: true, value: { name: object.metadata.name, contents } };
}
