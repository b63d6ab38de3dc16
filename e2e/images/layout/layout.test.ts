/**
 * What is in the images: everything that has to be, nothing else, and the same bytes the next time.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { accountProviderFlags } from "../../../images/single-executable.ts";
import { bundleExecutable, bundleProgram } from "../../../scripts/bundle.ts";
import { temporaryFolder } from "../../../test/temporary-folder.ts";
import { runCommand } from "../../guarded-process.ts";
import { BuiltImage, imagesFolder } from "../built-image.ts";

const root = join(import.meta.dirname, "../../..");
const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
const mebibyte = 2 ** 20;
const plugin = (): Buffer =>
  readFileSync(join(process.env["SALLYPORT_E2E_CCG_PLUGIN"] ?? "", "SallyportCcgPlugin.dll"));

for (const platform of ["linux/amd64", "linux/arm64"] as const) {
  describe(`the image for ${platform}`, () => {
    const image = new BuiltImage("sallyport", platform);

    test("runs sallyport as 65532, says what it is, and is of no particular day", () => {
      const { config, created } = image.config;

      assert.deepEqual(`${image.config.os}/${image.config.architecture}`, platform);
      assert.equal(config.User, "65532:65532");
      assert.deepEqual(config.Entrypoint, ["/usr/bin/sallyport"]);
      assert.equal(config.Labels["org.opencontainers.image.title"], "sallyport");
      assert.equal(config.Labels["org.opencontainers.image.version"], version);
      assert.equal(config.Labels["org.opencontainers.image.licenses"], "Apache-2.0");
      assert.equal(created, "1970-01-01T00:00:00Z");
      const withLayers = image.config.history.filter(({ empty_layer }) => empty_layer !== true);
      assert.equal(withLayers.length, image.manifest.layers.length);
      assert.deepEqual(
        image.layers().map((layer) => `sha256:${createHash("sha256").update(layer).digest("hex")}`),
        image.config.rootfs.diff_ids,
      );
    });

    test("is no larger than it was, and a release changes less than a megabyte of it", () => {
      assert.ok(image.size < 60 * mebibyte, `${image.size} bytes`);
      assert.ok((image.manifest.layers.at(-1)?.size ?? Infinity) < mebibyte);
    });

    test("has Node, the program, the libraries between them, and no shell", async () => {
      const files = await image.files();
      const paths = files.filter(({ mode }) => !mode.startsWith("d")).map(({ path }) => path);
      const triplet = platform === "linux/amd64" ? "x86_64-linux-gnu" : "aarch64-linux-gnu";
      const loader = platform === "linux/amd64" ? "ld-linux-x86-64.so.2" : "ld-linux-aarch64.so.1";

      assert.deepEqual(
        paths
          .map((path) => path.replace(/ -> .*/, ""))
          .filter((path) => !path.startsWith("usr/share/doc/") && !path.startsWith("var/lib/dpkg/"))
          .sort(),
        [
          ...["etc/group", "etc/hosts", "etc/nsswitch.conf", "etc/os-release", "etc/passwd"],
          ...["etc/ssl/certs/ca-certificates.crt", "lib"],
          ...(platform === "linux/amd64" ? ["lib64"] : []),
          ...["usr/bin/node", "usr/bin/sallyport", "usr/lib/sallyport/sallyport.mjs"],
          ...[loader, "libatomic.so.1", "libatomic.so.1.2.0", "libc.so.6", "libdl.so.2", "libgcc_s.so.1"].map(
            (library) => `usr/lib/${triplet}/${library}`,
          ),
          ...["libm.so.6", "libpthread.so.0", "libstdc++.so.6", "libstdc++.so.6.0.33"].map(
            (library) => `usr/lib/${triplet}/${library}`,
          ),
          ...(platform === "linux/amd64" ? [`usr/lib64/${loader}`] : [`usr/lib/${loader}`]),
          "usr/share/sallyport/sbom.cdx.json",
        ].sort(),
      );
    });

    test("belongs to root, and nobody else may write or become somebody", async () => {
      for (const { path, mode, owner, date } of await image.files()) {
        assert.equal(owner, "0/0", path);
        assert.equal(date, "1970-01-01 00:00", path);
        if (path === "tmp/") assert.equal(mode, "drwxrwxrwt");
        else if (!mode.startsWith("l")) assert.match(mode, /^[-d]rw[x-]r-[x-]r-[x-]$/, path);
      }
    });

    test("its bill of materials names Node, each bundled package, and each Debian package", async () => {
      const bill = image.billOfMaterials();
      const { packages } = await bundleProgram("sallyport.mjs");
      const listed = await image.files();
      const debian = listed.flatMap(({ path }) => /^var\/lib\/dpkg\/status\.d\/(.+)$/.exec(path)?.[1] ?? []);

      assert.equal(`${bill.bomFormat} ${bill.specVersion}`, "CycloneDX 1.6");
      const names = (kind: string): readonly string[] =>
        bill.components
          .flatMap(({ purl, name }) => (purl?.startsWith(`pkg:${kind}/`) === true ? [name] : []))
          .sort();
      assert.deepEqual(names("deb"), debian.sort());
      assert.ok(packages.length > 20);
      assert.deepEqual(
        names("npm"),
        [
          "sallyport",
          ...packages.map((folder) => folder.slice(folder.lastIndexOf("node_modules/") + 13)),
        ].sort(),
      );
      assert.deepEqual(names("generic"), ["node"]);
      for (const component of bill.components.filter(({ name }) => name !== "sallyport"))
        assert.ok((component.hashes?.length ?? 0) > 0 && component.version !== undefined, component.name);
    });
  });
}

describe("the image for windows/amd64", () => {
  const image = new BuiltImage("sallyport-windows", "windows/amd64");

  test("runs sallyport.exe on any Windows, as the user that the pod names", () => {
    const { config } = image.config;

    assert.deepEqual(config.Entrypoint, ["sallyport.exe"]);
    assert.equal(config.User, undefined);
    assert.equal("os.version" in image.config, false);
    assert.equal(config.Labels["org.opencontainers.image.title"], "sallyport-windows");
    assert.equal(config.Labels["org.opencontainers.image.version"], version);
    assert.ok(image.size < 45 * mebibyte, `${image.size} bytes`);
  });

  test("has the files where Windows looks for them, the plugin beside the executable", async () => {
    const files = await image.files();
    const paths = files.filter(({ mode }) => !mode.startsWith("d")).map(({ path }) => path);
    const hives = ["DEFAULT", "SAM", "SECURITY", "SOFTWARE", "SYSTEM"];

    assert.deepEqual(paths.sort(), [
      "Files/LICENSE.txt",
      "Files/SallyportCcgPlugin.dll",
      "Files/THIRD-PARTY-LICENSES.txt",
      ...hives.map((hive) => `Files/Windows/System32/config/${hive}`),
      "Files/sallyport.exe",
      "Files/sbom.cdx.json",
    ]);
  });

  test("its executable is a 64-bit console program with this program and these settings inside", async (t) => {
    const folder = temporaryFolder(t);
    await image.unpack(folder);
    const bytes = readFileSync(join(folder, "Files/sallyport.exe"));
    const { text } = await bundleExecutable();
    const header = bytes.readUInt32LE(0x3c);

    assert.equal(bytes.toString("latin1", header, header + 2), "PE");
    assert.equal(bytes.readUInt16LE(header + 4), 0x8664);
    // Subsystem: a console program.
    assert.equal(bytes.readUInt16LE(header + 24 + 68), 3);
    assert.ok(bytes.includes(text));
    for (const flag of accountProviderFlags) assert.ok(bytes.includes(flag), flag);
    // The mark that Node looks for in itself: 1 when it carries a program.
    assert.ok(bytes.includes("NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2:1"));
    assert.deepEqual(readFileSync(join(folder, "Files/SallyportCcgPlugin.dll")), plugin());
  });

  test("its bill of materials names what is linked into the plugin", () => {
    const { components } = image.billOfMaterials();
    const byName = (name: string) => components.find((component) => component.name === name);

    assert.match(byName("mbedtls")?.version ?? "", /^3\.6\.\d+$/);
    assert.equal(byName("node")?.version, process.version.slice(1));
    assert.equal(
      byName("SallyportCcgPlugin.dll")?.hashes?.[0]?.content,
      createHash("sha256").update(plugin()).digest("hex"),
    );
    assert.equal(
      components.some(({ purl }) => purl?.startsWith("pkg:deb/") === true),
      false,
    );
  });
});

test("built again elsewhere, at another time, by somebody with another umask, the images are the same", async (t) => {
  const folder = temporaryFolder(t);
  const words = [
    ...[process.execPath, join(root, "images/build.ts"), "--output", folder, "--allow-newer-base"],
    ...["--cache", process.env["SALLYPORT_E2E_IMAGES_CACHE"] ?? ""],
    ...["--plugin", join(process.env["SALLYPORT_E2E_CCG_PLUGIN"] ?? "", "SallyportCcgPlugin.dll")],
    ...["--platform", "linux/amd64", "--platform", "windows/amd64"],
  ];
  const result = await runCommand("sh", ["-c", 'umask 077; exec "$@"', "sh", ...words], {
    timeoutMs: 170_000,
  });

  assert.equal(result.code, 0, result.stderr);
  for (const [name, platform] of [
    ["sallyport", "linux/amd64"],
    ["sallyport-windows", "windows/amd64"],
  ] as const)
    assert.equal(new BuiltImage(name, platform, folder).digest, new BuiltImage(name, platform).digest);
  const executable = `sallyport-${version}-linux-amd64`;
  assert.ok(readFileSync(join(folder, executable)).equals(readFileSync(join(imagesFolder(), executable))));
});
