/**
 * `sallyport authenticator init`: certificate and kubeconfig, made before kube-apiserver starts.
 * @module
 */
import { mkdir } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import type { Command } from "commander";
import { readState } from "../authenticator/mapping/followed-file.ts";
import { ensurePair, giveFilesTo, writePublic } from "../authenticator/server-certificate.ts";
import type { AuthenticatorSettings } from "../authenticator/settings.ts";
import { renderWebhookKubeconfig } from "../authenticator/webhook-kubeconfig.ts";
import { systemClock } from "../clock.ts";
import { SallyportError, reasonOf, type ConfigFault } from "../errors.ts";
import { given, numberOf, settingsOf } from "./authenticator-flags.ts";
import type { Ran } from "./command-line.ts";

interface InitFlags {
  readonly clusterId?: string;
  readonly config?: string;
  readonly hostname?: string;
  readonly address?: string;
  readonly port?: string;
  readonly directory: string;
  readonly kubeconfig?: string;
  readonly owner?: string;
}

export function addInit(program: Command, ran: Ran): void {
  program
    .command("init")
    .description("make the certificate and the kubeconfig for kube-apiserver; keeps a pair that is there")
    .option("-i, --cluster-id <id>", "id of the cluster")
    .option("-c, --config <file>", "configuration file")
    .option("--hostname <name>", "name in certificate and kubeconfig (localhost)")
    .option("--address <address>", "address in the certificate (127.0.0.1)")
    .option("--port <number>", "port in the kubeconfig (21362)")
    .option("--directory <folder>", "where cert.pem and key.pem are made", ".")
    .option("--kubeconfig <file>", "where the kubeconfig is written (ack-ram-authenticator.kubeconfig there)")
    .option("--owner <uid:gid>", "give the directory and its files to this user and group")
    .action((flags: InitFlags) => ran(init(flags)));
}

async function init(flags: InitFlags): Promise<number> {
  const faults: ConfigFault[] = [];
  const port = numberOf("--port", flags.port, faults);
  const owner = flags.owner === undefined ? undefined : /^(\d{1,10}):(\d{1,10})$/.exec(flags.owner);
  if (owner === null) faults.push({ setting: "--owner", problem: `"${flags.owner ?? ""}" is not UID:GID` });
  const { settings } = await settingsOf(
    flags,
    {
      ...given("clusterID", flags.clusterId),
      ...given("hostname", flags.hostname),
      ...given("address", flags.address),
      ...given("port", port),
    },
    faults,
  );
  const directory = resolve(flags.directory);
  const { trustPem, made } = await ensurePair(directory, settings, systemClock);
  const kubeconfig = resolve(flags.kubeconfig ?? join(directory, "ack-ram-authenticator.kubeconfig"));
  const written = await writeWebhookKubeconfig(kubeconfig, settings, trustPem);
  if (owner !== undefined && owner !== null) {
    await giveFilesTo(directory, { uid: Number(owner[1]), gid: Number(owner[2]) });
  }
  process.stdout.write(
    [
      made ? `Made cert.pem and key.pem in ${directory}.` : `Kept cert.pem and key.pem in ${directory}.`,
      written ? `Wrote ${kubeconfig}.` : `Kept ${kubeconfig}.`,
      `Start kube-apiserver with --authentication-token-webhook-config-file=${kubeconfig}`,
      "and --authentication-token-webhook-version=v1.",
      "",
    ].join("\n"),
  );
  return 0;
}

/** Writes it only when it says something else: an API server reads it once and a mount may follow the file. */
export async function writeWebhookKubeconfig(
  path: string,
  settings: AuthenticatorSettings,
  authorityPem: string,
): Promise<boolean> {
  const { hostname } = settings;
  const text = renderWebhookKubeconfig({ hostname, port: settings.listen.port, authorityPem });
  const present = await readState(path);
  if (present.state === "present" && present.text === text) return false;
  try {
    await mkdir(dirname(path), { recursive: true });
    await writePublic(path, text);
  } catch (error) {
    throw new SallyportError("E_AUTHENTICATOR_STATE", { directory: dirname(path), detail: reasonOf(error) });
  }
  return true;
}
