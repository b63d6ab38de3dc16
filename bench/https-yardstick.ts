/**
 * The least that Node can do for the same answer: a bare `node:https` server with the same certificates and body.
 * Takes its material on standard input as JSON and prints its port.
 * @module
 */
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import type { YardstickMaterial } from "./account-provider.bench.ts";

const { ca, cert, key, body } = JSON.parse(await text(process.stdin)) as YardstickMaterial;
const server = createServer(
  { ca, cert, key, requestCert: true, rejectUnauthorized: true },
  (_request, response) => {
    response.writeHead(200, { "content-type": "application/json; charset=utf-8" }).end(body);
  },
);
server.listen(0, "127.0.0.1", () => {
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`);
});
process.on("SIGTERM", () => process.exit(0));
