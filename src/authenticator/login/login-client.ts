/**
 * The login endpoint as its client sees it: HTTPS only, one small request, one small answer, no redirects.
 * @module
 */
import { request } from "node:https";
import { reasonOf, SallyportError } from "../../errors.ts";
import type { Secret } from "../../secret.ts";

export interface SessionAnswer {
  readonly token: string;
  /** ISO 8601. */
  readonly expiresAt: string;
  readonly refreshToken: string;
  readonly sessionEndsAt: string;
  readonly username: string;
}

export type LoginAnswer =
  | { readonly outcome: "session"; readonly session: SessionAnswer }
  | { readonly outcome: "refused"; readonly status: number; readonly message: string };

const timeoutMs = 30_000;
const largestAnswer = 256 * 1024;

export class LoginClient {
  readonly #server: string;
  readonly #url: URL;
  readonly #authorities: string | undefined;

  /** Throws `E_LOGIN_UNREACHABLE` when the address is not an https: one. */
  constructor(server: string, authorities: string | undefined) {
    const url = URL.parse(server);
    if (url === null || url.protocol !== "https:" || url.username !== "" || url.search !== "") {
      throw new SallyportError("E_LOGIN_UNREACHABLE", { server, detail: "it is not https://HOST[:PORT]" });
    }
    this.#server = server;
    this.#url = url;
    this.#authorities = authorities;
  }

  get host(): string {
    return this.#url.host;
  }

  login(username: string, password: Secret): Promise<LoginAnswer> {
    return this.#post(
      "/login",
      { "content-type": "application/json" },
      JSON.stringify({ username, password: password.reveal() }),
    );
  }

  refresh(refreshToken: string): Promise<LoginAnswer> {
    return this.#post("/refresh", { authorization: `Bearer ${refreshToken}` }, "");
  }

  #post(path: string, headers: Readonly<Record<string, string>>, body: string): Promise<LoginAnswer> {
    return new Promise((resolve, reject) => {
      const fail = (detail: string): void =>
        reject(new SallyportError("E_LOGIN_UNREACHABLE", { server: this.#server, detail }));
      const outgoing = request(
        new URL(path, this.#url),
        {
          method: "POST",
          headers: { ...headers, "content-length": Buffer.byteLength(body), connection: "close" },
          agent: false,
          signal: AbortSignal.timeout(timeoutMs),
          minVersion: "TLSv1.2",
          ...(this.#authorities === undefined ? {} : { ca: this.#authorities }),
        },
        (response) => {
          let text = "";
          response.setEncoding("utf8");
          response.on("data", (chunk: string) => {
            text += chunk;
            if (text.length > largestAnswer) outgoing.destroy(new Error("its answer is too long"));
          });
          response.on("error", (error) => fail(reasonOf(error)));
          response.on("end", () => resolve(read(response.statusCode ?? 0, text)));
        },
      );
      outgoing.on("error", (error) => fail(reasonOf(error)));
      outgoing.end(body);
    });
  }
}

function read(status: number, text: string): LoginAnswer {
  let value: Readonly<Record<string, unknown>> = {};
  try {
    value = JSON.parse(text) as Readonly<Record<string, unknown>>;
  } catch {
    // Not ours: said below.
  }
  const { token, expiresAt, refreshToken, sessionEndsAt, username, message } = value;
  const whole = [token, expiresAt, refreshToken, sessionEndsAt, username].every(
    (field) => typeof field === "string",
  );
  if (status === 200 && whole) return { outcome: "session", session: value as unknown as SessionAnswer };
  return {
    outcome: "refused",
    status,
    message: typeof message === "string" ? message : `The login endpoint answered ${status}.`,
  };
}
