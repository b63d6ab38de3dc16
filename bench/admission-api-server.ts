/**
 * The simulated API server of the admission bench, in a process of its own: credential specs and access reviews, each
 * answer a few milliseconds late, as one across a network is. Counts what it is asked; `/counts` tells and forgets.
 * @module
 */
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { sampleSpec } from "../test/samples/credential-spec.ts";

const latencyMs = Number(process.argv[2]);
const specs = Number(process.argv[3]);

const collection = "/apis/windows.k8s.io/v1/gmsacredentialspecs";
const objects = Array.from({ length: specs }, (_, at) => ({
  apiVersion: "windows.k8s.io/v1",
  kind: "GMSACredentialSpec",
  metadata: { name: `spec-${at}`, resourceVersion: "1" },
  credspec: sampleSpec(),
}));
const counts = { gets: 0, reviews: 0, other: 0 };
const allowed = {
  apiVersion: "authorization.k8s.io/v1",
  kind: "LocalSubjectAccessReview",
  status: { allowed: true },
};

function send(response: ServerResponse, status: number, body: unknown): void {
  setTimeout(
    () => response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body)),
    latencyMs,
  );
}

const server = createServer((request, response) => {
  const url = new URL(request.url ?? "/", "http://bench");
  request.resume();
  request.on("end", () => {
    if (url.pathname === "/counts") {
      response.end(JSON.stringify(counts));
      Object.assign(counts, { gets: 0, reviews: 0, other: 0 });
    } else if (request.method === "POST" && url.pathname.endsWith("/localsubjectaccessreviews")) {
      counts.reviews++;
      send(response, 201, allowed);
    } else if (url.pathname === collection && url.searchParams.get("watch") === "true") {
      // Nothing changes.
      response.writeHead(200, { "content-type": "application/json" }).flushHeaders();
    } else if (url.pathname === collection) {
      const metadata = { resourceVersion: "1" };
      send(response, 200, { kind: "List", apiVersion: "v1", metadata, items: objects });
    } else if (url.pathname.startsWith(`${collection}/`)) {
      counts.gets++;
      const found = objects.find(
        ({ metadata }) => metadata.name === url.pathname.slice(collection.length + 1),
      );
      send(response, found === undefined ? 404 : 200, found ?? {});
    } else {
      counts.other++;
      send(response, 404, {});
    }
  });
});
server.keepAliveTimeout = 120_000;
server.listen(0, "127.0.0.1", () => process.stdout.write(`${(server.address() as AddressInfo).port}\n`));
