/**
 * Tests of the engine's address.
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import type { ConfigFault } from "../errors.ts";
import { parseEndpoint, type EndpointSettings, type EngineEndpoint } from "./endpoint.ts";

function parse(settings: Partial<EndpointSettings>): EngineEndpoint | string {
  const faults: ConfigFault[] = [];
  const endpoint = parseEndpoint(
    {
      host: undefined,
      certificateFolder: undefined,
      tlsVerify: false,
      plainTcpAllowed: false,
      platform: "linux",
      homeDirectory: "/home/op",
      ...settings,
    },
    faults,
  );
  assert.equal(endpoint === undefined, faults.length > 0);
  return endpoint ?? faults.map((fault) => fault.problem).join();
}

/** `kind where [tls]`, or the fault. */
function short(settings: Partial<EndpointSettings>): string {
  const endpoint = parse(settings);
  if (typeof endpoint === "string") return endpoint;
  if (endpoint.kind === "socket") return `socket ${endpoint.path}`;
  return `tcp ${endpoint.host} ${endpoint.port} ${endpoint.tls?.authority ?? "plain"}`;
}

for (const [name, settings, expected] of [
  ["the default of Linux", {}, "socket /var/run/docker.sock"],
  ["an empty DOCKER_HOST", { host: "" }, "socket /var/run/docker.sock"],
  ["the default of Windows", { platform: "win32" }, "socket \\\\.\\pipe\\docker_engine"],
  ["a socket", { host: "unix:///tmp/e.sock" }, "socket /tmp/e.sock"],
  ["another pipe", { host: "npipe:////./pipe/other-1", platform: "win32" }, "socket \\\\.\\pipe\\other-1"],
  ["a pipe of another host", { host: "npipe:////srv/pipe/e", platform: "win32" }, "socket \\\\srv\\pipe\\e"],
  ["loopback in the clear", { host: "tcp://127.0.0.1:2375" }, "tcp 127.0.0.1 2375 plain"],
  ["IPv6 loopback", { host: "tcp://[::1]:99" }, "tcp ::1 99 plain"],
  ["localhost", { host: "tcp://localhost" }, "tcp localhost 2375 plain"],
  ["plain TCP that is allowed", { host: "tcp://m1:1", plainTcpAllowed: true }, "tcp m1 1 plain"],
  ["certificates", { host: "tcp://m1.example", certificateFolder: "/c" }, "tcp m1.example 2376 /c/ca.pem"],
  ["DOCKER_TLS_VERIFY", { host: "tcp://m1:9", tlsVerify: true }, "tcp m1 9 /home/op/.docker/ca.pem"],
  ["https", { host: "https://m1:9" }, "tcp m1 9 /home/op/.docker/ca.pem"],
] as const) {
  test(`the endpoint of ${name}`, () => {
    assert.equal(short(settings), expected);
  });
}

for (const [name, settings, expected] of [
  ["plain TCP to another machine", { host: "tcp://10.0.0.1:2375" }, /in the clear.*--allow-plain-tcp/],
  ["a name that only begins like loopback", { host: "tcp://127.0.0.1.example:2375" }, /in the clear/],
  ["a name that only looks like localhost", { host: "tcp://localhost.example:2375" }, /in the clear/],
  [
    "http with certificates",
    { host: "http://127.0.0.1:1", certificateFolder: "/c" },
    /plain HTTP and for TLS/,
  ],
  ["a relative socket", { host: "unix://e.sock" }, /no absolute path/],
  ["a pipe on Linux", { host: "npipe:////./pipe/docker_engine" }, /Windows only/],
  ["a broken pipe", { host: "npipe://x", platform: "win32" }, /is no pipe/],
  ["ssh", { host: "ssh://root@m1" }, /asks for SSH: forward the socket/],
  ["another scheme", { host: "fd://" }, /is none of/],
  ["no scheme", { host: "/var/run/docker.sock" }, /is none of/],
  ["port zero", { host: "tcp://127.0.0.1:0" }, /is not tcp:/],
  ["a port too large", { host: "tcp://127.0.0.1:65536" }, /is not tcp:/],
  ["a path behind it", { host: "tcp://127.0.0.1:1/x" }, /is not tcp:/],
  ["a user before it", { host: "tcp://u@127.0.0.1:1" }, /is not tcp:/],
  ["IPv6 without brackets", { host: "tcp://::1:1" }, /is not tcp:/],
  ["no IPv6 in brackets", { host: "tcp://[1.2.3.4]:1" }, /is not tcp:/],
] as const) {
  test(`${name} is refused`, () => {
    assert.match(short(settings), expected);
  });
}

test("whatever is given, plain TCP never leaves the machine unasked", () => {
  const piece = fc.constantFrom(
    "tcp://",
    "http://",
    "https://",
    "127.0.0.1",
    "localhost",
    "::1",
    "[",
    "]",
    ".",
    ":",
    "1",
    "@",
    "m1",
    "/",
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
      const endpoint = parse({ host: pieces.join("") });
      if (typeof endpoint === "string" || endpoint.kind === "socket" || endpoint.tls !== undefined) return;
      assert.match(endpoint.host, /^(127\.\d+\.\d+\.\d+|::1|localhost)$/);
    }),
  );
});
