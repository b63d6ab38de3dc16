/**
 * How a chain of trust is judged and shown.
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { chainHolds, chainIsBroken, renderChain, type Chain } from "./chain.ts";

const good = { link: "port file", holds: true, detail: "48123" } as const;
const bad = {
  link: "server certificate",
  holds: false,
  detail: "from another authority",
  remedy: "Start the provider again.",
} as const;

const unknown = { link: "access list", holds: false, unknown: true, detail: "not checked" } as const;

for (const [name, links, holds] of [
  ["every link holds", [good, good], true],
  ["one link is broken", [good, bad], false],
  ["one link is unknown", [good, unknown], false],
  ["there is no link at all", [], false],
] as const) {
  test(`a chain ${holds ? "holds" : "does not hold"} when ${name}`, () => {
    assert.equal(chainHolds({ name: "c", links }), holds);
  });
}

test("a chain is broken by a broken link, and not by one that is unknown", () => {
  assert.equal(chainIsBroken({ name: "c", links: [good, unknown] }), false);
  assert.equal(chainIsBroken({ name: "c", links: [bad, unknown] }), true);
  assert.equal(chainIsBroken({ name: "c", links: [] }), true);
});

test("a link that is unknown has a mark of its own", () => {
  assert.equal(
    renderChain({ name: "c", links: [unknown] }, { colour: false }),
    "c\n  ? access list  not checked\n",
  );
});

test("a chain is shown a line a link, with the remedy below a broken one", () => {
  const chain: Chain = { name: "Plugin input a:b", links: [good, bad] };

  assert.equal(
    renderChain(chain, { colour: false }),
    "Plugin input a:b\n" +
      "  ✔ port file           48123\n" +
      "  ✘ server certificate  from another authority\n" +
      "                        → Start the provider again.\n",
  );
});

test("a remedy is not shown for a link that holds, and a broken link may have none", () => {
  const text = renderChain(
    {
      name: "c",
      links: [
        { ...good, remedy: "never" },
        { ...good, holds: false },
      ],
    },
    { colour: false },
  );

  assert.equal(text, "c\n  ✔ port file  48123\n  ✘ port file  48123\n");
});

test("escape sequences appear only where colour is asked for", () => {
  const chain: Chain = { name: "c", links: [good, bad] };
  const escape = "\u001B[";

  assert.ok(!renderChain(chain, { colour: false }).includes(escape));
  const coloured = renderChain(chain, { colour: true });
  assert.ok(coloured.includes(`${escape}32m✔${escape}0m`));
  assert.ok(coloured.includes(`${escape}31m✘${escape}0m`));
});
