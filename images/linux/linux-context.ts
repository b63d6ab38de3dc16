/**
 * The build context of the Linux image: `base/` (shared libraries, certificate authorities, users), `node/`, `program/`, one
 * layer each, so that a new release changes the smallest of them alone. `docs/decisions/0115` says what is left out and why.
 * @module
 */
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { unpackPackage, type FetchedPackage } from "./debian-packages.ts";

const root = join(import.meta.dirname, "../..");

/** Where Debian keeps libraries, and where programs look for the loader. */
const architectures = {
  amd64: { triplet: "x86_64-linux-gnu", loader: "ld-linux-x86-64.so.2", loaderFolder: "usr/lib64" },
  arm64: { triplet: "aarch64-linux-gnu", loader: "ld-linux-aarch64.so.1", loaderFolder: "usr/lib" },
} as const;

export type LinuxArchitecture = keyof typeof architectures;

/** What Node is linked with. */
const libraries = [
  ...["libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0"],
  ...["libgcc_s.so.1", "libstdc++.so.6", "libatomic.so.1"],
];

export interface LinuxParts {
  readonly architecture: LinuxArchitecture;
  readonly debian: readonly FetchedPackage[];
  /** Path of Node. */
  readonly node: string;
  /** The bundle. */
  readonly program: string;
  readonly billOfMaterials: Uint8Array;
  readonly licences: string;
}

/** Writes the context anew; modes do not depend on the umask. */
export async function writeLinuxContext(folder: string, parts: LinuxParts): Promise<void> {
  rmSync(folder, { recursive: true, force: true });
  const unpacked = mkdtempSync(join(tmpdir(), "sallyport-debian-"));
  try {
    await writeBase(join(folder, "base"), parts, unpacked);
  } finally {
    rmSync(unpacked, { recursive: true, force: true });
  }
  const copyNode = join(folder, "node/usr/bin/node");
  makeFolder(dirname(copyNode), folder);
  copyFileSync(parts.node, copyNode);
  chmodSync(copyNode, 0o755);

  const put = writer(join(folder, "program"));
  // There is no env in the image that could look for Node.
  put("usr/lib/sallyport/sallyport.mjs", parts.program.replace(/^#!.*\n/, "#!/usr/bin/node\n"), 0o755);
  makeFolder(join(folder, "program/usr/bin"), folder);
  symlinkSync("../lib/sallyport/sallyport.mjs", join(folder, "program/usr/bin/sallyport"));
  put("usr/share/doc/sallyport/LICENSE", readFileSync(join(root, "LICENSE")));
  put("usr/share/doc/sallyport/THIRD-PARTY-LICENSES", parts.licences);
  put("usr/share/sallyport/sbom.cdx.json", parts.billOfMaterials);
}

async function writeBase(folder: string, parts: LinuxParts, unpacked: string): Promise<void> {
  const put = writer(folder);
  const { triplet, loader, loaderFolder } = architectures[parts.architecture];
  for (const each of parts.debian) {
    const control = await unpackPackage(each, unpacked);
    // Where scanners look for the packages of an image that has no package manager.
    put(`var/lib/dpkg/status.d/${each.name}`, control);
  }
  for (const library of [...libraries, loader]) {
    const file = realpathSync(join(unpacked, "usr/lib", triplet, library));
    const place = `usr/lib/${triplet}/${basename(file)}`;
    put(place, readFileSync(file), 0o755);
    if (basename(file) !== library) symlinkSync(basename(file), join(folder, `usr/lib/${triplet}`, library));
  }
  makeFolder(join(folder, loaderFolder), folder);
  const upwards = loaderFolder === "usr/lib" ? triplet : `../lib/${triplet}`;
  symlinkSync(`${upwards}/${loader}`, join(folder, loaderFolder, loader));
  symlinkSync("usr/lib", join(folder, "lib"));
  if (loaderFolder === "usr/lib64") symlinkSync("usr/lib64", join(folder, "lib64"));
  for (const { name } of parts.debian) {
    const copyright = realpathSync(join(unpacked, "usr/share/doc", name, "copyright"));
    put(`usr/share/doc/${name}/copyright`, readFileSync(copyright));
  }
  const authorities = join(unpacked, "usr/share/ca-certificates/mozilla");
  const certificates = readdirSync(authorities).sort();
  put(
    "etc/ssl/certs/ca-certificates.crt",
    certificates.map((name) => `${readFileSync(join(authorities, name), "utf8").trimEnd()}\n`).join(""),
  );
  put(
    "etc/passwd",
    "root:x:0:0:root:/:/nonexistent\nnonroot:x:65532:65532:nonroot:/tmp:/nonexistent\nnobody:x:65534:65534:nobody:/:/nonexistent\n",
  );
  put("etc/group", "root:x:0:\nnonroot:x:65532:\nnobody:x:65534:\n");
  // A runtime lays its own over it; one that does not would leave localhost without an address.
  put("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n");
  put("etc/nsswitch.conf", "hosts: files dns\n");
  put(
    "etc/os-release",
    'PRETTY_NAME="Sallyport, on libraries of Debian 13"\nNAME="Debian GNU/Linux"\nID=debian\nVERSION_ID="13"\nVERSION_CODENAME=trixie\n',
  );
  mkdirSync(join(folder, "tmp"));
  chmodSync(join(folder, "tmp"), 0o1777);
}

function writer(folder: string): (path: string, content: string | Uint8Array, mode?: number) => void {
  return (path, content, mode = 0o644) => {
    const file = join(folder, path);
    makeFolder(dirname(file), folder);
    writeFileSync(file, content);
    chmodSync(file, mode);
  };
}

/** With every folder between. */
function makeFolder(path: string, below: string): void {
  const made: string[] = [];
  for (let each = path; each.length > below.length; each = dirname(each)) made.push(each);
  for (const each of made.toReversed()) {
    mkdirSync(each, { recursive: true });
    chmodSync(each, 0o755);
  }
}
