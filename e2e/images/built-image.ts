/**
 * An image of the bed as somebody who pulls it would see it: read from its OCI layout, listed and unpacked by tar.
 * @module
 */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { runCommand } from "../guarded-process.ts";

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly platform?: { readonly os: string; readonly architecture: string };
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

interface Index {
  readonly manifests: readonly Descriptor[];
}

interface Manifest {
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
  readonly subject?: Descriptor;
}

export interface ImageConfig {
  readonly created: string;
  readonly os: string;
  readonly architecture: string;
  readonly config: {
    readonly User?: string;
    readonly Env: readonly string[];
    readonly Entrypoint: readonly string[];
    readonly Labels: Readonly<Record<string, string>>;
  };
  readonly rootfs: { readonly diff_ids: readonly string[] };
  readonly history: readonly { readonly created_by: string; readonly empty_layer?: boolean }[];
}

/** A line of `tar -tv`. */
export interface ListedFile {
  /** As `ls` shows it: `-rwxr-xr-x`. */
  readonly mode: string;
  readonly owner: string;
  readonly size: number;
  readonly date: string;
  readonly path: string;
}

export interface Component {
  readonly type: string;
  readonly name: string;
  readonly version?: string;
  readonly purl?: string;
  readonly hashes?: readonly { readonly alg: string; readonly content: string }[];
}

export interface BillOfMaterials {
  readonly bomFormat: string;
  readonly specVersion: string;
  readonly components: readonly Component[];
}

/** The folder of the images that the bed built. */
export function imagesFolder(): string {
  const folder = process.env["SALLYPORT_E2E_IMAGES"];
  if (folder === undefined) throw new Error("SALLYPORT_E2E_IMAGES is not set: run npm run e2e -- images");
  return folder;
}

export class BuiltImage {
  readonly config: ImageConfig;
  readonly manifest: Manifest;
  /** The digest that a registry would show for this platform. */
  readonly digest: string;
  readonly #folder: string;
  readonly #top: Index;

  /** @param platform `linux/amd64`. @param below another folder of images than the bed's. */
  constructor(name: string, platform: string, below = imagesFolder()) {
    this.#folder = join(below, name);
    this.#top = JSON.parse(readFileSync(join(this.#folder, "index.json"), "utf8")) as Index;
    const index = this.#top.manifests.find(({ annotations }) => annotations !== undefined);
    if (index === undefined) throw new Error(`${name} has no tag`);
    const { manifests } = this.#json(index) as Index;
    const found = manifests.find(
      (each) => `${each.platform?.os}/${each.platform?.architecture}` === platform,
    );
    if (found === undefined) throw new Error(`${name} has no ${platform}`);
    this.digest = found.digest;
    this.manifest = this.#json(found) as Manifest;
    this.config = this.#json(this.manifest.config) as ImageConfig;
  }

  /** Compressed layers, in bytes. */
  get size(): number {
    return this.manifest.layers.reduce((sum, { size }) => sum + size, 0);
  }

  /** The layers, uncompressed. */
  layers(): readonly Buffer[] {
    return this.manifest.layers.map((layer) => gunzipSync(this.#blob(layer)));
  }

  /** The tar files of the layers, lowest first. */
  get #layerFiles(): readonly string[] {
    return this.manifest.layers.map(({ digest }) => this.#path(digest));
  }

  /** Every entry of every layer. */
  async files(): Promise<readonly ListedFile[]> {
    const listed: ListedFile[] = [];
    for (const file of this.#layerFiles) {
      const words = ["--numeric-owner", "--warning=no-unknown-keyword", "-tzvf", file];
      const result = await runCommand("tar", words, { environment: { TZ: "UTC" } });
      if (result.code !== 0) throw new Error(`tar could not list a layer: ${result.stderr}`);
      for (const line of result.stdout.trimEnd().split("\n")) {
        const [, mode = "", owner = "", size = "", date = "", path = ""] =
          /^(\S+) +(\S+) +(\d+) (\S+ \S+) (.*)$/.exec(line) ?? [];
        listed.push({ mode, owner, size: Number(size), date, path });
      }
    }
    return listed;
  }

  /** Unpacks the layers over each other, as a container runtime does. */
  async unpack(folder: string): Promise<void> {
    mkdirSync(folder, { recursive: true });
    for (const file of this.#layerFiles) {
      const words = ["--warning=no-unknown-keyword", "-xpzf", file, "-C", folder];
      const result = await runCommand("tar", words);
      if (result.code !== 0) throw new Error(`tar could not unpack a layer: ${result.stderr}`);
    }
  }

  /** The bill of materials that refers to this image. */
  billOfMaterials(): BillOfMaterials {
    for (const entry of this.#top.manifests) {
      if (entry.artifactType !== "application/vnd.cyclonedx+json") continue;
      const artifact = this.#json(entry) as Manifest;
      const [layer] = artifact.layers;
      if (artifact.subject?.digest === this.digest && layer !== undefined)
        return this.#json(layer) as BillOfMaterials;
    }
    throw new Error("no bill of materials refers to the image");
  }

  #json(descriptor: Descriptor): unknown {
    return JSON.parse(this.#blob(descriptor).toString("utf8"));
  }

  /** Checked against the hash that names it, as a registry does. */
  #blob({ digest, size }: Descriptor): Buffer {
    const bytes = readFileSync(this.#path(digest));
    const actual = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
    if (actual !== digest || bytes.length !== size) throw new Error(`${digest} is ${actual}`);
    return bytes;
  }

  #path(digest: string): string {
    return join(this.#folder, "blobs/sha256", digest.slice("sha256:".length));
  }
}
