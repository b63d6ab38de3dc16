import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";
import { temporaryFolder } from "../test/temporary-folder.ts";
import { mediaTypes, writeLayout, type PlatformImage } from "./oci-layout.ts";

const image: PlatformImage = {
  platform: { os: "linux", architecture: "amd64" },
  config: { User: "65532:65532" },
  billOfMaterials: Buffer.from('{"bomFormat":"CycloneDX"}'),
  steps: [
    { createdBy: "COPY a /", layer: Buffer.from("first") },
    { createdBy: "USER 65532:65532" },
    { createdBy: "COPY b /", layer: Buffer.from("second") },
  ],
};
const options = { tag: "1.0.0", created: "1970-01-01T00:00:00Z", annotations: { title: "t" } };

interface Reference {
  readonly digest: string;
  readonly size: number;
}

function blob(folder: string, { digest, size }: Reference): unknown {
  const bytes = readFileSync(join(folder, "blobs/sha256", digest.slice("sha256:".length)));
  assert.equal(bytes.length, size);
  return JSON.parse(bytes.toString("utf8"));
}

interface Index {
  readonly manifests: readonly (Reference & {
    readonly platform?: object;
    readonly artifactType?: string;
    readonly annotations?: object;
  })[];
}

interface Manifest {
  readonly config: Reference;
  readonly layers: readonly (Reference & { readonly mediaType: string })[];
  readonly subject?: Reference;
}

test("index, manifest, configuration and layers refer to each other by hash and size", async (t) => {
  const folder = temporaryFolder(t);
  const digest = await writeLayout(folder, [image], options);

  const top = JSON.parse(readFileSync(join(folder, "index.json"), "utf8")) as Index;
  const [named, referrer] = top.manifests;
  assert.ok(named !== undefined && referrer !== undefined);
  assert.equal(named.digest, digest);
  assert.deepEqual(named.annotations, { "org.opencontainers.image.ref.name": "1.0.0" });
  const [entry] = (blob(folder, named) as Index).manifests;
  assert.ok(entry !== undefined);
  assert.deepEqual(entry.platform, image.platform);
  const manifest = blob(folder, entry) as Manifest;
  const config = blob(folder, manifest.config) as {
    readonly rootfs: { readonly diff_ids: readonly string[] };
    readonly history: readonly object[];
    readonly config: object;
  };
  assert.deepEqual(config.config, image.config);
  assert.deepEqual(
    config.history.map((step) => "empty_layer" in step),
    [false, true, false],
  );
  const texts = manifest.layers.map((layer) =>
    gunzipSync(readFileSync(join(folder, "blobs/sha256", layer.digest.slice(7)))).toString(),
  );
  assert.deepEqual(texts, ["first", "second"]);
  assert.deepEqual(
    config.rootfs.diff_ids,
    texts.map((text) => `sha256:${createHash("sha256").update(text).digest("hex")}`),
  );
});

test("the bill of materials refers to the image that it is about", async (t) => {
  const folder = temporaryFolder(t);
  await writeLayout(folder, [image], options);

  const top = JSON.parse(readFileSync(join(folder, "index.json"), "utf8")) as Index;
  const [named, referrer] = top.manifests;
  assert.ok(named !== undefined && referrer !== undefined);
  assert.equal(referrer.artifactType, mediaTypes.billOfMaterials);
  const artifact = blob(folder, referrer) as Manifest;
  assert.equal(artifact.subject?.digest, (blob(folder, named) as Index).manifests[0]?.digest);
  assert.deepEqual(blob(folder, artifact.layers[0] ?? assert.fail()), { bomFormat: "CycloneDX" });
});

test("the same image makes the same files", async (t) => {
  const [one, two] = [temporaryFolder(t), temporaryFolder(t)];

  assert.equal(await writeLayout(one, [image], options), await writeLayout(two, [image], options));
  assert.deepEqual(readdirSync(join(one, "blobs/sha256")), readdirSync(join(two, "blobs/sha256")));
});
