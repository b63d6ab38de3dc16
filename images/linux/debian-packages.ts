/**
 * The few files that Node needs around it come out of Debian packages: fetched by apt through a private configuration
 * (Debian's signature on the index is checked by apt, each package's hash by us), unpacked, never installed.
 * @module
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mkdtemp } from "node:fs/promises";
import { promisify } from "node:util";

const run = promisify(execFile);
const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
const pinFile = join(import.meta.dirname, "debian-packages.json");

export interface DebianPackage {
  readonly name: string;
  readonly version: string;
  /** `amd64`, `arm64`, or `all`. */
  readonly architecture: string;
  readonly sha256: string;
}

export interface DebianPins {
  readonly release: string;
  readonly packages: readonly DebianPackage[];
}

export interface FetchedPackage extends DebianPackage {
  /** The `.deb`. */
  readonly file: string;
}

export interface FetchOptions {
  /** Where packages are kept from one run to the next. */
  readonly cache: string;
  /** Take what Debian offers where it no longer has the pinned version. */
  readonly allowNewer: boolean;
  readonly say: (line: string) => void;
}

export function readPins(): DebianPins {
  return JSON.parse(readFileSync(pinFile, "utf8")) as DebianPins;
}

/** Pins the versions that Debian offers now. */
export async function renewPins(options: FetchOptions): Promise<void> {
  const pins = readPins();
  const offered = await withApt(pins.release, (apt) => offers(apt, pins.packages));
  writeFileSync(pinFile, `${JSON.stringify({ ...pins, packages: offered }, undefined, 2)}\n`);
  for (const { name, architecture, version } of offered)
    options.say(`${name}:${architecture} is pinned to ${version}`);
}

/** The packages for one architecture. @throws {Error} a sentence for the person who builds. */
export async function fetchPackages(
  architecture: string,
  options: FetchOptions,
): Promise<readonly FetchedPackage[]> {
  const { release, packages } = readPins();
  const wanted = packages.filter((each) => ["all", architecture].includes(each.architecture));
  mkdirSync(options.cache, { recursive: true });
  const place = (each: DebianPackage): FetchedPackage => ({
    ...each,
    file: join(options.cache, `${each.sha256}.deb`),
  });
  if (wanted.every((each) => existsSync(place(each).file))) return wanted.map(place);
  return withApt(release, async (apt) => {
    const offered = await offers(apt, wanted);
    const fetched: FetchedPackage[] = [];
    for (const each of wanted) {
      const offer = offered.find(
        ({ name, architecture: kind }) => name === each.name && kind === each.architecture,
      );
      if (offer === undefined) throw new Error(`Debian ${release} has no package ${each.name}`);
      if (offer.sha256 !== each.sha256 && !existsSync(place(each).file)) {
        const what = `${each.name}:${each.architecture} is pinned to ${each.version}, Debian ${release} offers ${offer.version}`;
        if (!options.allowNewer) throw new Error(`${what}: look at it, then run with --renew-base`);
        options.say(`${what}, which is taken`);
        fetched.push(await download(apt, place(offer)));
      } else fetched.push(await download(apt, place(each)));
    }
    return fetched;
  });
}

/** Unpacks a package's files below a folder, and answers its control paragraph. */
export async function unpackPackage(each: FetchedPackage, folder: string): Promise<string> {
  await run("dpkg-deb", ["--extract", each.file, folder]);
  const { stdout } = await run("dpkg-deb", ["--field", each.file]);
  return stdout;
}

interface Apt {
  /** Its folder; files are downloaded into it. */
  readonly work: string;
  run(...words: readonly string[]): Promise<string>;
}

async function withApt<T>(release: string, body: (apt: Apt) => Promise<T>): Promise<T> {
  const work = await mkdtemp(join(tmpdir(), "sallyport-apt-"));
  try {
    for (const folder of ["lists/partial", "archives/partial", "sources.d"])
      mkdirSync(join(work, folder), { recursive: true });
    const { main, security } = await mirrors();
    const source = (address: string, suite: string): string =>
      `deb [signed-by=${keyring}] ${address} ${suite} main\n`;
    writeFileSync(
      join(work, "sources.list"),
      source(main, release) + (security === undefined ? "" : source(security, `${release}-security`)),
    );
    const settings = {
      "Dir::Etc::sourcelist": join(work, "sources.list"),
      "Dir::Etc::sourceparts": join(work, "sources.d"),
      "Dir::State::lists": join(work, "lists"),
      "Dir::State::status": "/dev/null",
      "Dir::Cache": work,
      "Dir::Cache::archives": join(work, "archives"),
      "APT::Sandbox::User": "root",
      "APT::Architecture": "amd64",
      "APT::Architectures": "amd64,arm64",
      "Acquire::Languages": "none",
      "Acquire::Retries": "3",
    };
    const options = Object.entries(settings).flatMap(([name, value]) => ["-o", `${name}=${value}`]);
    const apt: Apt = {
      work,
      run: async (...words) =>
        (await run("apt-get", ["-q", ...options, ...words], { cwd: work, maxBuffer: 2 ** 24 })).stdout,
    };
    await apt.run("update");
    return await body(apt);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Debian's archive as this machine reaches it. */
async function mirrors(): Promise<{ readonly main: string; readonly security: string | undefined }> {
  const { stdout } = await run("apt-get", [
    ...["indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Identifier: Packages"],
  ]);
  const targets = stdout.split("\n").map((line) => line.split(" "));
  const find = (suite: RegExp): string | undefined =>
    targets.find(([, release]) => suite.test(release ?? ""))?.[0];
  const main =
    process.env["DEBIAN_MIRROR"] ?? find(/^(?:bookworm|trixie|forky|oldstable|stable|testing|sid)$/);
  if (main === undefined)
    throw new Error("no Debian mirror in this machine's apt configuration: set DEBIAN_MIRROR");
  return { main, security: process.env["DEBIAN_SECURITY_MIRROR"] ?? find(/-security$/) };
}

/** What apt would download for each package. */
async function offers(
  apt: Apt,
  packages: readonly Pick<DebianPackage, "name" | "architecture">[],
): Promise<readonly DebianPackage[]> {
  const words = packages.map(({ name, architecture }) =>
    architecture === "all" ? name : `${name}:${architecture}`,
  );
  const lines = await apt.run("download", "--print-uris", ...words);
  const found = [...lines.matchAll(/ ([^ _]+)_([^ _]+)_(\w+)\.deb \d+ SHA256:([0-9a-f]{64})/g)];
  return found
    .map(([, name = "", version = "", architecture = "", sha256 = ""]) => ({
      ...{ name, version: decodeURIComponent(version) },
      ...{ architecture, sha256 },
    }))
    .sort((a, b) => (`${a.architecture} ${a.name}` < `${b.architecture} ${b.name}` ? -1 : 1));
}

async function download(apt: Apt, each: FetchedPackage): Promise<FetchedPackage> {
  if (existsSync(each.file)) return each;
  const word = each.architecture === "all" ? each.name : `${each.name}:${each.architecture}`;
  await apt.run("download", `${word}=${each.version}`);
  const { stdout } = await run("sh", ["-c", `ls ${each.name}_*_${each.architecture}.deb`], { cwd: apt.work });
  const file = join(apt.work, stdout.trim());
  const actual = createHash("sha256").update(readFileSync(file)).digest("hex");
  if (actual !== each.sha256)
    throw new Error(`${each.name} ${each.version} has SHA-256 ${actual}, expected ${each.sha256}`);
  // Beside its place first: temporary folder and cache may be on different disks.
  writeFileSync(`${each.file}.part`, readFileSync(file));
  renameSync(`${each.file}.part`, each.file);
  return each;
}
