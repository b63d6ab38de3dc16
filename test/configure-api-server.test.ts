/**
 * The script that tells a static kube-apiserver to ask the authenticator, on a manifest as kubeadm makes it.
 * @module
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { parse, stringify } from "yaml";
import { temporaryFolder } from "./temporary-folder.ts";

const script = join(import.meta.dirname, "../deploy/authenticator/configure-api-server.sh");
const original = readFileSync(join(import.meta.dirname, "fixtures/kube-apiserver-manifest.txt"), "utf8");

interface Node {
  readonly manifest: string;
  readonly kubeconfig: string;
  readonly backups: string;
  run(...args: readonly string[]): Promise<{ readonly code: number; readonly output: string }>;
  read(): string;
}

function controlPlaneNode(t: TestContext, manifest = original): Node {
  const folder = temporaryFolder(t);
  const paths = {
    manifest: join(folder, "kube-apiserver.yaml"),
    kubeconfig: join(folder, "kubeconfig.yaml"),
    backups: join(folder, "backups"),
  };
  writeFileSync(paths.manifest, manifest);
  writeFileSync(paths.kubeconfig, "kind: Config\n");
  const options = Object.entries(paths).flatMap(([name, path]) => [`--${name}`, path]);
  return {
    ...paths,
    run: (...args) =>
      new Promise((resolve) => {
        execFile("sh", [script, ...options, ...args], (error, stdout, stderr) =>
          resolve({ code: Number(error?.code ?? 0), output: stdout + stderr }),
        );
      }),
    read: () => readFileSync(paths.manifest, "utf8"),
  };
}

interface Pod {
  readonly spec: {
    readonly containers: readonly {
      readonly command: readonly string[];
      readonly volumeMounts: readonly { readonly name: string; readonly readOnly?: boolean }[];
    }[];
    readonly volumes: readonly { readonly name: string }[];
  };
}

const styles: readonly [name: string, manifest: string][] = [
  ["as kubeadm writes it", original],
  ["with indented lists", stringify(parse(original))],
];
for (const [style, manifest] of styles) {
  test(`adds the flags, the mount and the volume to a manifest ${style}, and takes them away again`, async (t) => {
    const node = controlPlaneNode(t, manifest);

    assert.equal((await node.run()).code, 0);

    const { spec } = parse(node.read()) as Pod;
    const [container] = spec.containers;
    assert.ok(container);
    assert.equal(container.command[0], "kube-apiserver");
    assert.ok(container.command.includes(`--authentication-token-webhook-config-file=${node.kubeconfig}`));
    assert.ok(container.command.includes("--authentication-token-webhook-version=v1"));
    assert.ok(
      container.volumeMounts.some((mount) => mount.name === "ack-ram-authenticator" && mount.readOnly),
    );
    assert.ok(spec.volumes.some((volume) => volume.name === "ack-ram-authenticator"));
    const [backup = ""] = readdirSync(node.backups);
    assert.equal(readFileSync(join(node.backups, backup), "utf8"), manifest);

    assert.equal((await node.run("--undo")).code, 0);
    assert.equal(node.read(), manifest);
    assert.match((await node.run("--undo")).output, /needs no change/);
  });
}

test("changes nothing the second time", async (t) => {
  const node = controlPlaneNode(t);
  await node.run();
  const once = node.read();

  assert.match((await node.run()).output, /configured already/);
  assert.equal(node.read(), once);
  assert.equal(readdirSync(node.backups).length, 1);
});

test("leaves an API server alone that asks another webhook", async (t) => {
  const other = original.replace(
    "- kube-apiserver\n",
    "- kube-apiserver\n    - --authentication-token-webhook-config-file=/etc/other.yaml\n",
  );
  const node = controlPlaneNode(t, other);

  const { code, output } = await node.run();
  assert.equal(code, 1);
  assert.match(output, /already asks another webhook/);
  assert.equal(node.read(), other);
});

test("leaves a manifest alone that it does not know", async (t) => {
  const strange = "apiVersion: v1\nkind: Pod\nspec: {containers: []}\n";
  const node = controlPlaneNode(t, strange);

  assert.equal((await node.run()).code, 1);
  assert.equal(node.read(), strange);
});

test("waits for the kubeconfig: an API server without it does not start", async (t) => {
  const node = controlPlaneNode(t);
  writeFileSync(node.kubeconfig, "");

  const { code, output } = await node.run();
  assert.equal(code, 1);
  assert.match(output, /start the authenticator first/);
  assert.equal(node.read(), original);
});

/** A manifest whose API server asks a webhook, with the lines that whoever set it up added. */
function asking(...flags: readonly string[]): string {
  const lines = ["- kube-apiserver", ...flags.map((flag) => `- --authentication-token-webhook-${flag}`)];
  return original.replace("- kube-apiserver\n", `${lines.join("\n    ")}\n`);
}

const elsewhere = asking("config-file=/etc/other.yaml", "version=v1");
for (const [form, other] of [
  ["plain", elsewhere],
  ["in quotes", elsewhere.replace(/(--.*other\.yaml)/, '"$1"')],
]) {
  test(`takes nothing away from an API server that asks another webhook (${form})`, async (t) => {
    const node = controlPlaneNode(t, other);

    const { code, output } = await node.run("--undo");
    assert.equal(code, 1);
    assert.match(output, /asks \/etc\/other\.yaml.*--kubeconfig/);
    assert.equal(node.read(), other);
    assert.equal((await node.run()).code, 1);
    assert.equal(node.read(), other);
  });
}

test("takes away its own version of reviews alone", async (t) => {
  const own = asking("version=v1");
  const node = controlPlaneNode(t, own);
  await node.run();

  assert.equal((await node.run("--undo")).code, 0);
  assert.equal(node.read(), own);
});
