/**
 * The Linux image does its work: unpacked, with a root folder that cannot be written, as a user with no rights.
 */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { smallHeapFlags } from "../../../images/single-executable.ts";
import { temporaryFolder } from "../../../test/temporary-folder.ts";
import { runCommand } from "../../guarded-process.ts";
import { BuiltImage, imagesFolder } from "../built-image.ts";
import { ImageContainers } from "../container.ts";

const root = join(import.meta.dirname, "../../..");
const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
const examples = join(root, "examples/contoso");
let containers: ImageContainers;

before(async () => {
  const image = new BuiltImage("sallyport", "linux/amd64");
  containers = await ImageContainers.create(image, join(imagesFolder(), "unpacked"));
});

describe("the Linux image", () => {
  test("says its version and explains each command", async () => {
    const said = await containers.run(["--version"]);
    assert.deepEqual([said.stdout, said.code], [`${version}\n`, 0]);

    for (const command of ["account-provider", "admission", "authenticator", "plugin", "directory"])
      assert.equal((await containers.run([command, "--help"])).code, 0, command);
  });

  test("runs as 65532 without any capability, and can write nowhere", async () => {
    const script = `
      const { readFileSync, writeFileSync } = require("node:fs");
      const status = readFileSync("/proc/self/status", "utf8");
      const refused = ["/x", "/tmp/x", "/usr/lib/sallyport/sallyport.mjs", "/etc/passwd"].map((path) => {
        try { writeFileSync(path, ""); return path; } catch (error) { return error.code; }
      });
      console.log(JSON.stringify({
        ids: [process.getuid(), process.getgid(), process.getgroups()],
        capabilities: [...status.matchAll(/^Cap(?:Inh|Prm|Eff|Amb):\\t(.+)$/gm)].map(([, set]) => set),
        noNewPrivileges: /^NoNewPrivs:\\t1$/m.test(status),
        refused,
      }));`;
    const { stdout, stderr } = await containers.run(["-e", script], { entrypoint: ["/usr/bin/node"] });

    assert.deepEqual(JSON.parse(stdout === "" ? stderr : stdout), {
      ids: [65532, 65532, [65532]],
      capabilities: Array.from({ length: 4 }, () => "0000000000000000"),
      noNewPrivileges: true,
      refused: ["EROFS", "EROFS", "EROFS", "EROFS"],
    });
  });

  test("knows time zones, names and certificate authorities without files of Debian's for them", async () => {
    const script = `
      const { lookup } = require("node:dns/promises");
      const { getCACertificates } = require("node:tls");
      lookup("localhost").then(({ address }) => console.log(JSON.stringify([
        new Date(0).getHours(), require("node:os").userInfo().username, address,
        getCACertificates("bundled").length > 100, getCACertificates("system").length > 100])));`;
    const { stdout, stderr } = await containers.run(["-e", script], {
      entrypoint: ["/usr/bin/node"],
      environment: { TZ: "Asia/Shanghai" },
    });

    const [hours, user, address, ...authorities] = JSON.parse(
      stdout === "" ? stderr : stdout,
    ) as readonly unknown[];
    assert.deepEqual([hours, user, authorities], [8, "nonroot", [true, true]]);
    assert.match(String(address), /^(?:127\.0\.0\.1|::1)$/);
  });

  test("runs every role at once on loopback", async (t) => {
    const state = temporaryFolder(t);
    containers.own(state);
    const { code, stdout, stderr } = await containers.run(
      ["up", "--once", "--manifests", "/manifests", "--state", "/state"],
      {
        mounts: [
          { from: examples, to: "/manifests", writable: false },
          { from: state, to: "/state", writable: true },
        ],
      },
    );

    assert.equal(code, 0, `${stdout}${stderr}`);
    assert.match(stdout, /✔ answer /);
    assert.doesNotMatch(stdout, /✘/);
  });

  test("its account provider answers the probe of another container, in the memory that was promised", async (t) => {
    const [host, manifests] = [temporaryFolder(t), temporaryFolder(t)];
    containers.own(host);
    containers.own(manifests);
    writeFileSync(
      join(manifests, "secret.yaml"),
      JSON.stringify({
        apiVersion: "v1",
        kind: "Secret",
        metadata: { name: "webapp-creds", namespace: "contoso-web" },
        stringData: { username: "ccg", password: "made up for this test", domainName: "contoso.example" },
      }),
    );
    const account = ["webapp-creds", "--namespace", "contoso-web", "--host-dir", "/host"];
    const mounts = [
      { from: host, to: "/host", writable: true },
      { from: manifests, to: "/manifests", writable: false },
    ];
    const provider = containers.start(
      ["account-provider", "run", "--manifests", "/manifests", "--secret", ...account],
      join(imagesFolder(), "account-provider.log"),
      { mounts, environment: { NODE_OPTIONS: smallHeapFlags.join(" ") } },
    );
    t.after(() => provider.stop());
    const deadline = performance.now() + 20_000;
    while (!existsSync(join(host, "port.txt"))) {
      assert.ok(provider.exit === undefined && performance.now() < deadline, provider.tail());
      await sleep(20);
    }

    const probe = await containers.run(["account-provider", "probe", ...account], { mounts });

    assert.equal(probe.code, 0, `${probe.stdout}${probe.stderr}\n${provider.tail()}`);
    assert.match(probe.stdout, /✔ answer .*contoso\.example/);
    const status = readFileSync(`/proc/${provider.pid}/status`, "utf8");
    const resident = Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024;
    assert.ok(resident < 110, `${resident} MiB`);
    assert.deepEqual(await provider.stop("SIGTERM"), { code: 0, signal: null });
    assert.equal(existsSync(join(host, "port.txt")), false);
  });
});

describe("the single executable for Linux", () => {
  const executable = join(imagesFolder(), `sallyport-${version}-linux-amd64`);

  test("needs nothing around it", async (t) => {
    const state = join(temporaryFolder(t), "state");
    mkdirSync(state);

    assert.equal((await runCommand(executable, ["--version"])).stdout, `${version}\n`);
    const { code, stdout, stderr } = await runCommand(
      "env",
      ["-i", "PATH=/nowhere", executable, "up", "--once", "--manifests", examples, "--state", state],
      { cwd: state },
    );
    assert.equal(code, 0, `${stdout}${stderr}`);
    assert.doesNotMatch(stdout, /✘/);
  });

  test("looks for the plugin in the folder that it lies in, as the one for Windows does", async () => {
    const { stdout } = await runCommand(executable, ["plugin", "install", "--help"]);

    const text = stdout.replaceAll(/\s+/g, " ");
    assert.ok(text.includes(`(default: "${join(imagesFolder(), "SallyportCcgPlugin.dll")}")`), text);
  });
});
