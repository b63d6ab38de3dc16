/**
 * What is inside an image, as CycloneDX 1.6 has it: the npm packages that the bundle took in, Node, Debian's packages, and
 * what is linked into the CCG plugin. Read from the bundler's own account and the lockfile, so that it cannot be forgotten.
 * @module
 */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { DebianPackage } from "./linux/debian-packages.ts";

const root = join(import.meta.dirname, "..");

interface LockedPackage {
  readonly version: string;
  readonly integrity?: string;
  readonly license?: string;
}

const lock = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")) as {
  readonly packages: Readonly<Record<string, LockedPackage>>;
};

/** A package of the lockfile, by its folder. @throws {Error} when it is not there. */
export function lockedPackage(folder: string): LockedPackage {
  const found = lock.packages[folder];
  if (found === undefined) throw new Error(`package-lock.json has no ${folder}`);
  return found;
}

interface Component {
  readonly type: "application" | "library" | "framework" | "file";
  readonly name: string;
  readonly version?: string;
  readonly purl?: string;
  readonly hashes?: readonly { readonly alg: string; readonly content: string }[];
  readonly licenses?: readonly { readonly expression: string }[];
}

export interface Contents {
  /** Image name and platform: `sallyport/sallyport`, `linux/amd64`. */
  readonly image: string;
  readonly platform: string;
  readonly version: string;
  /** RFC 3339. */
  readonly created: string;
  /** Folders of the bundled packages, as the lockfile has them. */
  readonly packages: readonly string[];
  /** Folder of the package that Node came in, and the program itself. */
  readonly node: { readonly folder: string; readonly binary: Uint8Array };
  readonly debian?: { readonly release: string; readonly packages: readonly DebianPackage[] };
  readonly plugin?: { readonly name: string; readonly bytes: Uint8Array };
}

/** The document, ready to be written. */
export function billOfMaterials(contents: Contents): Buffer {
  const { image, platform, version, created } = contents;
  const components: readonly Component[] = [
    {
      type: "application",
      name: "sallyport",
      version,
      purl: `pkg:npm/sallyport@${version}`,
      licenses: [{ expression: "Apache-2.0" }],
    },
    nodeComponent(contents.node),
    ...contents.packages.map(bundledComponent),
    ...(contents.debian?.packages ?? []).map((each) => debianComponent(each, contents.debian?.release ?? "")),
    ...(contents.plugin === undefined ? [] : pluginComponents(contents.plugin)),
  ];
  const document = {
    $schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    version: 1,
    metadata: {
      timestamp: created,
      component: {
        type: "container",
        "bom-ref": "image",
        name: image,
        version,
        properties: [{ name: "sallyport:platform", value: platform }],
      },
    },
    components: components.map((component) => ({
      "bom-ref": component.purl ?? component.name,
      ...component,
    })),
    dependencies: [{ ref: "image", dependsOn: components.map((each) => each.purl ?? each.name) }],
  };
  return Buffer.from(`${JSON.stringify(document, undefined, 2)}\n`);
}

/** The licence texts of the bundled packages, for people. */
export function licenceTexts(packages: readonly string[]): string {
  const texts = packages.map((folder) => {
    const { version, license = "no licence named" } = lockedPackage(folder);
    return `${nameOf(folder)} ${version}: ${license}\n\n${licenceText(folder)}\n`;
  });
  return texts.join(`\n${"-".repeat(80)}\n\n`);
}

/** Its file, or what its readme says under that heading. @throws {Error} when a package has neither. */
function licenceText(folder: string): string {
  const names = readdirSync(join(root, folder));
  const read = (pattern: RegExp): string | undefined => {
    const name = names.find((each) => pattern.test(each));
    return name === undefined ? undefined : readFileSync(join(root, folder, name), "utf8").trim();
  };
  const text =
    read(/^(?:licen[cs]e|copying)/i) ??
    read(/^readme/i)
      ?.match(/^#+ *licen[cs]e\s+(.+)$/ims)?.[1]
      ?.trim();
  if (text === undefined) throw new Error(`${folder} comes without the text of its licence`);
  return text;
}

function nameOf(folder: string): string {
  return folder.slice(folder.lastIndexOf("node_modules/") + "node_modules/".length);
}

function npmHashes(integrity: string | undefined): Component["hashes"] {
  const [algorithm, digest] = (integrity ?? "").split("-", 2);
  if (algorithm !== "sha512" || digest === undefined) return [];
  return [{ alg: "SHA-512", content: Buffer.from(digest, "base64").toString("hex") }];
}

function bundledComponent(folder: string): Component {
  const { version, integrity, license } = lockedPackage(folder);
  const name = nameOf(folder);
  return {
    type: "library",
    name,
    version,
    purl: `pkg:npm/${name.replace("@", "%40")}@${version}`,
    hashes: npmHashes(integrity) ?? [],
    ...(license === undefined ? {} : { licenses: [{ expression: license }] }),
  };
}

function nodeComponent({ folder, binary }: Contents["node"]): Component {
  const { version } = lockedPackage(folder);
  return {
    type: "framework",
    name: "node",
    version,
    purl: `pkg:generic/node@${version}?package=${encodeURIComponent(`npm:${nameOf(folder)}`)}`,
    hashes: [{ alg: "SHA-256", content: sha256(binary) }],
    licenses: [{ expression: "MIT" }],
  };
}

function debianComponent({ name, version, architecture, sha256: hash }: DebianPackage, release: string) {
  return {
    type: "library",
    name,
    version,
    purl: `pkg:deb/debian/${encodeURIComponent(name)}@${encodeURIComponent(version)}?arch=${architecture}&distro=${release}`,
    hashes: [{ alg: "SHA-256", content: hash }],
  } as const satisfies Component;
}

/** The DLL, and the TLS library that is linked into it. */
function pluginComponents({ name, bytes }: NonNullable<Contents["plugin"]>): readonly Component[] {
  const pin = readFileSync(join(root, "native/ccg-plugin/mbedtls/version"), "utf8");
  const value = (key: string): string => {
    const found = new RegExp(`^${key} *:?= *(\\S+)$`, "m").exec(pin)?.[1];
    if (found === undefined) throw new Error(`native/ccg-plugin/mbedtls/version has no ${key}`);
    return found;
  };
  const version = value("MBEDTLS_VERSION");
  return [
    { type: "file", name, hashes: [{ alg: "SHA-256", content: sha256(bytes) }] },
    {
      type: "library",
      name: "mbedtls",
      version,
      purl: `pkg:generic/mbedtls@${version}`,
      hashes: [{ alg: "SHA-256", content: value("MBEDTLS_SHA256") }],
      licenses: [{ expression: "Apache-2.0 OR GPL-2.0-or-later" }],
    },
  ];
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
