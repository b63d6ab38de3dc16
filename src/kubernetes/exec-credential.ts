/**
 * Runs a kubeconfig's exec plugin and reads the ExecCredential that it prints
 * (https://kubernetes.io/docs/reference/config-api/client-authentication.v1/).
 * @module
 */
import { spawn } from "node:child_process";
import { z } from "zod";
import { Secret } from "../secret.ts";
import type { ExecCommand } from "./cluster-connection.ts";

export interface ExecCredential {
  readonly token: Secret | undefined;
  readonly certificate: Secret | undefined;
  readonly key: Secret | undefined;
  /** Milliseconds since the epoch, `undefined` when it lasts as long as the process. */
  readonly expires: number | undefined;
}

export type ExecOutcome =
  | { readonly ok: true; readonly credential: ExecCredential }
  /** `problem` holds nothing that the plugin printed on standard output. */
  | { readonly ok: false; readonly problem: string };

const maxOutput = 1024 * 1024;

const shape = z.object({
  apiVersion: z.string(),
  kind: z.literal("ExecCredential"),
  status: z.object({
    token: z.string().min(1).optional(),
    clientCertificateData: z.string().min(1).optional(),
    clientKeyData: z.string().min(1).optional(),
    expirationTimestamp: z.string().optional(),
  }),
});

/**
 * @param environment what the plugin inherits.
 * @param cluster `spec.cluster` of the request, for a plugin that asked for it.
 * @param timeoutMilliseconds after which the plugin is ended.
 */
export async function runExecPlugin(
  command: ExecCommand,
  environment: NodeJS.ProcessEnv,
  cluster: Readonly<Record<string, unknown>>,
  timeoutMilliseconds: number,
): Promise<ExecOutcome> {
  const request = {
    apiVersion: command.apiVersion,
    kind: "ExecCredential",
    spec: { interactive: false, ...(command.provideClusterInfo ? { cluster } : {}) },
  };
  const ran = await run(
    command,
    { ...environment, ...command.env, KUBERNETES_EXEC_INFO: JSON.stringify(request) },
    timeoutMilliseconds,
  );
  if (!ran.ok) {
    const hint = command.installHint === undefined ? "" : ` (${command.installHint.slice(0, 500)})`;
    return { ok: false, problem: `the exec plugin ${command.command} ${ran.problem}${hint}` };
  }
  const fail = (problem: string): ExecOutcome => ({
    ok: false,
    problem: `the exec plugin ${command.command} ${problem}`,
  });
  let value: unknown;
  try {
    value = JSON.parse(ran.output);
  } catch {
    return fail("printed no JSON");
  }
  const parsed = shape.safeParse(value);
  if (!parsed.success) return fail("printed no ExecCredential with a status");
  const { apiVersion, status } = parsed.data;
  if (apiVersion !== command.apiVersion)
    return fail(`answered another apiVersion than ${command.apiVersion}`);
  const { token, clientCertificateData: certificate, clientKeyData: key, expirationTimestamp } = status;
  if ((certificate === undefined) !== (key === undefined)) {
    return fail("gave a certificate without its key, or the reverse");
  }
  if (token === undefined && certificate === undefined) return fail("gave neither a token nor a certificate");
  const expires = expirationTimestamp === undefined ? undefined : Date.parse(expirationTimestamp);
  if (Number.isNaN(expires)) return fail("gave an expirationTimestamp that is no date");
  const secret = (from: string | undefined): Secret | undefined =>
    from === undefined ? undefined : new Secret(from);
  return {
    ok: true,
    credential: { token: secret(token), certificate: secret(certificate), key: secret(key), expires },
  };
}

type Ran = { readonly ok: true; readonly output: string } | { readonly ok: false; readonly problem: string };

function run(command: ExecCommand, env: NodeJS.ProcessEnv, timeout: number): Promise<Ran> {
  return new Promise((resolve) => {
    // No shell; what it says on standard error is for the operator and goes there.
    const child = spawn(command.command, command.args, {
      env,
      stdio: ["ignore", "pipe", "inherit"],
      timeout,
      killSignal: "SIGKILL",
      windowsHide: true,
    });
    const chunks: Buffer[] = [];
    let length = 0;
    child.stdout.on("data", (chunk: Buffer) => {
      length += chunk.length;
      if (length > maxOutput) child.kill("SIGKILL");
      else chunks.push(chunk);
    });
    child.on("error", (error: NodeJS.ErrnoException) =>
      resolve({ ok: false, problem: `cannot be started: ${error.code ?? error.name}` }),
    );
    child.on("close", (code, signal) => {
      if (length > maxOutput) resolve({ ok: false, problem: "printed too much" });
      else if (signal !== null) {
        resolve({ ok: false, problem: `was ended by ${signal} (it has ${timeout / 1000} s)` });
      } else if (code !== 0) resolve({ ok: false, problem: `ended with code ${code ?? "unknown"}` });
      else resolve({ ok: true, output: Buffer.concat(chunks).toString("utf8") });
    });
  });
}
