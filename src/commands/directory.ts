/**
 * `sallyport directory resolve | authenticate | managed-password | keytab`.
 * @module
 */
import { readFile } from "node:fs/promises";
import { Option } from "commander";
import { systemClock } from "../clock.ts";
import { groupStrategies, type Group, type GroupStrategy } from "../directory/groups.ts";
import type { Person } from "../directory/person.ts";
import type { Authentication, Resolution, Step } from "../directory/directory.ts";
import { reasonOf, SallyportError, type ConfigFault } from "../errors.ts";
import {
  kerberosKeys,
  serviceAccountSalt,
  type EncryptionTypeName,
} from "../managed-password/kerberos-keys.ts";
import { KeytabKeeper, type KeytabRound } from "../managed-password/keytab-keeper.ts";
import { readKeytabFile, writeKeytabFile } from "../managed-password/keytab-file.ts";
import { encryptionTypeName } from "../managed-password/keytab.ts";
import { nextReading } from "../managed-password/password-schedule.ts";
import { retrieveManagedPassword, type Retrieval } from "../managed-password/retrieve.ts";
import { createLog } from "../observe/log.ts";
import { aborted, untilShutdown } from "../server/shutdown.ts";
import { createProgram, runProgram, throwIfFaulty } from "./command-line.ts";
import {
  openDirectory,
  withAccessOptions,
  type AccessFlags,
  type DirectoryAccess,
} from "./directory-access.ts";
import { askForPassword, passwordFromStandardInput } from "./password-prompt.ts";

interface LookupFlags extends AccessFlags {
  readonly json: boolean;
  readonly explain: boolean;
  readonly groups: GroupStrategy;
}

interface AuthenticateFlags extends LookupFlags {
  readonly passwordStdin: boolean;
  readonly dryRun: boolean;
}

interface ManagedFlags extends AccessFlags {
  readonly spec?: string;
  readonly account?: string;
}

interface MetadataFlags extends ManagedFlags {
  readonly json: boolean;
  readonly reveal: boolean;
}

interface KeytabFlags extends ManagedFlags {
  readonly out: string;
  readonly watch: boolean;
  readonly rc4: boolean;
  readonly serviceNames: boolean;
}

export function run(args: readonly string[]): Promise<number> {
  let exitCode = 0;
  const program = createProgram(
    "sallyport directory",
    "Asks Active Directory: who somebody is, whether a password is theirs, and for the password of a gMSA.",
  );
  const strategy = (): Option =>
    new Option("--groups <way>", "how groups are found")
      .choices([...groupStrategies])
      .default("token-groups");

  withAccessOptions(
    program
      .command("resolve <name>")
      .description("show whom a name means: DOMAIN\\user, user@suffix, an account name or an e-mail address"),
  )
    .addOption(strategy())
    .option("--explain", "show each step", false)
    .option("--json", "one JSON object on standard output", false)
    .action(async (name: string, flags: LookupFlags) => {
      exitCode = await resolve(name, flags);
    });

  withAccessOptions(
    program
      .command("authenticate <name>")
      .description("check somebody's password, asked for at the terminal; exit code 0 when it is right"),
  )
    .addOption(strategy())
    .option("--password-stdin", "read the password from standard input", false)
    .option("--explain", "show each step", false)
    .option("--dry-run", "everything but the person's bind: asks for no password", false)
    .option("--json", "one JSON object on standard output", false)
    .action(async (name: string, flags: AuthenticateFlags) => {
      exitCode = flags.dryRun ? await resolve(name, flags) : await authenticate(name, flags);
    });

  withAccessOptions(
    program
      .command("managed-password")
      .description("show what the directory says about a gMSA and its password, but not the password"),
  )
    .option("--spec <file>", "credential spec (JSON) that names the gMSA")
    .option("--account <name>", "the gMSA, with or without its $")
    .option("--reveal", "print the password and its keys, too", false)
    .option("--json", "one JSON object on standard output", false)
    .action(async (flags: MetadataFlags) => {
      exitCode = await managedPassword(flags);
    });

  withAccessOptions(
    program
      .command("keytab")
      .description("write a gMSA's Kerberos keys to a keytab, and keep it right with --watch"),
  )
    .option("--spec <file>", "credential spec (JSON) that names the gMSA")
    .option("--account <name>", "the gMSA, with or without its $")
    .requiredOption("--out <file>", "keytab to write: mode 0600, replaced in one step")
    .option("--watch", "stay, and write it again whenever the password changes", false)
    .option("--rc4", "the RC4 key, too, for services that know nothing better", false)
    .option("--no-service-names", "the account's own name only")
    .action(async (flags: KeytabFlags) => {
      exitCode = await keytab(flags);
    });

  return runProgram(program, args).then((code) => (code === 0 ? exitCode : code));
}

async function withDirectory<Result>(
  flags: LookupFlags,
  work: (access: DirectoryAccess) => Promise<Result>,
): Promise<Result> {
  const access = await openDirectory(flags, { groups: { strategy: flags.groups } });
  try {
    return await work(access);
  } finally {
    access.directory.close();
  }
}

function explainer(flags: LookupFlags): { readonly onStep?: (step: Step) => void } {
  if (!flags.explain) return {};
  return {
    onStep: ({ step, detail, atMs }) =>
      void process.stderr.write(`${String(atMs).padStart(6)} ms  ${step.padEnd(10)}  ${detail}\n`),
  };
}

function resolve(name: string, flags: LookupFlags): Promise<number> {
  return withDirectory(flags, async ({ directory }) => {
    const result = await directory.resolve(name, explainer(flags));
    process.stdout.write(flags.json ? `${JSON.stringify(result)}\n` : renderResolution(result));
    return result.outcome === "found" ? 0 : 1;
  });
}

function authenticate(name: string, flags: AuthenticateFlags): Promise<number> {
  return withDirectory(flags, async ({ directory }) => {
    const password = flags.passwordStdin
      ? await passwordFromStandardInput()
      : await askForPassword(`Password of ${printable(name)}: `);
    const result = await directory.authenticate(name, password, explainer(flags));
    if (result.outcome === "unavailable") throw result.error;
    process.stdout.write(flags.json ? `${JSON.stringify(result)}\n` : renderAuthentication(result));
    return result.outcome === "authenticated" ? 0 : 1;
  });
}

function renderResolution(result: Resolution): string {
  switch (result.outcome) {
    case "absent":
      return `nobody: ${result.reason}\n`;
    case "ambiguous":
      return "ambiguous: more than one account answers to this name\n";
    case "found":
      return renderPerson(result.person, result.groups, result.problems.join(", ") || "may be used");
  }
}

function renderAuthentication(result: Exclude<Authentication, { readonly outcome: "unavailable" }>): string {
  return result.outcome === "authenticated"
    ? renderPerson(result.person, result.groups, "authenticated")
    : `refused: ${result.reason}${result.passwordProven ? " (the password itself is right)" : ""}\n`;
}

function renderPerson(person: Person, groups: readonly Group[], state: string): string {
  const lines: readonly (readonly [string, string | undefined])[] = [
    ["state", state],
    ["account", `${person.accountName} in ${person.domain}`],
    ["principal", person.principalName],
    ["name", person.displayName],
    ["mail", person.mail],
    ["GUID", person.guid],
    ["SID", person.sid],
    ["DN", person.dn],
    ["groups", groups.map(({ name, domain }) => `${name}@${domain}`).join(", ") || "none"],
  ];
  return lines
    .filter(([, value]) => value !== undefined)
    .map(([label, value]) => `${label.padEnd(10)} ${printable(value ?? "")}\n`)
    .join("");
}

/** Values of a directory may hold anything; a terminal obeys control characters. */
function printable(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}]/gu,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** The gMSA's name: from `--account`, or the first that the credential spec lists. */
async function accountOf(flags: ManagedFlags): Promise<string> {
  const faults: ConfigFault[] = [];
  let name = flags.account;
  if ((flags.spec === undefined) === (flags.account === undefined)) {
    faults.push({ setting: "--spec, --account", problem: "one of them, and only one, must name the gMSA" });
  } else if (flags.spec !== undefined) {
    try {
      name = accountInSpec(JSON.parse((await readFile(flags.spec, "utf8")).replace(/^\ufeff/, "")));
      if (name === undefined) faults.push({ setting: "--spec", problem: `${flags.spec} lists no gMSA` });
    } catch (thrown) {
      faults.push({ setting: "--spec", problem: `${flags.spec}: ${reasonOf(thrown)}` });
    }
  }
  throwIfFaulty(faults);
  return name ?? "";
}

/** Follows Windows' own reading: `ActiveDirectoryConfig.GroupManagedServiceAccounts[0].Name`. */
function accountInSpec(document: unknown): string | undefined {
  let value: unknown = document;
  for (const field of ["ActiveDirectoryConfig", "GroupManagedServiceAccounts", "0", "Name"]) {
    if (typeof value !== "object" || value === null) return undefined;
    value = (value as Readonly<Record<string, unknown>>)[field];
  }
  return typeof value === "string" && value !== "" ? value : undefined;
}

async function managedPassword(flags: MetadataFlags): Promise<number> {
  const name = await accountOf(flags);
  const access = await openDirectory(flags);
  try {
    const retrieval = await retrieveManagedPassword(access.directory, access.domain, name, {
      clock: systemClock,
    });
    if (retrieval.outcome === "absent") throw absent(name, access);
    const described = describe(retrieval, access, flags.reveal);
    process.stdout.write(
      flags.json
        ? `${JSON.stringify(described)}\n`
        : Object.entries(described)
            .map(
              ([label, value]) =>
                `${label.padEnd(22)} ${Array.isArray(value) ? value.join(", ") : String(value)}\n`,
            )
            .join(""),
    );
    if (retrieval.outcome === "not-permitted") throw notPermitted(name, access);
    return 0;
  } finally {
    access.directory.close();
  }
}

type Described = Readonly<Record<string, string | number | boolean | readonly string[] | null>>;

function describe(
  retrieval: Exclude<Retrieval, { readonly outcome: "absent" }>,
  access: DirectoryAccess,
  reveal: boolean,
): Described {
  const { account } = retrieval;
  const about: Described = {
    account: account.accountName,
    dn: account.dn,
    sid: account.sid,
    guid: account.guid,
    enabled: account.enabled,
    aesEnabled: account.aesEnabled,
    serviceNames: account.serviceNames,
    intervalDays: account.intervalDays ?? null,
    retrievable: retrieval.outcome === "retrieved",
  };
  if (retrieval.outcome === "not-permitted") return about;
  const { password } = retrieval;
  const realm = access.domain.toUpperCase();
  const salt = serviceAccountSalt(realm, account.accountName);
  const changes = retrieval.readAt + Number(password.queryInterval / 10_000n);
  const keys = reveal ? kerberosKeys(password.current, salt, ["aes256", "aes128", "rc4"]) : [];
  return {
    ...about,
    keyVersion: retrieval.currentVersion,
    previousKnown: password.previous !== undefined,
    nextPasswordAlready: retrieval.early,
    changesAt: new Date(changes).toISOString(),
    readAgainAt: new Date(nextReading(password, retrieval.readAt, 0)).toISOString(),
    salt,
    ...(reveal ? { passwordBase64: password.current.reveal().toString("base64") } : {}),
    ...Object.fromEntries(
      keys.map(({ encryptionType, key }) => [encryptionType, key.reveal().toString("hex")]),
    ),
  };
}

async function keytab(flags: KeytabFlags): Promise<number> {
  const name = await accountOf(flags);
  await readKeytabFile(flags.out);
  const log = createLog();
  const access = await openDirectory(flags, flags.watch ? { log } : {});
  const types: readonly EncryptionTypeName[] = flags.rc4 ? ["aes256", "aes128", "rc4"] : ["aes256", "aes128"];
  const keeper = new KeytabKeeper({
    clock: systemClock,
    log: flags.watch ? log : createLog({ level: "silent" }),
    realm: access.domain.toUpperCase(),
    encryptionTypes: types,
    serviceNames: flags.serviceNames,
    retrieve: async (signal) => {
      // The account's own password may have been changed since the last time.
      await access.reload();
      return retrieveManagedPassword(access.directory, access.domain, name, { clock: systemClock, signal });
    },
    read: () => readKeytabFile(flags.out),
    write: (contents) => writeKeytabFile(flags.out, contents),
  });
  try {
    return await untilShutdown(async (stopping) => {
      if (!flags.watch) return await report(await keeper.round(stopping), name, access, flags.out);
      await Promise.race([keeper.keep(stopping), aborted(stopping)]);
      return 0;
    });
  } finally {
    access.directory.close();
  }
}

async function report(
  round: KeytabRound,
  name: string,
  access: DirectoryAccess,
  path: string,
): Promise<number> {
  switch (round.outcome) {
    case "failed":
      throw round.error;
    case "refused":
      throw round.retrieval.outcome === "absent" ? absent(name, access) : notPermitted(name, access);
    case "written": {
      const entries = await readKeytabFile(path);
      for (const entry of entries) {
        process.stdout.write(
          `${entry.keyVersion}  ${entry.components.join("/")}@${entry.realm}  ${encryptionTypeName(entry.encryptionType)}\n`,
        );
      }
      process.stdout.write(
        `${path}: written; the password changes next, read again at ${new Date(round.next).toISOString()}\n`,
      );
      return 0;
    }
  }
}

function absent(account: string, access: DirectoryAccess): SallyportError {
  return new SallyportError("E_MANAGED_PASSWORD_ABSENT", { account, domain: access.domain });
}

function notPermitted(account: string, access: DirectoryAccess): SallyportError {
  return new SallyportError("E_MANAGED_PASSWORD_NOT_PERMITTED", { account, reader: access.reader });
}
