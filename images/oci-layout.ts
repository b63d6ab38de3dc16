/**
 * An image as the OCI image layout has it (image-spec 1.1): a folder of blobs named by their hashes, an index on top, and
 * the bill of materials of each platform as an artifact that refers to its image. Registry tools take the folder as it is.
 * @module
 */
import { createHash } from "node:crypto";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { gzip } from "node:zlib";

const compress = promisify(gzip);

export const mediaTypes = {
  index: "application/vnd.oci.image.index.v1+json",
  manifest: "application/vnd.oci.image.manifest.v1+json",
  config: "application/vnd.oci.image.config.v1+json",
  layer: "application/vnd.oci.image.layer.v1.tar+gzip",
  empty: "application/vnd.oci.empty.v1+json",
  billOfMaterials: "application/vnd.cyclonedx+json",
} as const;

export interface Platform {
  readonly os: "linux" | "windows";
  readonly architecture: "amd64" | "arm64";
}

/** One step of the image's history; with a layer or without. */
export interface HistoryStep {
  readonly createdBy: string;
  /** The layer as an uncompressed tar archive. */
  readonly layer?: Uint8Array;
}

export interface PlatformImage {
  readonly platform: Platform;
  readonly steps: readonly HistoryStep[];
  /** The `config` of the image configuration, with OCI's own names. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly billOfMaterials: Uint8Array;
}

export interface LayoutOptions {
  /** Tag that the index carries. */
  readonly tag: string;
  /** RFC 3339. */
  readonly created: string;
  readonly annotations: Readonly<Record<string, string>>;
}

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

/** Writes the layout anew. @returns the digest of the index that the tag names. */
export async function writeLayout(
  folder: string,
  images: readonly PlatformImage[],
  options: LayoutOptions,
): Promise<string> {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(join(folder, "blobs/sha256"), { recursive: true });
  const put = (mediaType: string, content: Uint8Array): Descriptor => {
    const hash = createHash("sha256").update(content).digest("hex");
    writeFileSync(join(folder, "blobs/sha256", hash), content);
    return { mediaType, digest: `sha256:${hash}`, size: content.length };
  };
  const putJson = (mediaType: string, value: unknown): Descriptor =>
    put(mediaType, Buffer.from(JSON.stringify(value)));

  const manifests: object[] = [];
  const referrers: object[] = [];
  for (const image of images) {
    const archives = image.steps.flatMap(({ layer }) => (layer === undefined ? [] : [layer]));
    const compressed = await Promise.all(archives.map((archive) => compress(archive)));
    const layers = compressed.map((each) => put(mediaTypes.layer, each));
    const diffIds = archives.map((each) => `sha256:${createHash("sha256").update(each).digest("hex")}`);
    const config = putJson(mediaTypes.config, {
      created: options.created,
      architecture: image.platform.architecture,
      os: image.platform.os,
      config: image.config,
      rootfs: { type: "layers", diff_ids: diffIds },
      history: image.steps.map(({ createdBy, layer }) => ({
        created: options.created,
        created_by: createdBy,
        ...(layer === undefined ? { empty_layer: true } : {}),
      })),
    });
    const manifest = putJson(mediaTypes.manifest, {
      schemaVersion: 2,
      mediaType: mediaTypes.manifest,
      config,
      layers,
      annotations: options.annotations,
    });
    manifests.push({ ...manifest, platform: image.platform });
    const bill = put(mediaTypes.billOfMaterials, image.billOfMaterials);
    const referrer = putJson(mediaTypes.manifest, {
      schemaVersion: 2,
      mediaType: mediaTypes.manifest,
      artifactType: mediaTypes.billOfMaterials,
      config: put(mediaTypes.empty, Buffer.from("{}")),
      layers: [{ ...bill, annotations: { "org.opencontainers.image.title": "sbom.cdx.json" } }],
      subject: manifest,
      annotations: { "org.opencontainers.image.created": options.created },
    });
    referrers.push({ ...referrer, artifactType: mediaTypes.billOfMaterials });
  }
  const index = putJson(mediaTypes.index, {
    schemaVersion: 2,
    mediaType: mediaTypes.index,
    manifests,
    annotations: options.annotations,
  });
  writeFileSync(join(folder, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
  writeFileSync(
    join(folder, "index.json"),
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.index,
      manifests: [
        { ...index, annotations: { "org.opencontainers.image.ref.name": options.tag } },
        ...referrers,
      ],
    }),
  );
  return index.digest;
}
