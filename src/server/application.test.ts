/**
 * An application says no more than it must, on every path that its routes do not take.
 * @module
 */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { connect, type AddressInfo } from "node:net";
import { test, type TestContext } from "node:test";
import { createLog, silentLog } from "../observe/log.ts";
import { createApplication } from "./application.ts";

function application() {
  const made = createApplication({ log: silentLog });
  made.routes.get("/thing", () => "a thing\n");
  made.routes.get("/id", (request) => request.id);
  return made;
}

for (const [method, path] of [
  ["GET", "/other"],
  ["GET", "/"],
  ["GET", "/thing/"],
  ["GET", "/THING"],
  ["GET", "/thing%2f"],
  ["HEAD", "/thing"],
  ["POST", "/thing"],
  ["PUT", "/thing"],
  ["PATCH", "/thing"],
  ["DELETE", "/thing"],
  ["OPTIONS", "/thing"],
] as const) {
  test(`${method} ${path} is not found, in plain text and without an echo`, async () => {
    const answer = await application().routes.inject({ method, url: path });

    assert.equal(answer.statusCode, 404);
    assert.equal(answer.body, method === "HEAD" ? answer.body : "404 page not found\n");
    assert.equal(answer.headers["content-type"], "text/plain; charset=utf-8");
    assert.equal(answer.headers["location"], undefined);
  });
}

async function raw(t: TestContext, bytes: string): Promise<string> {
  const server = createServer(await application().handler());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
  let text = "";
  socket.setEncoding("latin1").on("data", (part: string) => (text += part));
  socket.write(bytes);
  await new Promise((resolve) => socket.on("close", resolve));
  return text;
}

const close = "Host: x\r\nConnection: close\r\n";

for (const [name, bytes, status] of [
  ["a method that Node does not route", `PROPFIND /thing HTTP/1.1\r\n${close}\r\n`, 404],
  ["a path that cannot be decoded", `GET /%zz HTTP/1.1\r\n${close}\r\n`, 400],
  [
    "a body over the limit",
    `POST /thing HTTP/1.1\r\n${close}Content-Length: 9999\r\n\r\n${"x".repeat(9999)}`,
    404,
  ],
  [
    "JSON that is none",
    `POST /thing HTTP/1.1\r\n${close}Content-Type: application/json\r\nContent-Length: 1\r\n\r\n{`,
    400,
  ],
  [
    "an absolute address (RFC 9112 section 3.2.2)",
    `GET http://elsewhere/thing HTTP/1.1\r\n${close}\r\n`,
    200,
  ],
  ["a tunnel", `CONNECT elsewhere:443 HTTP/1.1\r\n${close}\r\n`, undefined],
] as const) {
  test(`${name} gets ${status ?? "no answer"}, never JSON and never a redirect`, async (t) => {
    const text = await raw(t, bytes);

    if (status === undefined) assert.equal(text, "");
    else assert.match(text, new RegExp(`^HTTP/1\\.1 ${status} `));
    assert.doesNotMatch(text, /[{}]/);
    assert.doesNotMatch(text, /location:/i);
    assert.doesNotMatch(text, /json/i);
  });
}

test("a handler that throws answers 500 with nothing in it, and the reason is in the log with the request's id", async () => {
  const lines: string[] = [];
  const made = createApplication({ log: createLog({ sink: { write: (line) => lines.push(line) } }) });
  made.routes.get("/broken", () => {
    throw new Error("inner details");
  });

  const answer = await made.routes.inject("/broken");

  assert.equal(answer.statusCode, 500);
  assert.equal(answer.body, "");
  assert.equal(lines.length, 1);
  const line = JSON.parse(lines[0] ?? "") as Record<string, string>;
  assert.equal(line["event"], "service.request-failed");
  assert.equal(line["reason"], "inner details");
  assert.match(line["requestId"] ?? "", /^[0-9a-f-]{36}$/);
});

test("every request has an id of its own that no client chooses", async () => {
  const { routes } = application();
  const ask = async (): Promise<string> =>
    (await routes.inject({ url: "/id", headers: { "request-id": "mine", "x-request-id": "mine" } })).body;

  const [one, other] = [await ask(), await ask()];

  assert.match(one, /^[0-9a-f-]{36}$/);
  assert.notEqual(one, other);
});
