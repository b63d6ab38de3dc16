/**
 * The bed itself: where its programs come from, and what it says when they
 * cannot be had.
 * @module
 */
import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";

import { BedUnavailable } from "../../bed.ts";
import type { BedContext } from "../../bed.ts";
import { obtainAssets, programs } from "../assets.ts";
import type { Program } from "../assets.ts";

function emptyMachine(t: TestContext): { readonly folder: string; readonly context: BedContext } {
  const folder = mkdtempSync(join(tmpdir(), "assets-"));
  t.after(() => {
    rmSync(folder, { recursive: true });
  });
  const context = {
    runDirectory: join(folder, "run"),
    cacheDirectory: join(folder, "cache"),
    say: () => undefined,
  };
  return { folder, context };
}

function folderWith(folder: string, names: readonly Program[]): string {
  const assets = join(folder, "theirs");
  mkdirSync(assets);
  for (const name of names) {
    writeFileSync(join(assets, name), "#!/bin/sh\n");
    chmodSync(join(assets, name), 0o755);
  }
  return assets;
}

test("every program that KUBEBUILDER_ASSETS holds is taken from there", async (t) => {
  const { folder, context } = emptyMachine(t);
  const theirs = folderWith(folder, programs);

  const assets = await obtainAssets(context, { KUBEBUILDER_ASSETS: theirs, PATH: "" });

  assert.deepEqual(
    programs.map((program) => readlinkSync(join(assets, program))),
    programs.map((program) => join(theirs, program)),
  );
});

test("a KUBEBUILDER_ASSETS without an API server is refused rather than completed", async (t) => {
  const { folder, context } = emptyMachine(t);
  const theirs = folderWith(folder, ["etcd", "kubectl"]);

  await assert.rejects(obtainAssets(context, { KUBEBUILDER_ASSETS: theirs, PATH: "" }), (error) => {
    assert.ok(error instanceof BedUnavailable);
    assert.match(
      error.message,
      /^KUBEBUILDER_ASSETS is .*theirs, which holds no executable kube-apiserver: [^\n]*$/u,
    );
    return true;
  });
});

test("without Go and assets, one sentence says what to install", async (t) => {
  const { context } = emptyMachine(t);

  await assert.rejects(obtainAssets(context, { PATH: "" }), (error) => {
    assert.ok(error instanceof BedUnavailable);
    assert.match(
      error.message,
      /^There is no kube-apiserver and no Go toolchain[^\n]*: install Go 1\.21[^\n]*\.$/u,
    );
    return true;
  });
});
