/**
 * A credential request exactly as the CCG plugin makes it: port and client identity from the host directory, one TLS
 * connection to `localhost`, `GET /provider` with the header `object`. Says which link of the chain failed.
 * @module
 */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { lstat, readFile } from "node:fs/promises";
import { request as httpsRequest, type RequestOptions } from "node:https";
import { isIPv4 } from "node:net";
import type { ChainLink } from "../chain.ts";
import { delay, systemClock } from "../clock.ts";
import { reasonOf } from "../errors.ts";
import { portOfFile } from "../port-file.ts";
import { Secret } from "../secret.ts";
import type { ImpersonationAccount } from "../secret-store/secret-store.ts";
import type { HostDirectory } from "./host-directory.ts";

/** Whose identity is shown: Sallyport's plugin (PEM files) or the released Rancher plugin (PKCS#12, TLS 1.2 only). */
export type PluginIdentity = "plugin" | "released-plugin";

/** Which link of the chain broke; the native plugin has an HRESULT for each. */
export type BrokenLink =
  | "port-file"
  | "certificate-files"
  | "connection"
  | "server-certificate"
  | "client-certificate"
  | "account"
  | "answer";

export type PluginRequestResult =
  | { readonly ok: true; readonly account: ImpersonationAccount; readonly links: readonly ChainLink[] }
  | { readonly ok: false; readonly broken: BrokenLink; readonly links: readonly ChainLink[] };

export interface PluginRequestOptions {
  readonly directory: HostDirectory;
  /** Name of the account's Secret: the second half of the plugin input. */
  readonly object: string;
  readonly identity: PluginIdentity;
  /** For the whole exchange. */
  readonly timeoutMs?: number;
}

const bodyLimit = 64 * 1024;

/** Thrown inside this module to end the walk at the broken link. */
class Broken extends Error {
  readonly link: BrokenLink;
  readonly remedy: string;

  constructor(link: BrokenLink, detail: string, remedy: string) {
    super(detail);
    this.link = link;
    this.remedy = remedy;
  }
}

const linkNames: Readonly<Record<BrokenLink, string>> = {
  "port-file": "port file",
  "certificate-files": "certificate files",
  connection: "connection",
  "server-certificate": "server certificate",
  "client-certificate": "client certificate",
  account: "impersonation account",
  answer: "answer",
};

/** Never throws: what goes wrong is a broken link. */
export async function requestAsPlugin(options: PluginRequestOptions): Promise<PluginRequestResult> {
  const links: ChainLink[] = [];
  const hold = (link: BrokenLink, detail: string): void => {
    links.push({ link: linkNames[link], holds: true, detail });
  };
  try {
    const port = await readPort(options.directory);
    hold("port-file", `${options.directory.file("port")} says ${port}`);
    const identity = await readIdentity(options.directory, options.identity);
    hold("certificate-files", identity.description);
    const answer = await exchange(options, port, identity.tls, hold);
    const account = readAnswer(answer, options.object, hold);
    return { ok: true, account, links };
  } catch (error) {
    if (!(error instanceof Broken)) throw error;
    links.push({ link: linkNames[error.link], holds: false, detail: error.message, remedy: error.remedy });
    return { ok: false, broken: error.link, links };
  }
}

const startProvider = "start the account provider on this host, or see its log if it runs";

async function readPort(directory: HostDirectory): Promise<number> {
  const path = directory.file("port");
  let text: string;
  try {
    if (!(await lstat(path)).isFile())
      throw new Broken("port-file", `${path} is not a file`, `remove it and ${startProvider}`);
    text = await readFile(path, "utf8");
  } catch (error) {
    if (error instanceof Broken) throw error;
    throw new Broken("port-file", `${path} cannot be read: ${reasonOf(error)}`, startProvider);
  }
  const port = portOfFile(text);
  if (port === undefined) {
    throw new Broken("port-file", `${path} holds no port (1 to 65535, digits only)`, startProvider);
  }
  return port;
}

interface IdentityFiles {
  readonly tls: Pick<RequestOptions, "ca" | "cert" | "key" | "pfx" | "passphrase" | "maxVersion">;
  readonly description: string;
}

async function readIdentity(directory: HostDirectory, identity: PluginIdentity): Promise<IdentityFiles> {
  const read = async (
    name: "authorities" | "clientCertificate" | "clientKey" | "clientPfx",
  ): Promise<Buffer> => {
    const path = directory.file(name);
    try {
      return await readFile(path);
    } catch (error) {
      const remedy = name === "clientPfx" ? "start the account provider with --legacy-plugin" : startProvider;
      throw new Broken("certificate-files", `${path} cannot be read: ${reasonOf(error)}`, remedy);
    }
  };
  if (identity === "released-plugin") {
    const [ca, pfx] = await Promise.all([read("authorities"), read("clientPfx")]);
    return {
      tls: { ca, pfx, passphrase: "", maxVersion: "TLSv1.2" },
      description: "ca.crt and tls.pfx read",
    };
  }
  for (let attempt = 1; ; attempt++) {
    const [ca, cert, key] = await Promise.all([
      read("authorities"),
      read("clientCertificate"),
      read("clientKey"),
    ]);
    // Certificate and key are two files: a rotation may fall between the two reads.
    if (attempt === 5 || belongTogether(cert, key)) {
      return { tls: { ca, cert, key }, description: "ca.crt, tls.crt and tls.key read" };
    }
    await delay(systemClock, 20);
  }
}

function belongTogether(cert: Buffer, key: Buffer): boolean {
  try {
    return new X509Certificate(cert).checkPrivateKey(createPrivateKey(key));
  } catch {
    return false;
  }
}

interface Answer {
  readonly status: number;
  readonly body: string;
}

function exchange(
  options: PluginRequestOptions,
  port: number,
  tls: IdentityFiles["tls"],
  hold: (link: BrokenLink, detail: string) => void,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    let connected = false;
    const fail = (error: unknown): void => reject(brokenBy(error, port, connected));
    let request;
    try {
      request = httpsRequest({
        host: "localhost",
        port,
        path: "/provider",
        method: "GET",
        headers: { object: options.object, host: `localhost:${port}` },
        agent: false,
        ...tls,
        minVersion: "TLSv1.2",
        signal: AbortSignal.timeout(options.timeoutMs ?? 10_000),
      });
    } catch (error) {
      fail(error);
      return;
    }
    request.on("socket", (socket) => {
      socket.once("connect", () => {
        connected = true;
        const address = socket.remoteAddress ?? "localhost";
        hold("connection", `${isIPv4(address) ? address : `[${address}]`}:${port} accepts connections`);
      });
      socket.once("secureConnect", () => hold("server-certificate", "issued by ca.crt for localhost"));
    });
    request.on("error", fail);
    request.on("response", (response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > bodyLimit) response.destroy(new Error(`the answer is longer than ${bodyLimit} bytes`));
        else chunks.push(chunk);
      });
      response.on("error", fail);
      response.on("aborted", () => fail(new Error("the connection ended in the middle of the answer")));
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString("utf8") }),
      );
    });
    request.end();
  });
}

function brokenBy(error: unknown, port: number, connected: boolean): Broken {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const name = error instanceof Error ? error.name : "";
  const reason = reasonOf(error);
  if (code.startsWith("ERR_TLS_CERT") || /CERT|ISSUER|SELF_SIGNED|VERIFY/.test(code)) {
    return new Broken(
      "server-certificate",
      `what answers on port ${port} is not our account provider: ${reason}`,
      "find out which process listens there; if it is the account provider, restart it so that it writes its files anew",
    );
  }
  if (
    /^ERR_(OSSL|SSL)|^EPROTO|PKCS12|ERR_CRYPTO/.test(code) ||
    /pkcs12|PEM|asn1|key values mismatch/i.test(reason)
  ) {
    return connected
      ? new Broken("connection", `port ${port} does not speak TLS as it should: ${reason}`, startProvider)
      : new Broken("certificate-files", `the certificate files cannot be used: ${reason}`, startProvider);
  }
  const late = name === "TimeoutError" || name === "AbortError" || code === "ABORT_ERR";
  return new Broken(
    "connection",
    late ? `port ${port} did not answer in time` : `port ${port} cannot be reached: ${reason}`,
    startProvider,
  );
}

function readAnswer(
  answer: Answer,
  object: string,
  hold: (link: BrokenLink, detail: string) => void,
): ImpersonationAccount {
  if (answer.status === 403) {
    throw new Broken(
      "client-certificate",
      "the account provider refused the client certificate (403)",
      "its log names the reason; restart it so that it writes its files anew",
    );
  }
  hold("client-certificate", "accepted");
  if (answer.status === 400 || answer.status === 404) {
    throw new Broken(
      "account",
      `the account provider has no usable account "${object}" (${answer.status})`,
      "look for the Secret and its keys username, password and domainName; the provider's log names what is missing",
    );
  }
  if (answer.status !== 200) {
    throw new Broken("answer", `status ${answer.status} instead of 200`, "see the account provider's log");
  }
  const account = parseCredentials(answer.body);
  if (typeof account === "string") throw new Broken("answer", account, "see the account provider's log");
  hold("account", `${object} is there`);
  hold(
    "answer",
    `${account.username}, ${account.domainName}, a password of ${account.password.length} characters`,
  );
  return account;
}

/** @returns the account, or a sentence that says what is wrong with the body (and shows nothing of it). */
function parseCredentials(body: string): ImpersonationAccount | string {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body);
  } catch {
    return "the answer is no JSON";
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed))
    return "the answer is no JSON object";
  const fields = parsed as Readonly<Record<string, unknown>>;
  const { username, password, domainName } = fields;
  if (typeof username !== "string" || username === "") return "the answer has no username";
  if (typeof password !== "string" || password === "") return "the answer has no password";
  if (typeof domainName !== "string" || domainName === "") return "the answer has no domainName";
  return { username, password: new Secret(password), domainName };
}
