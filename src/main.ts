#!/usr/bin/env node
/**
 * The entry point: finds the command that is asked for and imports only that one's module, so that a command pays for
 * nothing it does not use (`sallyport token` runs at every `kubectl` call).
 * @module
 */
import { asSallyportError, describeForOperator } from "./errors.ts";
import { checkNodeVersion } from "./node-version.ts";
import { endAtSignals } from "./server/shutdown.ts";
import { version } from "./version.ts";

/** A command's module: it takes the words after its own name and resolves to an exit code. */
interface CommandModule {
  run(args: readonly string[]): Promise<number>;
}

interface CommandEntry {
  readonly summary: string;
  load(): Promise<CommandModule>;
}

const commands: Readonly<Record<string, CommandEntry>> = {
  authenticator: {
    summary: "review RAM tokens for kube-apiserver (server, init, verify, add, version)",
    load: () => import("./commands/authenticator.ts"),
  },
  token: {
    summary: "print a token of Alibaba Cloud RAM for kubectl",
    load: () => import("./commands/token.ts"),
  },
  "account-provider": {
    summary: "answer the CCG plugin on a Windows host (run, cleanup, probe)",
    load: () => import("./commands/account-provider.ts"),
  },
  admission: {
    summary: "expand and authorise the credential specs of pods (run, check)",
    load: () => import("./commands/admission.ts"),
  },
  credspec: {
    summary: "check, make, convert, render and deliver credential specs",
    load: () => import("./commands/credspec.ts"),
  },
  plugin: {
    summary: "put the CCG plugin on a Windows host (install, uninstall, status)",
    load: () => import("./commands/plugin.ts"),
  },
  directory: {
    summary: "ask Active Directory (resolve, authenticate, managed-password, keytab)",
    load: () => import("./commands/directory.ts"),
  },
  login: {
    summary: "log in to a cluster with an Active Directory account (kubectl exec plugin)",
    load: () => import("./commands/login.ts"),
  },
  "login-keys": {
    summary: "make or rotate the keys that sign login sessions",
    load: () => import("./commands/login-keys.ts"),
  },
  logout: {
    summary: "forget a login session",
    load: () => import("./commands/logout.ts"),
  },
  "chart-hook": {
    summary: "what the hooks of the Helm charts run (apply-crds, await-hosts, stay)",
    load: () => import("./commands/chart-hook.ts"),
  },
  up: {
    summary: "run every role on loopback from a folder of manifests",
    load: () => import("./commands/up.ts"),
  },
};

const help = `Usage: sallyport COMMAND [OPTIONS]

Carries identity across the wall between a Kubernetes cluster and the directories and clouds an enterprise already runs.

Commands:
${Object.entries(commands)
  .map(([name, entry]) => `  ${name.padEnd(18)} ${entry.summary}`)
  .join("\n")}

  --version          print the version
  --help             print this; \`sallyport COMMAND --help\` prints a command's settings
`;

async function main(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args;
  if (name === "--version" || name === "-V") {
    process.stdout.write(`${version}\n`);
    return 0;
  }
  if (name === undefined || name === "--help" || name === "-h" || name === "help") {
    (name === undefined ? process.stderr : process.stdout).write(help);
    return name === undefined ? 2 : 0;
  }
  const entry = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (entry === undefined) {
    process.stderr.write(`sallyport: there is no command "${name}".\n  \`sallyport --help\` lists them.\n`);
    return 2;
  }
  const command = await entry.load();
  return await command.run(rest);
}

// A reader that has gone (`| head`) is no fault to speak of. The code is that of programs that SIGPIPE ends: a service whose
// reports nobody takes any more has not ended well.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(141);
  process.stderr.write(`sallyport: standard output cannot be written: ${error.message}\n`);
  process.exit(1);
});

endAtSignals();
try {
  checkNodeVersion(process.versions.node);
  process.exitCode = await main(process.argv.slice(2));
} catch (thrown) {
  const error = asSallyportError(thrown);
  process.stderr.write(`${describeForOperator(error)}\n`);
  process.exitCode = error.exitCode;
  // What a failure left open does not keep the process.
  setTimeout(() => process.exit(), 1_000).unref();
}
