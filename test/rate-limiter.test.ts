import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test, type TestContext } from "node:test";
import { createRateLimiter } from "../examples/rate-limiter/application.ts";
import {
  directoryOf,
  simulatedDirectory,
  testContent,
  type TestSimulator,
} from "./fixtures/test-directory.ts";

interface Site {
  readonly simulator: TestSimulator;
  get(path: string, headers?: Readonly<Record<string, string>>): Promise<Response>;
  post(
    path: string,
    fields: Readonly<Record<string, string>>,
    headers?: Readonly<Record<string, string>>,
  ): Promise<Response>;
  /** The cookie of somebody who signed in, and the token of their forms. */
  signIn(
    name: string,
    password: string,
  ): Promise<{ readonly cookie: string; readonly form: string; readonly page: string }>;
}

async function openSite(
  t: TestContext,
  options: { readonly secure?: boolean; readonly now?: () => number } = {},
): Promise<Site> {
  const content = {
    ...testContent,
    groups: [
      ...testContent.groups,
      { name: "Rate limit editors" },
      { name: "Deputies", memberOf: ["Rate limit editors"] },
    ],
    people: testContent.people.map((person) =>
      person.accountName === "alice"
        ? { ...person, displayName: '<Alice> & "Co"', memberOf: ["Deputies"] }
        : person,
    ),
  };
  const simulator = await simulatedDirectory(t, { content });
  const application = createRateLimiter({
    directory: directoryOf(t, [simulator]),
    editors: { name: "Rate limit editors", domain: "contoso.test" },
    callers: [
      { name: "anonymous", limit: 3 },
      { name: "partner", limit: 5 },
    ],
    secure: options.secure ?? false,
    confirmEvery: 0,
    ...(options.now === undefined ? {} : { now: options.now }),
  });
  const server = createServer(application);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const get: Site["get"] = (path, headers = {}) => fetch(origin + path, { headers, redirect: "manual" });
  const post: Site["post"] = (path, fields, headers = {}) =>
    fetch(origin + path, {
      method: "POST",
      body: new URLSearchParams(fields),
      headers: { origin, ...headers },
      redirect: "manual",
    });
  return {
    simulator,
    get,
    post,
    async signIn(name, password) {
      const answer = await post("/sign-in", { name, password });
      assert.equal(answer.status, 303, await answer.text());
      const cookie = (answer.headers.get("set-cookie") ?? "").split(";")[0] ?? "";
      const page = await (await get("/", { cookie })).text();
      return { cookie, page, form: /name="form" value="([\w-]+)"/.exec(page)?.[1] ?? "" };
    },
  };
}

test("public callers have their limits, and are told when to come back", async (t) => {
  let now = 0;
  const site = await openSite(t, { now: () => now });

  const statuses = [];
  for (let request = 0; request < 4; request++) statuses.push((await site.get("/api/greeting")).status);
  const refused = await site.get("/api/greeting", { "x-caller": "somebody unknown" });
  now = 20_000;

  assert.deepEqual(statuses, [200, 200, 200, 429]);
  assert.equal(refused.headers.get("retry-after"), "20");
  assert.equal((await site.get("/api/greeting")).status, 200);
  assert.equal((await site.get("/api/greeting", { "x-caller": "partner" })).status, 200);
});

test("an editor, through a group in a group, raises a limit, and the list says who did", async (t) => {
  const site = await openSite(t);
  const { cookie, form } = await site.signIn("CONTOSO\\alice", "Al1ce-Passw0rd");

  const saved = await site.post("/limits", { form, caller: "anonymous", limit: "50" }, { cookie });
  const page = await (await site.get("/?saved", { cookie })).text();

  assert.equal(saved.status, 303);
  assert.match(page, /role="status"/);
  assert.match(page, /alice@contoso\.test<\/td>\s*<td>anonymous<\/td>\s*<td>3 → 50/);
  assert.equal((await site.get("/api/greeting")).headers.get("ratelimit-limit"), "50");
});

test("others look and cannot change", async (t) => {
  const site = await openSite(t);
  const { cookie, form, page } = await site.signIn("bob", "B0b-Passw0rd!");

  assert.ok(!page.includes('action="/limits"'));
  assert.equal(
    (await site.post("/limits", { form, caller: "anonymous", limit: "50" }, { cookie })).status,
    403,
  );
  assert.equal((await site.get("/api/greeting")).headers.get("ratelimit-limit"), "3");
});

test("nobody sees anything without signing in", async (t) => {
  const site = await openSite(t);

  for (const cookie of ["", "staff=", "staff=guess", "__Host-staff=guess"]) {
    const answer = await site.get("/", { cookie });
    assert.deepEqual([answer.status, answer.headers.get("location")], [303, "/sign-in"]);
  }
  assert.equal((await site.post("/limits", { caller: "anonymous", limit: "50" })).status, 303);
});

test("wrong passwords, absent people and injections read the same, and what was typed is escaped", async (t) => {
  const site = await openSite(t);
  const texts = [];
  for (const [name, password] of [
    ["alice", "wrong"],
    ["nobody", "wrong"],
    ["*)(cn=*", "x"],
    ["alice", ""],
    ["<script>alert(1)</script>", "x"],
  ] as const) {
    const answer = await site.post("/sign-in", { name, password });
    const text = await answer.text();
    assert.equal(answer.status, 401);
    assert.ok(!text.includes("<script"));
    texts.push(/role="alert"[^>]*>([^<]*)</.exec(text)?.[1]);
  }

  assert.deepEqual([...new Set(texts)], ["The user name or the password is wrong."]);
});

test("a name from the directory is escaped, too", async (t) => {
  const site = await openSite(t);
  const { page } = await site.signIn("alice", "Al1ce-Passw0rd");

  assert.ok(page.includes("&#60;Alice&#62; &#38; &#34;Co&#34;"));
});

test("a session ends when the account is disabled", async (t) => {
  const site = await openSite(t);
  const { cookie, form } = await site.signIn("alice", "Al1ce-Passw0rd");
  site.simulator.domain.setDisabled("alice", true);

  assert.equal((await site.get("/", { cookie })).status, 303);
  assert.equal(
    (await site.post("/limits", { form, caller: "anonymous", limit: "50" }, { cookie })).status,
    303,
  );
  site.simulator.domain.setDisabled("alice", false);
  assert.equal((await site.get("/", { cookie })).status, 303);
});

test("while the directory is down sessions can look and not change", async (t) => {
  const site = await openSite(t);
  const { cookie, form } = await site.signIn("alice", "Al1ce-Passw0rd");
  await site.simulator.running.close();

  assert.equal((await site.get("/", { cookie })).status, 200);
  assert.equal(
    (await site.post("/limits", { form, caller: "anonymous", limit: "50" }, { cookie })).status,
    403,
  );
  assert.equal((await site.post("/sign-in", { name: "alice", password: "Al1ce-Passw0rd" })).status, 503);
});

test("a form of another site, without its token or with another's, changes nothing", async (t) => {
  const site = await openSite(t);
  const alice = await site.signIn("alice", "Al1ce-Passw0rd");
  const other = await site.signIn("alice", "Al1ce-Passw0rd");
  const change = { caller: "anonymous", limit: "50" };

  const answers = await Promise.all([
    site.post(
      "/limits",
      { ...change, form: alice.form },
      { cookie: alice.cookie, origin: "https://evil.example" },
    ),
    site.post("/limits", { ...change, form: alice.form }, { cookie: alice.cookie, origin: "null" }),
    site.post("/limits", change, { cookie: alice.cookie }),
    site.post("/limits", { ...change, form: other.form }, { cookie: alice.cookie }),
    site.post("/sign-in", { name: "alice", password: "Al1ce-Passw0rd" }, { origin: "https://evil.example" }),
    site.post("/sign-out", {}, { cookie: alice.cookie }),
  ]);

  assert.deepEqual(
    answers.map(({ status }) => status),
    [403, 403, 403, 403, 403, 403],
  );
  assert.equal((await site.get("/api/greeting")).headers.get("ratelimit-limit"), "3");
});

test("limits that are no numbers, or of nobody, are refused", async (t) => {
  const site = await openSite(t);
  const { cookie, form } = await site.signIn("alice", "Al1ce-Passw0rd");

  for (const [caller, limit] of [
    ["anonymous", "-1"],
    ["anonymous", "1e3"],
    ["anonymous", "100001"],
    ["anonymous", ""],
    ["__proto__", "5"],
    ["nobody", "5"],
  ] as const) {
    assert.equal(
      (await site.post("/limits", { form, caller, limit }, { cookie })).status,
      400,
      `${caller} ${limit}`,
    );
  }
});

test("signing out ends the session on the server", async (t) => {
  const site = await openSite(t);
  const { cookie, form } = await site.signIn("alice", "Al1ce-Passw0rd");

  assert.equal((await site.post("/sign-out", { form }, { cookie })).status, 303);

  assert.equal((await site.get("/", { cookie })).status, 303);
});

test("cookies and headers are those of a site that holds passwords", async (t) => {
  const site = await openSite(t, { secure: true });
  const answer = await site.post("/sign-in", { name: "alice", password: "Al1ce-Passw0rd" });
  const page = await site.get("/sign-in");

  assert.match(
    answer.headers.get("set-cookie") ?? "",
    /^__Host-staff=[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict; Secure$/,
  );
  assert.match(
    page.headers.get("content-security-policy") ?? "",
    /default-src 'none'.*frame-ancestors 'none'/,
  );
  assert.equal(page.headers.get("cache-control"), "no-store");
  assert.equal(page.headers.get("x-content-type-options"), "nosniff");
  assert.match(page.headers.get("strict-transport-security") ?? "", /max-age=/);
});

test("so many attempts to sign in a minute, and no body without end", async (t) => {
  const site = await openSite(t);
  assert.equal((await site.post("/sign-in", { name: "x".repeat(20_000), password: "x" })).status, 413);
  const statuses = [];
  for (let attempt = 0; attempt < 22; attempt++)
    statuses.push((await site.post("/sign-in", { name: "nobody", password: "x" })).status);

  assert.equal(statuses.filter((status) => status === 401).length, 20);
  assert.equal(statuses.at(-1), 429);
});
