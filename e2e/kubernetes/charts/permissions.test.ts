/**
 * What each service account of each chart may do, as the API server says it, against the list in the documentation.
 * @module
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

import type { KubernetesObject } from "../api-client.ts";
import type { ControlPlane } from "../control-plane.ts";
import { chartNames, chartPath, definitionsOf, objectsIn, requiredValues } from "./chart.ts";
import { suiteCluster } from "./suite-cluster.ts";

const page = join(import.meta.dirname, "../../../docs/reference/chart-permissions.md");

let cluster: ControlPlane;
before(async () => {
  cluster = await suiteCluster();
  await cluster.apply(chartNames.flatMap(definitionsOf));
});
after(() => cluster?.stop());

/** One line for each verb: `where resource name verb`. */
type Grants = readonly string[];

function documented(chart: string, account: string, names: Readonly<Record<string, string>>): Grants {
  const fill = (text: string): string =>
    text.replaceAll("`", "").replaceAll(/<(\w+)>/gu, (_, name: string) => names[name] ?? name);
  return readFileSync(page, "utf8")
    .split("\n")
    .filter((line) => line.startsWith("| gmsa-") || line.startsWith("| authenticator"))
    .map((line) => line.split("|").map((cell) => fill(cell.trim())))
    .filter(([, name, who]) => name === chart && who === account)
    .flatMap(([, , , where = "", resource = "", objects = "", verbs = ""]) =>
      verbs === "none"
        ? []
        : verbs
            .split(", ")
            .map((verb) =>
              [where, resource, objects === "any" ? "*" : objects, verb.replaceAll("`", "")].join(" "),
            ),
    )
    .toSorted();
}

/** The rules that an API server applies to this identity in a namespace. */
async function rulesIn(namespace: string, account: string, home: string): Promise<Grants> {
  const client = await cluster.client({ serviceAccount: account, namespace: home });
  const review = await client.expect("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", {
    apiVersion: "authorization.k8s.io/v1",
    kind: "SelfSubjectRulesReview",
    spec: { namespace },
  });
  return (review.status.resourceRules as readonly KubernetesObject[]).flatMap((rule) =>
    ((rule.resources ?? []) as readonly string[]).flatMap((resource) =>
      (rule.apiGroups as readonly string[]).flatMap((group) =>
        ((rule.resourceNames ?? ["*"]) as readonly string[]).flatMap((name) =>
          (rule.verbs as readonly string[]).map((verb) =>
            [group === "" ? resource : `${resource}.${group}`, name, verb].join(" "),
          ),
        ),
      ),
    ),
  );
}

/**
 * All that it may do: what holds in a namespace that nobody granted anything in holds everywhere; what else holds in a
 * namespace holds there. What an account without any grant may do as well is left out.
 */
async function grantsOf(account: string, home: string, namespaces: readonly string[]): Promise<Grants> {
  const common = new Set(await rulesIn("kube-public", "default", "kube-public"));
  const everywhere = (await rulesIn("kube-node-lease", account, home)).filter((line) => !common.has(line));
  const grants = everywhere.map((line) => `the cluster ${line}`);
  for (const namespace of namespaces) {
    for (const line of await rulesIn(namespace, account, home)) {
      if (!common.has(line) && !everywhere.includes(line)) grants.push(`${namespace} ${line}`);
    }
  }
  return grants.toSorted();
}

for (const name of chartNames) {
  test(`${name}: every service account may do what the documentation lists, verb by verb`, async (t) => {
    const namespace = await cluster.namespace(t);
    // Hooks' own accounts too, so the objects are applied as they are rendered.
    const rendered = await cluster.helm4([
      "template",
      "web",
      chartPath(name),
      "--namespace",
      namespace,
      ...requiredValues[name],
    ]);
    const objects = objectsIn(rendered.stdout).filter(
      ({ kind }) => kind === "ServiceAccount" || /Role(Binding)?$/u.test(String(kind)),
    );
    await cluster.apply(objects);
    const accounts = objects
      .filter(({ kind }) => kind === "ServiceAccount")
      .map(({ metadata }) => String(metadata.name));
    t.after(() => removeAgain(objects));

    assert.ok(accounts.length >= 2, accounts.join(", "));
    for (const account of accounts) {
      const wanted = documented(name, account, { release: "web", namespace });
      const namespaces = [namespace, "default", "kube-system"];
      // The authorizer follows a moment later.
      let granted: Grants = [];
      for (let attempt = 0; attempt < 40; attempt++) {
        granted = await grantsOf(account, namespace, namespaces);
        if (JSON.stringify(granted) === JSON.stringify(wanted)) break;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      assert.deepEqual(granted, wanted, account);
    }
  });
}

async function removeAgain(objects: readonly KubernetesObject[]): Promise<void> {
  await cluster.kubectl(["delete", "--filename", "-", "--ignore-not-found"], {
    stdin: JSON.stringify({ apiVersion: "v1", kind: "List", items: objects }),
    allowFailure: true,
  });
}
