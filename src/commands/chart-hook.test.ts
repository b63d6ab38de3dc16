/**
 * `sallyport chart-hook` as a Job runs it: what it prints and how it ends.
 * @module
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { startFakeApiServer, type FakeApiServer } from "../../test/fakes/fake-api-server.ts";
import { temporaryFolder } from "../../test/temporary-folder.ts";

interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

function hook(args: readonly string[], kubeconfig: string, stopAfterMs?: number): Promise<Ran> {
  const program = join(import.meta.dirname, "../main.ts");
  const child = spawn(process.execPath, [program, "chart-hook", ...args], {
    env: { ...process.env, KUBECONFIG: kubeconfig },
  });
  let out = "";
  let err = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (out += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (err += text));
  if (stopAfterMs !== undefined) setTimeout(() => child.kill("SIGTERM"), stopAfterMs);
  return new Promise((resolve) => child.on("close", (code) => resolve({ code, out, err })));
}

async function cluster(
  t: TestContext,
): Promise<{ server: FakeApiServer; folder: string; kubeconfig: string }> {
  const server = await startFakeApiServer();
  t.after(() => server.stop());
  const folder = temporaryFolder(t);
  const kubeconfig = join(folder, "kubeconfig");
  writeFileSync(
    kubeconfig,
    JSON.stringify({
      apiVersion: "v1",
      kind: "Config",
      clusters: [{ name: "c", cluster: { server: server.url } }],
      users: [{ name: "u", user: { token: "t" } }],
      contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
      "current-context": "x",
    }),
  );
  return { server, folder, kubeconfig };
}

test("await-hosts goes on asking while it waits, names each node and fails for one that failed", async (t) => {
  const { server, kubeconfig } = await cluster(t);
  const pod = (nodeName: string, exitCode: number): object => ({
    metadata: { ownerReferences: [{ uid: "u" }] },
    spec: { nodeName },
    status: {
      initContainerStatuses: [
        { restartCount: 5, state: { terminated: { exitCode, message: "left: a.txt" } } },
      ],
    },
  });
  let looks = 0;
  server.handle("GET", "/apis/apps/v1/namespaces/ns/daemonsets/ds", () => ({
    status: 200,
    body: {
      metadata: { uid: "u", generation: 1 },
      spec: { selector: { matchLabels: { app: "ds" } } },
      status: { observedGeneration: 1, desiredNumberScheduled: 2 },
    },
  }));
  server.handle("GET", "/api/v1/namespaces/ns/pods", () => {
    looks += 1;
    return { status: 200, body: { items: looks === 1 ? [pod("a", 0)] : [pod("a", 0), pod("b", 1)] } };
  });

  const ran = await hook(["await-hosts", "--daemonset=ds", "--namespace=ns"], kubeconfig);

  assert.deepEqual(ran, {
    code: 1,
    out: "a: done (left: a.txt)\nb: failed (left: a.txt)\n2 nodes: 1 done, 1 failed, 0 not reached.\n",
    err: "",
  });
});

test("apply-crds applies every file of the folder and says what came of it", async (t) => {
  const { server, folder, kubeconfig } = await cluster(t);
  const crds = join(folder, "crds");
  mkdirSync(join(crds, "..data"), { recursive: true });
  const manifest = {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: "gadgets.example.com" },
    spec: { versions: [{ name: "v1" }] },
  };
  writeFileSync(join(crds, "crd.yaml"), JSON.stringify(manifest));
  const path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gadgets.example.com";
  server.handle("GET", path, () => ({ status: 200, body: { ...manifest, metadata: { generation: 1 } } }));
  server.handle("PATCH", path, () => ({ status: 200, body: { ...manifest, metadata: { generation: 2 } } }));

  assert.deepEqual(await hook(["apply-crds", crds], kubeconfig), {
    code: 0,
    out: "CustomResourceDefinition gadgets.example.com: updated.\n",
    err: "",
  });
});

test("apply-crds refuses a folder with anything else, and says which file", async (t) => {
  const { folder, kubeconfig } = await cluster(t);
  writeFileSync(join(folder, "a.yaml"), "kind: Secret\n");

  const ran = await hook(["apply-crds", folder], kubeconfig);

  assert.equal(ran.code, 2);
  assert.match(ran.err, /a\.yaml.*something else than CustomResourceDefinitions/);
});

test("stay stays until SIGTERM and ends well", async () => {
  assert.equal((await hook(["stay"], "", 1_500)).code, 0);
});
