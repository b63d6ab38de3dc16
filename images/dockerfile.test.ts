import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { readDockerfile } from "./dockerfile.ts";

function ours(os: "linux" | "windows"): ReturnType<typeof readDockerfile> {
  return readDockerfile(readFileSync(join(import.meta.dirname, os, "Dockerfile"), "utf8"), {
    VERSION: "1.2.3",
  });
}

test("the Linux image runs as nobody in particular, without a base", () => {
  const image = ours("linux");

  assert.equal(image.from, "scratch");
  assert.equal(image.user, "65532:65532");
  assert.deepEqual(image.entrypoint, ["/usr/bin/sallyport"]);
  assert.deepEqual(
    image.copies.map(({ from }) => from),
    ["base", "node", "program"],
  );
  assert.equal(image.labels["org.opencontainers.image.version"], "1.2.3");
});

test("the Windows image stands on the HostProcess base image and leaves the user to the pod", () => {
  const image = ours("windows");

  assert.match(image.from, /windows-host-process-containers-base-image:v1\.0\.0$/);
  assert.equal(image.user, undefined);
  assert.deepEqual(image.entrypoint, ["sallyport.exe"]);
  assert.match(image.environment[0] ?? "", /^PATH=C:\\Windows\\system32;/);
});

describe("an instruction that cannot be laid out is refused, not left out", () => {
  const cases: readonly (readonly [string, string, RegExp])[] = [
    ["RUN", "FROM scratch\nRUN rm -rf /", /not read here: RUN/],
    ["a second stage", "FROM a\nFROM b", /a second FROM/],
    ["COPY with flags", "FROM a\nCOPY --chown=1 a /", /all that is read/],
    ["COPY of several", "FROM a\nCOPY a b /", /all that is read/],
    ["ENV without quotes", "FROM a\nENV A=b", /name="value"/],
    ["half an ENV", 'FROM a\nENV A="b" C', /name="value"/],
    ["an ARG without a value", "FROM a\nARG WHAT", /no value/],
    ["an unknown variable", 'FROM a\nLABEL a="${WHAT}"', /WHAT is no ARG/],
    ["lower case", "from scratch", /not read here/],
    ["nothing", "# only a comment\n", /no FROM/],
  ];
  for (const [name, text, message] of cases) {
    test(name, () => {
      assert.throws(() => readDockerfile(text, {}), message);
    });
  }
});

test("a line goes on after the escape character that the file names", () => {
  const text = '# escape=`\nFROM scratch\nENTRYPOINT [ `\n  "C:\\\\a.exe"]\n';

  assert.deepEqual(readDockerfile(text, {}).entrypoint, ["C:\\a.exe"]);
});
