/**
 * The application: a public endpoint with limits, and pages on which signed-in staff change them. It knows people only
 * through the directory library.
 * @module
 */
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import { Secret, type Directory, type Group } from "sallyport";
import { limitsPage, signInPage, styleSheet, type Change, type Notice } from "./pages.ts";
import { RateLimits, type Caller } from "./rate-limits.ts";
import { isOwnForm, StaffSessions, type StaffSession } from "./staff-sessions.ts";

export interface ApplicationOptions {
  readonly directory: Pick<Directory, "authenticate" | "refresh">;
  /** Members of this group, by name and domain, may change limits. */
  readonly editors: { readonly name: string; readonly domain: string };
  readonly callers: readonly Caller[];
  /** Served over TLS: cookies are bound to it. */
  readonly secure: boolean;
  readonly now?: () => number;
  /** Milliseconds between two looks at a session's account. */
  readonly confirmEvery?: number;
}

const longestBody = 8 * 1024;
const keptChanges = 100;
/** Sign-in attempts from one address in a minute. */
const attempts = 20;

export function createRateLimiter(options: ApplicationOptions): RequestListener {
  const now = options.now ?? Date.now;
  const limits = new RateLimits(options.callers, now);
  const signIns = new Map<string, RateLimits>();
  const changes: Change[] = [];
  const { editors } = options;
  const isEditor = (groups: readonly Group[]): boolean =>
    groups.some(({ name, domain }) => name === editors.name && domain === editors.domain);
  const sessions = new StaffSessions({ ...options, isEditor, now });
  // The prefix makes browsers insist that nobody but this host set it, over TLS and for all paths.
  const cookie = options.secure ? "__Host-staff" : "staff";
  const cookieOptions = `Path=/; HttpOnly; SameSite=Strict${options.secure ? "; Secure" : ""}`;

  return (request, response) => {
    handle(request, response).catch(() => {
      if (!response.headersSent) send(response, 500, "text/plain", "Something went wrong.\n");
      else response.destroy();
    });
  };

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    for (const [name, value] of Object.entries(protection(options.secure))) response.setHeader(name, value);
    const path = new URL(request.url ?? "/", "http://localhost").pathname;
    switch (`${request.method} ${path}`) {
      case "GET /api/greeting":
        return greet(request, response);
      case "GET /style.css":
        return send(response, 200, "text/css", styleSheet);
      case "GET /":
        return home(request, response);
      case "GET /sign-in":
        return send(response, 200, "text/html", signInPage());
      case "POST /sign-in":
        return ownOrigin(request) ? signIn(request, response) : forbidden(response);
      case "POST /sign-out":
      case "POST /limits":
        return ownOrigin(request) ? withSession(request, response, path) : forbidden(response);
      default:
        return send(response, 404, "text/plain", "There is no such page.\n");
    }
  }

  function greet(request: IncomingMessage, response: ServerResponse): void {
    const header = request.headers["x-caller"];
    const admission = limits.take(typeof header === "string" ? header : "anonymous");
    response.setHeader("ratelimit-limit", admission.limit);
    if (admission.admitted) {
      response.setHeader("ratelimit-remaining", admission.remaining);
      return send(response, 200, "application/json", JSON.stringify({ greeting: "hello" }));
    }
    response.setHeader("retry-after", admission.retryAfterSeconds);
    return send(response, 429, "application/json", JSON.stringify({ error: "too many requests" }));
  }

  async function home(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const session = await sessionOf(request);
    if (session === undefined) return redirect(response, "/sign-in");
    const saved = new URL(request.url ?? "/", "http://localhost").searchParams.has("saved");
    return show(response, session, saved ? { kind: "status", text: "Saved." } : undefined);
  }

  async function signIn(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const form = await readForm(request);
    if (form === undefined) return send(response, 413, "text/plain", "Too much.\n");
    const name = form.get("name") ?? "";
    const refuse = (status: number, text: string): void =>
      send(response, status, "text/html", signInPage({ kind: "alert", text }, name.slice(0, 256)));
    const address = request.socket.remoteAddress ?? "";
    if (signIns.size > 10_000) signIns.clear();
    const guard = signIns.get(address) ?? new RateLimits([{ name: "anonymous", limit: attempts }], now);
    signIns.set(address, guard);
    if (!guard.take("anonymous").admitted) return refuse(429, "Too many attempts. Wait a minute.");
    const result = await options.directory.authenticate(name, new Secret(form.get("password") ?? ""));
    switch (result.outcome) {
      case "unavailable":
        return refuse(503, "Signing in is not possible just now. Try again in a while.");
      case "refused":
        // Only somebody whose password was right is told more.
        return refuse(
          401,
          result.passwordProven
            ? "Your password has expired. Change it, then sign in."
            : "The user name or the password is wrong.",
        );
      case "authenticated": {
        const session = sessions.begin(result.person, result.groups);
        response.setHeader("set-cookie", `${cookie}=${session.id}; ${cookieOptions}`);
        return redirect(response, "/");
      }
    }
  }

  async function withSession(
    request: IncomingMessage,
    response: ServerResponse,
    path: string,
  ): Promise<void> {
    const session = await sessionOf(request);
    if (session === undefined) return redirect(response, "/sign-in");
    const form = await readForm(request);
    if (form === undefined) return send(response, 413, "text/plain", "Too much.\n");
    if (!isOwnForm(session, form.get("form"))) return forbidden(response);
    if (path === "/sign-out") {
      sessions.end(session);
      response.setHeader("set-cookie", `${cookie}=; Max-Age=0; ${cookieOptions}`);
      return redirect(response, "/sign-in");
    }
    if (!session.mayEdit) return forbidden(response);
    const caller = form.get("caller") ?? "";
    const text = form.get("limit") ?? "";
    const limit = /^\d{1,6}$/.test(text) ? Number(text) : NaN;
    const before = limits.change(caller, limit);
    if (before === undefined) {
      response.statusCode = 400;
      return show(response, session, {
        kind: "alert",
        text: "The limit has to be a whole number from 0 to 100,000.",
      });
    }
    if (before !== limit) {
      changes.unshift({
        at: new Date(now()).toISOString(),
        who: session.person.principalName ?? session.person.accountName,
        caller,
        before,
        after: limit,
      });
      changes.length = Math.min(changes.length, keptChanges);
    }
    return redirect(response, "/?saved");
  }

  function show(response: ServerResponse, session: StaffSession, notice?: Notice): void {
    send(response, response.statusCode, "text/html", limitsPage(session, limits.callers(), changes, notice));
  }

  function sessionOf(request: IncomingMessage): Promise<StaffSession | undefined> {
    const cookies = (request.headers.cookie ?? "").split(/; */).map((pair) => pair.split("="));
    return sessions.find(cookies.find(([name]) => name === cookie)?.[1]);
  }
}

/** Browsers say with every form where it comes from; what says nothing, or something else, is no form of ours. */
function ownOrigin(request: IncomingMessage): boolean {
  const { origin, host } = request.headers;
  return origin !== undefined && URL.parse(origin)?.host === host;
}

function protection(secure: boolean): Readonly<Record<string, string>> {
  return {
    "cache-control": "no-store",
    "content-security-policy":
      "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    // Not "no-referrer": with that, browsers send "Origin: null" with our own forms.
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    ...(secure ? { "strict-transport-security": "max-age=31536000" } : {}),
  };
}

function forbidden(response: ServerResponse): void {
  send(response, 403, "text/plain", "That is not allowed.\n");
}

function redirect(response: ServerResponse, location: string): void {
  response.writeHead(303, { location }).end();
}

function send(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, { "content-type": `${type}; charset=utf-8` }).end(body);
}

async function readForm(request: IncomingMessage): Promise<URLSearchParams | undefined> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > longestBody) return undefined;
    chunks.push(chunk);
  }
  return new URLSearchParams(Buffer.concat(chunks).toString("utf8"));
}
