/**
 * Starts the application from its environment; see README.md.
 * @module
 */
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { createLog, Directory, parseServerUrl, Secret } from "sallyport";
import { createRateLimiter } from "./application.ts";

function setting(name: string): string {
  const value = process.env[name];
  if (value === undefined || value === "") {
    process.stderr.write(`Set ${name}; README.md says to what.\n`);
    process.exit(2);
  }
  return value;
}

const domain = setting("DIRECTORY_DOMAIN").toLowerCase();
const server =
  process.env["DIRECTORY_SERVER"] === undefined ? undefined : parseServerUrl(setting("DIRECTORY_SERVER"));
const directory = new Directory(
  {
    domain,
    ...(server === undefined ? {} : { controllers: { from: "list", servers: [server] } }),
    trust: { certificateAuthority: readFileSync(setting("DIRECTORY_CA"), "utf8") },
    serviceAccount: {
      name: setting("DIRECTORY_USER"),
      // Read anew each time, so that it may be changed while we run.
      password: () => new Secret(readFileSync(setting("DIRECTORY_PASSWORD_FILE"), "utf8").trimEnd()),
    },
  },
  { log: createLog() },
);

const certificate = process.env["TLS_CERTIFICATE"];
const application = createRateLimiter({
  directory,
  editors: { name: process.env["EDITORS_GROUP"] ?? "Rate limit editors", domain },
  callers: [
    { name: "anonymous", limit: 10 },
    { name: "mobile-app", limit: 600 },
    { name: "partner", limit: 120 },
  ],
  secure: certificate !== undefined,
  ...(process.env["CONFIRM_EVERY_MS"] === undefined
    ? {}
    : { confirmEvery: Number(process.env["CONFIRM_EVERY_MS"]) }),
});
const listener =
  certificate === undefined
    ? createServer(application)
    : createTlsServer(
        { cert: readFileSync(certificate), key: readFileSync(setting("TLS_KEY")) },
        application,
      );
listener.listen(Number(process.env["PORT"] ?? 8080), "127.0.0.1", () => {
  const { port } = listener.address() as AddressInfo;
  process.stdout.write(`${certificate === undefined ? "http" : "https"}://127.0.0.1:${port}/\n`);
});

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    directory.close();
    listener.close();
    listener.closeAllConnections();
  });
}
