import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { encodeManagedPasswordBlob, randomManagedPassword } from "../../test/fakes/managed-password-blob.ts";
import { parseManagedPasswordBlob } from "./blob.ts";

const passwords = fc
  .uint8Array({ minLength: 2, maxLength: 300 })
  .map((bytes) =>
    Buffer.from(bytes.map((octet) => octet || 1)).subarray(0, bytes.length - (bytes.length % 2)),
  );

test("every blob gives back the passwords and intervals it was made of", () => {
  fc.assert(
    fc.property(
      passwords,
      fc.option(passwords, { nil: undefined }),
      fc.integer({ min: 0, max: 7 }),
      fc.bigInt({ min: 0n, max: 2n ** 63n }),
      (current, previous, padding, interval) => {
        const blob = encodeManagedPasswordBlob({
          current,
          ...(previous && { previous }),
          padding,
          queryInterval: interval,
          unchangedInterval: interval / 2n,
        });

        const parsed = parseManagedPasswordBlob(blob);

        assert.ok(!("malformed" in parsed));
        assert.deepEqual(parsed.current.reveal(), current);
        assert.deepEqual(parsed.previous?.reveal(), previous);
        assert.equal(parsed.queryInterval, interval);
        assert.equal(parsed.unchangedInterval, interval / 2n);
      },
    ),
  );
});

for (const previous of [undefined, randomManagedPassword()]) {
  const blob = encodeManagedPasswordBlob({ current: randomManagedPassword(), ...(previous && { previous }) });
  const which = previous === undefined ? "without" : "with";

  test(`a blob ${which} a previous password is refused when it ends early, wherever that is`, () => {
    for (let length = 0; length < blob.length; length++) {
      assert.ok("malformed" in parseManagedPasswordBlob(blob.subarray(0, length)), String(length));
      // Nor does it help to correct the declared length.
      const relabelled = Buffer.from(blob.subarray(0, length));
      if (length >= 8) relabelled.writeUInt32LE(length, 4);
      assert.ok("malformed" in parseManagedPasswordBlob(relabelled), String(length));
    }
  });

  test(`a blob ${which} a previous password is refused for every other value of its offsets`, () => {
    const limit = previous === undefined ? 0x2_0000 : 0x1_0000;
    for (const field of [8, 10, 12, 14]) {
      const right = blob.readUInt16LE(field);
      for (let offset = 0; offset < limit && offset < 0x1_0000; offset++) {
        if (offset === right) continue;
        // No previous password (offset 0) where there is one: its octets would be unexplained.
        const altered = Buffer.from(blob);
        altered.writeUInt16LE(offset, field);
        const parsed = parseManagedPasswordBlob(altered);
        assert.ok("malformed" in parsed, `field ${field}, offset ${offset}`);
      }
    }
  });
}

test("octets of any kind never make it fail", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => void parseManagedPasswordBlob(bytes)));
});

test("a wrong version, reserved field or an empty password are refused", () => {
  const blob = encodeManagedPasswordBlob({ current: randomManagedPassword() });
  const altered = (offset: number, value: number): Buffer => {
    const copy = Buffer.from(blob);
    copy.writeUInt16LE(value, offset);
    return copy;
  };

  for (const bad of [altered(0, 2), altered(2, 1), altered(16, 0)])
    assert.ok("malformed" in parseManagedPasswordBlob(bad));
});
