/**
 * `sallyport credspec create`: from flags, from questions, or from a directory.
 * @module
 */
import { Option, type Command } from "commander";
import { configError, type ConfigFault } from "../errors.ts";
import {
  createSpec,
  draftWithFacts,
  missingFields,
  type DraftField,
  type SpecDraft,
} from "../credential-spec/create.ts";
import { hasErrors } from "../credential-spec/lint.ts";
import type { ScopedAccount } from "../credential-spec/model.ts";
import { nameFor } from "../credential-spec/render/rendering.ts";
import type { Ran } from "./command-line.ts";
import type { CredspecDependencies } from "./credspec.ts";
import { withAccessOptions, type AccessFlags } from "./directory-access.ts";
import { describeFindings, renderSpec, specForms, type SpecForm } from "./spec-output.ts";

interface CreateFlags extends AccessFlags {
  readonly fromDirectory?: true;
  readonly account?: string;
  readonly sid?: string;
  readonly guid?: string;
  readonly dnsName?: string;
  readonly forestName?: string;
  readonly netbiosName?: string;
  readonly additionalAccount?: readonly string[];
  readonly pluginGuid?: string;
  readonly pluginInput?: string;
  readonly name?: string;
  readonly output: SpecForm;
}

const questions: Readonly<Record<DraftField, { readonly flag: string; readonly question: string }>> = {
  accountName: { flag: "--account", question: "gMSA (sAMAccountName, without $): " },
  dnsName: { flag: "--dns-name", question: "DNS name of its domain (contoso.com): " },
  netbiosName: { flag: "--netbios-name", question: "NetBIOS name of the domain (CONTOSO): " },
  forestName: { flag: "--forest-name", question: "DNS name of the forest's root domain: " },
  sid: { flag: "--sid", question: "SID of the domain, (Get-ADDomain).DomainSID.Value: " },
  guid: { flag: "--guid", question: "GUID of the domain, (Get-ADDomain).ObjectGUID: " },
};

export function addCreate(program: Command, dependencies: CredspecDependencies, ran: Ran): void {
  const command = program
    .command("create")
    .description("make a credential spec from flags or, at a terminal, from questions")
    .option("--account <name>", "sAMAccountName of the gMSA")
    .option("--sid <sid>", "SID of the domain")
    .option("--guid <guid>", "objectGUID of the domain")
    .option("--dns-name <name>", "DNS name of the domain")
    .option("--forest-name <name>", "DNS name of the forest's root domain")
    .option("--netbios-name <name>", "NetBIOS name of the domain")
    .option(
      "--additional-account <name@scope...>",
      "a further account that the container may use (repeatable)",
    )
    .option("--plugin-guid <guid>", "class id of the CCG plugin, for hosts outside the domain")
    .option("--plugin-input <text>", "what the plugin is given")
    .option("--name <name>", "name of the resource (default: the account's)")
    .addOption(new Option("--output <form>", "what to print").choices([...specForms]).default("json"));
  withAccessOptions(
    command.option("--from-directory", "read the facts of the domain and the account from Active Directory"),
  );
  command.action((flags: CreateFlags) => ran(create(flags, dependencies)));
}

async function create(flags: CreateFlags, dependencies: CredspecDependencies): Promise<number> {
  const { io } = dependencies;
  let draft = draftOf(flags);
  if (flags.fromDirectory === true) {
    const completed = await fromDirectory(draft, flags, dependencies);
    if (typeof completed === "string") {
      io.err(`sallyport: ${completed}\n`);
      return 1;
    }
    draft = completed;
  }
  for (const field of missingFields(draft)) {
    if (io.ask === undefined) break;
    draft = { ...draft, [field]: await io.ask(questions[field].question) };
  }
  const creation = createSpec(draft);
  if (!creation.complete) {
    throw configError(
      creation.missing.map((field) => ({ setting: questions[field].flag, problem: "is missing" })),
    );
  }
  const name = flags.name ?? nameFor(creation.spec) ?? "credential-spec";
  io.err(describeFindings(name, creation.findings));
  if (hasErrors(creation.findings)) return 1;
  io.out(renderSpec(creation.spec, name, flags.output));
  return 0;
}

async function fromDirectory(
  draft: SpecDraft,
  flags: AccessFlags,
  { openDirectory }: CredspecDependencies,
): Promise<SpecDraft | string> {
  if (draft.accountName === undefined) {
    throw configError([{ setting: "--account", problem: "is missing: the directory is asked about it" }]);
  }
  const directory = await openDirectory(flags);
  try {
    const answer = await directory.describe(draft.accountName);
    return answer.found ? draftWithFacts(draft, answer.accountName, answer.domain) : answer.reason;
  } finally {
    await directory.close();
  }
}

function draftOf(flags: CreateFlags): SpecDraft {
  const faults: ConfigFault[] = [];
  const additionalAccounts = (flags.additionalAccount ?? []).flatMap((text): ScopedAccount[] => {
    const [, name, scope] = /^([^@]+)@(.+)$/.exec(text) ?? [];
    if (name !== undefined && scope !== undefined) return [{ name, scope }];
    faults.push({
      setting: "--additional-account",
      problem: `"${text}" is not NAME@SCOPE, such as sql01@contoso.com`,
    });
    return [];
  });
  if ((flags.pluginGuid === undefined) !== (flags.pluginInput === undefined)) {
    const [missing, given] =
      flags.pluginGuid === undefined
        ? ["--plugin-guid", "--plugin-input"]
        : ["--plugin-input", "--plugin-guid"];
    faults.push({ setting: missing, problem: `is missing: it belongs to ${given}` });
  }
  if (faults.length > 0) throw configError(faults);
  const { pluginGuid, pluginInput } = flags;
  return {
    accountName: flags.account,
    sid: flags.sid,
    guid: flags.guid,
    dnsName: flags.dnsName,
    forestName: flags.forestName,
    netbiosName: flags.netbiosName,
    additionalAccounts,
    portableIdentity:
      pluginGuid === undefined || pluginInput === undefined ? undefined : { pluginGuid, pluginInput },
  };
}
