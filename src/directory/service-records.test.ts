import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { createServer, type AddressInfo } from "node:net";
import { test } from "node:test";
import * as fc from "fast-check";
import { createServiceLookUp, decodeServiceAnswer, encodeServiceQuery } from "./service-records.ts";

const name = "_ldap._tcp.dc._msdcs.contoso.test";

/** An answer whose targets are compressed, as AD's are: a label and a pointer to `contoso.test` in the question. */
function answerTo(query: Buffer, hosts: readonly string[], flags = 0x8180): Buffer {
  const header = Buffer.from(query.subarray(0, 12));
  header.writeUInt16BE(flags, 2);
  header.writeUInt16BE(hosts.length, 6);
  const domainAt = 12 + "_ldap._tcp.dc._msdcs".length + 1;
  const records = hosts.map((host, index) => {
    const target = Buffer.concat([
      Buffer.from([host.length]),
      Buffer.from(host),
      Buffer.from([0xc0, domainAt]),
    ]);
    const fixed = Buffer.from([
      0xc0,
      12,
      0,
      33,
      0,
      1,
      0,
      0,
      2,
      88,
      0,
      6 + target.length,
      0,
      index,
      0,
      100,
      1,
      133,
    ]);
    return Buffer.concat([fixed, target]);
  });
  return Buffer.concat([header, query.subarray(12), ...records]);
}

test("compressed targets are read", () => {
  const answer = decodeServiceAnswer(answerTo(encodeServiceQuery(7, name), ["dc1", "dc2"]), 7, name);

  assert.deepEqual(answer, {
    outcome: "records",
    records: [
      { name: "dc1.contoso.test", port: 389, priority: 0, weight: 100 },
      { name: "dc2.contoso.test", port: 389, priority: 1, weight: 100 },
    ],
  });
});

test("an answer to another question, cut anywhere, or of a name that points to itself is refused", () => {
  const query = encodeServiceQuery(7, name);
  const whole = answerTo(query, ["dc1"]);
  const circle = Buffer.from(whole);
  circle.writeUInt16BE(0xc000 | (whole.length - 2), whole.length - 2);

  assert.equal(decodeServiceAnswer(whole, 8, name), undefined);
  assert.equal(decodeServiceAnswer(whole, 7, "_kerberos._tcp.contoso.test"), undefined);
  assert.equal(decodeServiceAnswer(query, 7, name), undefined);
  assert.equal(decodeServiceAnswer(circle, 7, name), undefined);
  for (let length = 0; length < whole.length; length++)
    assert.equal(decodeServiceAnswer(whole.subarray(0, length), 7, name), undefined, String(length));
});

test("octets of any kind never make it fail", () => {
  const query = encodeServiceQuery(7, name);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 120 }), (tail) => {
      const message = Buffer.concat([answerTo(query, ["dc1"]).subarray(0, query.length), tail]);
      decodeServiceAnswer(message, 7, name);
      decodeServiceAnswer(Buffer.from(tail), 7, name);
    }),
  );
});

test("an answer that did not fit is asked for again over TCP, and a dead name server is passed over", async (t) => {
  const stream = createServer((socket) => {
    socket.on("data", (chunk: Buffer) => {
      const answer = answerTo(chunk.subarray(2), ["dc1", "dc2"]);
      const prefix = Buffer.alloc(2);
      prefix.writeUInt16BE(answer.length);
      socket.write(prefix);
      socket.write(answer);
    });
  });
  await new Promise<void>((resolve) => stream.listen(0, "127.0.0.1", resolve));
  const { port } = stream.address() as AddressInfo;
  const datagrams = createSocket("udp4");
  datagrams.on("message", (query, from) =>
    datagrams.send(answerTo(query, [], 0x8380), from.port, from.address),
  );
  await new Promise<void>((resolve) => datagrams.bind(port, "127.0.0.1", resolve));
  t.after(() => {
    stream.close();
    datagrams.close();
  });
  const lookUp = createServiceLookUp(() => [
    { host: "127.0.0.1", port: 1 },
    { host: "127.0.0.1", port },
  ]);

  const records = await lookUp(name, AbortSignal.timeout(5000));

  assert.deepEqual(
    records.map((record) => record.name),
    ["dc1.contoso.test", "dc2.contoso.test"],
  );
});
