/**
 * cert-manager's own CustomResourceDefinitions, so that what the charts make for it is judged by its schema. They lie in
 * the Go module of cert-manager, which the checksum below pins.
 * @module
 */
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { BedUnavailable } from "../../bed.ts";
import { runCommand } from "../../guarded-process.ts";
import type { KubernetesObject } from "../api-client.ts";
import { objectsIn } from "./chart.ts";

const release = {
  module: "github.com/cert-manager/cert-manager@v1.18.2",
  sum: "h1:H2P75ycGcTMauV3gvpkDqLdS3RSXonWF2S49QGA1PZE=",
};

/** Certificate and Issuer. Throws {@link BedUnavailable} when Go cannot fetch them. */
export async function certManagerDefinitions(): Promise<readonly KubernetesObject[]> {
  const work = mkdtempSync(join(process.env["SALLYPORT_E2E_RUN_DIRECTORY"] ?? tmpdir(), "cert-manager-"));
  writeFileSync(join(work, "go.mod"), "module definitions\n\ngo 1.21\n");
  const fetched = await runCommand("go", ["mod", "download", "-json", release.module], {
    cwd: work,
    environment: { GOFLAGS: "-mod=mod" },
    timeoutMs: 300_000,
  }).catch((cause: unknown) => ({ code: 127, stdout: "{}", stderr: (cause as Error).message }));
  const { Dir: directory = "", Sum: sum } = JSON.parse(fetched.stdout) as { Dir?: string; Sum?: string };
  if (fetched.code !== 0 || sum !== release.sum) {
    throw new BedUnavailable(
      `Go could not fetch ${release.module} as it was pinned (${sum ?? fetched.stderr}): is the module proxy reachable?`,
    );
  }
  return ["crd-certificates.yaml", "crd-issuers.yaml"]
    .flatMap((file) => objectsIn(readFileSync(join(directory, "deploy/crds", file), "utf8")))
    .map((definition) => {
      // Left to a chart's templates.
      const { labels: _, annotations: __, ...metadata } = definition.metadata as Record<string, unknown>;
      return { ...definition, metadata };
    });
}
