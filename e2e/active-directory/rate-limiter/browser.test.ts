/**
 * The example in a real browser, over TLS, against a real domain controller. With `SCREENSHOTS=FOLDER` it leaves pictures
 * of what it saw there.
 * @module
 */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { chromium, type Browser, type BrowserContext, type Page } from "playwright-core";
import { systemClock } from "../../../src/clock.ts";
import { createAuthority } from "../../../src/pki/authority.ts";
import { GuardedProcess } from "../../guarded-process.ts";
import { domain, startDomainController, type DomainController } from "../domain-controller.ts";

const executablePath = "/usr/bin/chromium";
const folder = mkdtempSync(join(process.env["SALLYPORT_E2E_RUN_DIRECTORY"] ?? tmpdir(), "rl-"));
let controller: DomainController;
let application: GuardedProcess;
let browser: Browser;
let origin = "";
const complaints: string[] = [];

before(async () => {
  assert.ok(existsSync(executablePath), `there is no ${executablePath}: install Debian's chromium`);
  controller = await startDomainController();
  const authority = await createAuthority({
    commonName: "Example CA",
    keyType: "ec-p256",
    lifetimeMs: 3_600_000,
    clock: systemClock,
  });
  const issued = await authority.issue({
    commonName: "localhost",
    usage: "server",
    keyType: "ec-p256",
    lifetimeMs: 3_600_000,
    ipAddresses: ["127.0.0.1"],
  });
  writeFileSync(join(folder, "tls.crt"), issued.chainPem);
  writeFileSync(join(folder, "tls.key"), issued.privateKeyPem.reveal(), { mode: 0o600 });
  writeFileSync(join(folder, "password"), "Imp3rson@te!", { mode: 0o600 });
  const logFile = join(folder, "application.log");
  application = new GuardedProcess(
    process.execPath,
    [join(import.meta.dirname, "../../../examples/rate-limiter/main.ts")],
    {
      logFile,
      environment: {
        DIRECTORY_DOMAIN: domain,
        DIRECTORY_SERVER: `ldaps://${controller.address}`,
        DIRECTORY_CA: controller.authorityFile,
        DIRECTORY_USER: `ccg-impersonator@${domain}`,
        DIRECTORY_PASSWORD_FILE: join(folder, "password"),
        EDITORS_GROUP: "Inner",
        TLS_CERTIFICATE: join(folder, "tls.crt"),
        TLS_KEY: join(folder, "tls.key"),
        CONFIRM_EVERY_MS: "200",
        PORT: "0",
      },
    },
  );
  for (let attempt = 0; attempt < 200 && origin === ""; attempt++) {
    origin = /^https:\/\/\S+(?=\/)/m.exec(application.tail())?.[0] ?? "";
    if (application.exit !== undefined) throw new Error(application.tail());
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
});
after(async () => {
  await browser.close();
  await application.stop();
  await controller.stop();
});

async function visit(
  options: { readonly javaScriptEnabled?: boolean; readonly colorScheme?: "dark" } = {},
): Promise<{ readonly context: BrowserContext; readonly page: Page }> {
  const context = await browser.newContext({
    ignoreHTTPSErrors: true,
    viewport: { width: 820, height: 640 },
    ...options,
  });
  const page = await context.newPage();
  // What the content security policy forbids would be told here; that a refused sign-in has status 401, too.
  page.on("console", (message) => {
    if (message.type() === "error" && !message.text().includes("401")) complaints.push(message.text());
  });
  await page.goto(`${origin}/`);
  return { context, page };
}

async function signIn(page: Page, name: string, password: string): Promise<void> {
  await page.getByLabel("User name").fill(name);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Sign in" }).click();
}

async function picture(page: Page, name: string): Promise<void> {
  const target = process.env["SCREENSHOTS"];
  if (target !== undefined) await page.screenshot({ path: join(target, `${name}.png`) });
}

test("a member of the editors' group signs in by keyboard, raises a limit and finds it in the list", async () => {
  const { context, page } = await visit();
  await page.keyboard.press("Tab");
  await page.keyboard.type("CONTOSO\\alice");
  await page.keyboard.press("Tab");
  await page.keyboard.type("Al1ce-Passw0rd");
  await picture(page, "sign-in");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Rate limits of public callers" }).waitFor();

  await page.getByLabel("Requests a minute for partner").fill("240");
  await page.getByRole("button", { name: "Save limit for partner" }).click();
  await page.getByRole("status").waitFor();

  assert.equal(await page.getByRole("row", { name: /alice@contoso\.test partner 120 → 240/ }).count(), 1);
  await picture(page, "limits");
  const greeting = await context.request.get(`${origin}/api/greeting`, {
    headers: { "x-caller": "partner" },
  });
  assert.equal(greeting.headers()["ratelimit-limit"], "240");
  await context.close();
});

test("signing in works without JavaScript, and others only look", async () => {
  const { context, page } = await visit({ javaScriptEnabled: false, colorScheme: "dark" });
  await signIn(page, "bob@contoso.test", "B0b-Passw0rd!");

  await page.getByText("You may look, but not change anything").waitFor();
  assert.equal(await page.getByRole("button", { name: /Save/ }).count(), 0);
  await picture(page, "looking-only");
  await context.close();
});

test("a wrong password says so where a screen reader hears it, and keeps the name", async () => {
  const { context, page } = await visit();
  await signIn(page, "alice", "wrong");

  await page.getByRole("alert").waitFor();
  assert.equal(await page.getByRole("alert").textContent(), "The user name or the password is wrong.");
  assert.equal(await page.getByLabel("User name").inputValue(), "alice");
  assert.equal(await page.getByLabel("Password").inputValue(), "");
  await picture(page, "refused");
  await context.close();
});

test("somebody whose right password has expired is told so", async () => {
  const { context, page } = await visit();
  await signIn(page, "expired1", "Exp1red-Passw0rd");

  assert.match((await page.getByRole("alert").textContent()) ?? "", /has expired/);
  await context.close();
});

test("a session ends when the account is disabled in the directory", async (t) => {
  t.after(() => controller.samba("samba-tool", "user", "enable", "zoe"));
  const { context, page } = await visit();
  await signIn(page, "zoe", "Z0e-Pässwörd");
  await page.getByRole("heading", { name: "Rate limits of public callers" }).waitFor();

  const disabled = await controller.samba("samba-tool", "user", "disable", "zoe");
  assert.equal(disabled.code, 0, disabled.stderr);
  await page.waitForTimeout(300);
  await page.reload();

  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  await context.close();
});

test("every control has a name, and the page language and title are there", async () => {
  const { context, page } = await visit();
  await signIn(page, "alice", "Al1ce-Passw0rd");
  await page.getByRole("heading", { name: "Rate limits of public callers" }).waitFor();

  assert.equal(await page.locator("html").getAttribute("lang"), "en");
  assert.match(await page.title(), /Limits/);
  const snapshot = await page.locator("body").ariaSnapshot();
  assert.ok(!/- (?:button|textbox|spinbutton)\s*$/m.test(snapshot), snapshot);
  await page.setViewportSize({ width: 360, height: 640 });
  const wide = await page.evaluate(
    "document.documentElement.scrollWidth > document.documentElement.clientWidth",
  );
  assert.equal(wide, false);
  await picture(page, "narrow");
  assert.deepEqual(complaints, []);
  await context.close();
});
