/**
 * `npm run images [-- OPTIONS]`: writes the images as OCI layouts, `dist/images/sallyport` (Linux) and
 * `dist/images/sallyport-windows`, and beside them the build contexts that the Dockerfiles take. Needs Debian's apt for the
 * Linux base and, for Windows, the CCG plugin (`make -C native/ccg-plugin`); no container engine, no registry of images.
 * The same source makes the same bytes: every time stamp is SOURCE_DATE_EPOCH, or 1970.
 * @module
 */
import { mkdirSync, readFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import { bundleExecutable, bundleProgram } from "../scripts/bundle.ts";
import { billOfMaterials, licenceTexts } from "./bill-of-materials.ts";
import { readDockerfile, type Dockerfile } from "./dockerfile.ts";
import { fetchPackages, readPins, renewPins, type FetchOptions } from "./linux/debian-packages.ts";
import { writeLinuxContext, type LinuxArchitecture } from "./linux/linux-context.ts";
import { obtainNode, platformNames, type PlatformName } from "./node-binary.ts";
import { writeLayout, type HistoryStep, type PlatformImage } from "./oci-layout.ts";
import { makeExecutable } from "./single-executable.ts";
import { pluginFileName } from "../src/plugin-host/plugin-identity.ts";
import { readPluginFile } from "../src/plugin-host/plugin-file.ts";
import { readTree, writeTar } from "./tar-archive.ts";
import { windowsBaseLayer, windowsLayer, writeWindowsContext } from "./windows/windows-context.ts";

const root = join(import.meta.dirname, "..");
const { values } = parseArgs({
  options: {
    output: { type: "string", default: "dist/images" },
    cache: { type: "string", default: ".cache/images" },
    platform: { type: "string", multiple: true, default: [...platformNames] },
    plugin: { type: "string", default: "native/ccg-plugin/build/SallyportCcgPlugin.dll" },
    "allow-newer-base": { type: "boolean", default: false },
    "renew-base": { type: "boolean", default: false },
  },
});
const output = resolve(root, values.output);
const cache = resolve(root, values.cache);
const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
const modified = Number(process.env["SOURCE_DATE_EPOCH"] ?? 0);
const created = new Date(modified * 1000).toISOString().replace(".000Z", "Z");
const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};
const debianOptions: FetchOptions = {
  cache: join(cache, "debian"),
  allowNewer: values["allow-newer-base"],
  say,
};

try {
  if (values["renew-base"]) await renewPins(debianOptions);
  else await main();
} catch (error) {
  process.stderr.write(`images: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}

async function main(): Promise<void> {
  const unknown = values.platform.filter((name) => !platformNames.includes(name as PlatformName));
  if (unknown.length > 0)
    throw new Error(`no platform is called ${unknown.join(", ")}; there are ${platformNames.join(", ")}`);
  const wanted = platformNames.filter((name) => values.platform.includes(name));
  mkdirSync(output, { recursive: true });
  const linux: PlatformImage[] = [];
  for (const name of wanted.filter((each) => each.startsWith("linux/"))) linux.push(await linuxImage(name));
  if (linux.length > 0) await lay("sallyport", linux, dockerfile("linux"));
  if (wanted.includes("windows/amd64"))
    await lay("sallyport-windows", [await windowsImage()], dockerfile("windows"));
}

function dockerfile(os: "linux" | "windows"): Dockerfile {
  return readDockerfile(readFileSync(join(root, "images", os, "Dockerfile"), "utf8"), { VERSION: version });
}

async function linuxImage(platform: PlatformName): Promise<PlatformImage> {
  const architecture = platform.slice("linux/".length) as LinuxArchitecture;
  const [program, executable] = [await bundleProgram("sallyport.mjs"), await bundleExecutable()];
  const node = await obtainNode(platform, join(cache, "node"));
  const debian = await fetchPackages(architecture, debianOptions);
  const bill = billOfMaterials({
    ...{ image: "sallyport/sallyport", platform, version, created, packages: program.packages },
    node: { folder: node.folder, binary: readFileSync(node.path) },
    debian: { release: readPins().release, packages: debian },
  });
  const context = join(output, "context", `linux-${architecture}`);
  await writeLinuxContext(context, {
    ...{ architecture, debian, node: node.path, program: program.text, billOfMaterials: bill },
    licences: licenceTexts(program.packages),
  });
  const file = join(output, `sallyport-${version}-linux-${architecture}`);
  await makeExecutable({ node, program: executable.text, output: file, flags: [] });
  const description = dockerfile("linux");
  return {
    platform: { os: "linux", architecture },
    config: configOf(description),
    billOfMaterials: bill,
    steps: stepsOf(description, (from) => writeTar(readTree(join(context, from)), { modified })),
  };
}

async function windowsImage(): Promise<PlatformImage> {
  const program = await bundleExecutable();
  const node = await obtainNode("windows/amd64", join(cache, "node"));
  const plugin = resolve(root, values.plugin);
  const bytes = readPlugin(plugin);
  const bill = billOfMaterials({
    ...{ image: "sallyport/sallyport-windows", platform: "windows/amd64", version, created },
    packages: program.packages,
    node: { folder: node.folder, binary: readFileSync(node.path) },
    plugin: { name: pluginFileName, bytes },
  });
  const context = join(output, "context/windows-amd64");
  await writeWindowsContext(context, {
    ...{ node, program: program.text, plugin, billOfMaterials: bill },
    licences: licenceTexts(program.packages),
  });
  const description = dockerfile("windows");
  return {
    platform: { os: "windows", architecture: "amd64" },
    config: configOf(description),
    billOfMaterials: bill,
    steps: [
      { createdBy: `in place of FROM ${description.from}`, layer: windowsBaseLayer(modified) },
      ...stepsOf(description, (from) => windowsLayer(join(context, from), modified)),
    ],
  };
}

function readPlugin(file: string): Buffer {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch {
    throw new Error(
      `there is no CCG plugin at ${file}: run make -C native/ccg-plugin, or name one by --plugin`,
    );
  }
  if (readPluginFile(bytes)?.architecture !== "x64") throw new Error(`${file} is no 64-bit DLL for x64`);
  return bytes;
}

function configOf(description: Dockerfile): Readonly<Record<string, unknown>> {
  return {
    ...(description.user === undefined ? {} : { User: description.user }),
    ...(description.workingDirectory === undefined ? {} : { WorkingDir: description.workingDirectory }),
    Env: description.environment,
    Entrypoint: description.entrypoint,
    Labels: description.labels,
  };
}

function stepsOf(description: Dockerfile, layer: (from: string) => Uint8Array): readonly HistoryStep[] {
  let copied = 0;
  return description.instructions.map(({ text, layer: makesLayer }) => {
    const copy = makesLayer ? description.copies[copied++] : undefined;
    if (copy !== undefined && copy.to !== "/") throw new Error(`only copies to / are laid out: ${text}`);
    return { createdBy: text, ...(copy === undefined ? {} : { layer: layer(copy.from) }) };
  });
}

async function lay(name: string, images: readonly PlatformImage[], description: Dockerfile): Promise<void> {
  const folder = join(output, name);
  const digest = await writeLayout(folder, images, {
    tag: version,
    created,
    annotations: description.labels,
  });
  const platforms = images.map(({ platform }) => `${platform.os}/${platform.architecture}`);
  say(`${relative(root, folder)}  ${platforms.join(", ")}  ${digest}`);
}
