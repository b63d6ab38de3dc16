/**
 * The least that Node can do for a review: a bare `node:https` server that reads the body, parses it and denies. Takes its
 * certificate on standard input as JSON and prints its port.
 * @module
 */
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";

const { cert, key, body } = JSON.parse(await text(process.stdin)) as Readonly<Record<string, string>>;
const server = createServer({ cert, key }, (request, response) => {
  let posted = "";
  request.setEncoding("utf8").on("data", (chunk: string) => (posted += chunk));
  request.on("end", () => {
    const { spec } = JSON.parse(posted) as { readonly spec: { readonly token: string } };
    const known = spec.token.startsWith("k8s-ack-v2.");
    response.writeHead(200, { "content-type": "application/json; charset=UTF-8" }).end(known ? "{}" : body);
  });
});
server.listen(0, "127.0.0.1", () => {
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`);
});
process.on("SIGTERM", () => process.exit(0));
