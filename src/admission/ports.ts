/**
 * What the admission decisions ask of the world: the contents of credential specs, and who may use them.
 * @module
 */

/** The contents of one spec. */
export type SpecLookup =
  /** `contents` is the canonical JSON of `credspec`; undefined: the resource has none (or an empty string). */
  | { readonly found: true; readonly contents: string | undefined; readonly recent?: readonly string[] }
  | { readonly found: false; readonly reason: "absent" }
  | { readonly found: false; readonly reason: "unknown"; readonly detail: string };

export interface CredentialSpecs {
  /**
   * The spec of that name, from memory where that is current. `fresh` asks the source itself. `recent` lists contents
   * that the spec had a moment ago, so that a change between two calls about one pod does not refuse it.
   */
  lookUp(
    name: string,
    options: { readonly fresh: boolean; readonly signal: AbortSignal },
  ): Promise<SpecLookup>;
}

export interface AccessQuestion {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly specName: string;
}

/** May the service account `use` the spec in its namespace? A failure to find out is a refusal with its reason. */
export type AccessAnswer =
  | { readonly allowed: true }
  /** `reason` is empty when nobody gave one. */
  | { readonly allowed: false; readonly reason: string };

export interface AccessReviewer {
  /** Never rejects. */
  review(question: AccessQuestion, signal: AbortSignal): Promise<AccessAnswer>;
}
