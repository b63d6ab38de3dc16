/**
 * `sallyport login`, also as kubectl's exec plugin, and `sallyport logout`. kubectl runs it at every command, so it
 * imports nothing that it does not need.
 * @module
 */
import { SallyportError, configError } from "../errors.ts";
import { readAuthoritiesFile } from "../pki/authorities-file.ts";
import type { Secret } from "../secret.ts";
import { createProgram, runProgram } from "./command-line.ts";
import { LoginClient, type SessionAnswer } from "../authenticator/login/login-client.ts";
import { forgetSession, readSession, writeSession, type StoredSession } from "./session-file.ts";

interface LoginFlags {
  readonly server: string;
  readonly ca?: string;
  readonly username?: string;
  readonly passwordStdin: boolean;
  readonly exec: boolean;
}

/** A token with less life left than this is exchanged first, milliseconds. */
const spare = 60_000;

export function run(args: readonly string[]): Promise<number> {
  const program = createProgram("sallyport login", "Logs in to a cluster with an Active Directory account.")
    .requiredOption("--server <url>", "login endpoint of the authenticator, https://HOST:PORT")
    .option("--ca <file>", "authorities to trust for it (PEM)")
    .option("-u, --username <name>", "user@domain, DOMAIN\\user or an account name; asked for when left out")
    .option("--password-stdin", "read the password from standard input", false)
    .option(
      "--exec",
      "print an ExecCredential for kubectl; asks only when no session can be refreshed",
      false,
    )
    .action(async (flags: LoginFlags) => {
      await (flags.exec ? printCredential(flags) : logIn(flags));
    });
  return runProgram(program, args);
}

async function logIn(flags: LoginFlags): Promise<void> {
  const session = await login(flags, await clientOf(flags));
  process.stderr.write(
    `Logged in as ${session.username} until ${new Date(session.sessionEndsAt).toLocaleString()}.\n`,
  );
}

async function printCredential(flags: LoginFlags): Promise<void> {
  const asked = execInfo();
  const client = await clientOf(flags);
  let session = await readSession(flags.server);
  if (session !== undefined && Date.parse(session.expiresAt) - Date.now() < spare)
    session = await refresh(flags, client, session);
  if (session === undefined) {
    if (!asked.interactive && !flags.passwordStdin) {
      throw new SallyportError("E_LOGIN_REFUSED", {
        detail: "There is no session, and nobody to ask for a password.",
      });
    }
    session = await login(flags, client);
  }
  const credential = {
    apiVersion: asked.apiVersion,
    kind: "ExecCredential",
    // kubectl asks again a little before the token ends.
    status: {
      token: session.token,
      expirationTimestamp: new Date(Date.parse(session.expiresAt) - spare).toISOString(),
    },
  };
  process.stdout.write(`${JSON.stringify(credential)}\n`);
}

/** A fresh token, or `undefined` when the session is over; trouble on the way is an error that keeps the session. */
async function refresh(
  flags: LoginFlags,
  client: LoginClient,
  session: StoredSession,
): Promise<StoredSession | undefined> {
  if (Date.parse(session.sessionEndsAt) <= Date.now()) return undefined;
  const answer = await client.refresh(session.refreshToken);
  if (answer.outcome === "session") return keep(flags, answer.session);
  if (answer.status !== 401) throw new SallyportError("E_LOGIN_REFUSED", { detail: answer.message });
  await forgetSession(flags.server);
  process.stderr.write(`sallyport: ${answer.message}\n`);
  return undefined;
}

async function login(flags: LoginFlags, client: LoginClient): Promise<StoredSession> {
  const { askForName, askForPassword, passwordFromStandardInput } = await import("./password-prompt.ts");
  const username = flags.username ?? (await askForName(`User name for ${client.host}: `));
  const password: Secret = flags.passwordStdin
    ? await passwordFromStandardInput()
    : await askForPassword("Password: ");
  const answer = await client.login(username, password);
  if (answer.outcome === "session") return keep(flags, answer.session);
  throw new SallyportError("E_LOGIN_REFUSED", { detail: answer.message });
}

async function keep(flags: LoginFlags, session: SessionAnswer): Promise<StoredSession> {
  await writeSession(flags.server, session);
  return session;
}

async function clientOf(flags: LoginFlags): Promise<LoginClient> {
  let authorities: string | undefined;
  if (flags.ca !== undefined) {
    const read = await readAuthoritiesFile(flags.ca);
    if (!read.ok) throw configError([{ setting: "--ca", problem: read.problem }]);
    authorities = read.pem;
  }
  return new LoginClient(flags.server, authorities);
}

/** What kubectl says about the call (client.authentication.k8s.io, ExecCredential `spec`). */
function execInfo(): { readonly apiVersion: string; readonly interactive: boolean } {
  const fallback = { apiVersion: "client.authentication.k8s.io/v1", interactive: true };
  const text = process.env["KUBERNETES_EXEC_INFO"];
  if (text === undefined) return fallback;
  try {
    const info = JSON.parse(text) as {
      readonly apiVersion?: unknown;
      readonly spec?: { readonly interactive?: unknown };
    };
    return {
      apiVersion:
        info.apiVersion === "client.authentication.k8s.io/v1beta1" ? info.apiVersion : fallback.apiVersion,
      interactive: info.spec?.interactive === true,
    };
  } catch {
    return fallback;
  }
}
