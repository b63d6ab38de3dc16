/**
 * A source of mappings that the mapper looks into: it keeps its index current by itself and says whether it is.
 * @module
 */
import type { Readiness } from "../../server/operations.ts";
import type { MappingIndex } from "./mapping-index.ts";
import type { NamePolicy } from "./reserved-names.ts";

export const backendModes = ["MountedFile", "DynamicFile", "ACKConfigMap", "CRD"] as const;
export type BackendMode = (typeof backendModes)[number];

/** Names that configurations of the program before also use. */
export const backendAliases: Readonly<Record<string, BackendMode>> = {
  File: "MountedFile",
  ConfigMap: "ACKConfigMap",
};

export interface MappingBackend {
  readonly mode: BackendMode;
  readonly index: MappingIndex;
  readonly names: NamePolicy;
  /** Ready once it was read completely for the first time; a note when what it serves is not the newest. */
  readiness(): Readiness;
  close(): Promise<void>;
}
