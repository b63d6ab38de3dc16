/**
 * A disposable Active Directory domain controller: Samba with a working gMSA server, seeded with people, groups and
 * managed accounts, on a loopback address of its own. Nothing outside its folder is touched.
 * @module
 */
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { GuardedProcess, runCommand, tail, type CommandResult } from "../guarded-process.ts";

export const domain = "contoso.test";
export const realm = "CONTOSO.TEST";
const netbiosName = "CONTOSO";
const hostName = "dc1";
const baseDn = "DC=contoso,DC=test";

export interface DomainController {
  /** Its loopback address. */
  readonly address: string;
  /** The authority of its certificate, PEM file. */
  readonly authorityFile: string;
  /** Where its databases are. */
  readonly privateFolder: string;
  /** Environment for Kerberos programs. */
  readonly kerberos: Readonly<Record<string, string>>;
  /** Samba's own view of an object, changed or read with its tools: a program and its words. */
  samba(...words: readonly string[]): Promise<CommandResult>;
  /** Starts it anew so many seconds in the future (0: now), with the data as they are. */
  restart(secondsAhead: number): Promise<void>;
  /** Puts the data back as they were after seeding and starts it. */
  reset(): Promise<void>;
  stop(): Promise<void>;
}

export function faketimeLibrary(): string {
  const triplet = process.arch === "arm64" ? "aarch64-linux-gnu" : "x86_64-linux-gnu";
  return `/usr/lib/${triplet}/faketime/libfaketime.so.1`;
}

/** Environment that moves a program's clock ahead. */
export function atTime(secondsAhead: number): Readonly<Record<string, string>> {
  return secondsAhead === 0
    ? {}
    : { LD_PRELOAD: faketimeLibrary(), FAKETIME: `+${secondsAhead}s`, TZ: "UTC" };
}

/** Provisions, seeds and starts a controller. LDAP's ports cannot be chosen, so each needs an address of its own. */
export async function startDomainController(
  address = "127.0.88.1",
  options: { /** Further groups that bob is in. */ readonly groupsOfBob?: number } = {},
): Promise<DomainController> {
  // Short: paths of its sockets lie below it.
  const folder = mkdtempSync(join(process.env["SALLYPORT_E2E_RUN_DIRECTORY"] ?? tmpdir(), "dc-"));
  const controller = new SambaController(folder, address);
  await controller.provision(options.groupsOfBob ?? 0);
  await controller.restart(0);
  return controller;
}

class SambaController implements DomainController {
  readonly address: string;
  readonly authorityFile: string;
  readonly privateFolder: string;
  readonly kerberos: Readonly<Record<string, string>>;
  readonly #folder: string;
  readonly #configuration: string;
  #daemon: GuardedProcess | undefined;

  constructor(folder: string, address: string) {
    this.#folder = folder;
    this.address = address;
    this.authorityFile = join(folder, "tls/ca.pem");
    this.privateFolder = join(folder, "private");
    this.#configuration = join(folder, "smb.conf");
    this.kerberos = { KRB5_CONFIG: join(folder, "krb5.conf") };
  }

  async provision(groupsOfBob: number): Promise<void> {
    if (await isOpen(this.address, 389)) throw new Error(`${this.address}:389 is taken by something else`);
    for (const name of ["private", "state/sysvol", "cache", "lock", "run", "log", "tls", "bind-dns"]) {
      mkdirSync(join(this.#folder, name), { recursive: true });
    }
    chmodSync(join(this.#folder, "private"), 0o700);
    writeFileSync(this.#configuration, this.#smbConf());
    writeFileSync(join(this.#folder, "krb5.conf"), this.#krb5Conf());
    await this.#makeCertificates();
    const words = [
      "domain",
      "provision",
      `--configfile=${this.#configuration}`,
      `--realm=${realm}`,
      `--domain=${netbiosName}`,
      `--host-name=${hostName}`,
      `--host-ip=${this.address}`,
      "--server-role=dc",
      "--function-level=2016",
      "--dns-backend=SAMBA_INTERNAL",
      "--adminpass=Adm1n-Passw0rd!",
      "-q",
    ];
    succeeded(await runCommand("samba-tool", words), "samba-tool domain provision");
    const environment = {
      CONF: this.#configuration,
      SAM: join(this.#folder, "private/sam.ldb"),
      BASE: baseDn,
      DNSDOM: domain,
      IP: this.address,
      DC: hostName,
      GROUPS_OF_BOB: String(groupsOfBob),
    };
    succeeded(
      await runCommand("/usr/bin/python3", [join(import.meta.dirname, "seed.py")], { environment }),
      "seeding",
    );
    succeeded(
      await runCommand("sh", ["-c", "mkdir golden && cp -a private state golden/"], { cwd: this.#folder }),
      "keeping a copy",
    );
  }

  samba(...words: readonly string[]): Promise<CommandResult> {
    const [program = "samba-tool", ...rest] = words;
    return runCommand(program, [...rest, `--configfile=${this.#configuration}`]);
  }

  async restart(secondsAhead: number): Promise<void> {
    await this.stop();
    const log = join(this.#folder, "log/samba.out");
    const daemon = new GuardedProcess(
      "/usr/sbin/samba",
      ["--foreground", "--no-process-group", "--debug-stdout", "-M", "single", "-s", this.#configuration],
      { logFile: log, environment: atTime(secondsAhead) },
    );
    this.#daemon = daemon;
    for (let attempt = 0; attempt < 600; attempt++) {
      if (daemon.exit !== undefined) throw new Error(`samba ended:\n${tail(log)}`);
      if ((await isOpen(this.address, 636)) && (await isOpen(this.address, 88))) return;
      await sleep(50);
    }
    throw new Error(`samba is not ready after 30 s:\n${tail(log)}`);
  }

  async reset(): Promise<void> {
    await this.stop();
    succeeded(
      await runCommand(
        "sh",
        ["-c", "rm -rf private state cache lock && cp -a golden/private golden/state . && mkdir cache lock"],
        { cwd: this.#folder },
      ),
      "putting the data back",
    );
    await this.restart(0);
  }

  async stop(): Promise<void> {
    await this.#daemon?.stop();
    this.#daemon = undefined;
    rmSync(join(this.#folder, "run/samba.pid"), { force: true });
  }

  async #makeCertificates(): Promise<void> {
    const script = `
      umask 077
      openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 30 -subj "/CN=${netbiosName} test CA" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
      openssl req -newkey rsa:2048 -nodes -keyout dc.key -out dc.csr -subj "/CN=${hostName}.${domain}"
      printf 'basicConstraints=critical,CA:FALSE\\nkeyUsage=critical,digitalSignature,keyEncipherment\\nextendedKeyUsage=serverAuth\\nsubjectAltName=DNS:${hostName}.${domain},DNS:${domain},IP:${this.address}\\n' > ext.cnf
      openssl x509 -req -in dc.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile ext.cnf -out dc.pem
      chmod 644 ca.pem dc.pem`;
    succeeded(await runCommand("sh", ["-ec", script], { cwd: join(this.#folder, "tls") }), "openssl");
  }

  #smbConf(): string {
    const folder = this.#folder;
    return `[global]
	netbios name = ${hostName.toUpperCase()}
	workgroup = ${netbiosName}
	realm = ${realm}
	server role = active directory domain controller
	ad dc functional level = 2016
	server services = ldap, cldap, kdc, dns
	interfaces = ${this.address}/8
	bind interfaces only = yes
	disable netbios = yes
	dns forwarder =
	ldap server require strong auth = yes
	private dir = ${folder}/private
	state directory = ${folder}/state
	cache directory = ${folder}/cache
	lock directory = ${folder}/lock
	pid directory = ${folder}/run
	binddns dir = ${folder}/bind-dns
	ncalrpc dir = ${folder}/run/ncalrpc
	winbindd socket directory = ${folder}/run/winbindd
	ntp signd socket directory = ${folder}/run/ntp_signd
	log file = ${folder}/log/log.%m
	logging = file
	load printers = no
	printcap name = /dev/null
	vfs objects = dfs_samba4 acl_xattr xattr_tdb
	tls enabled = yes
	tls keyfile = ${folder}/tls/dc.key
	tls certfile = ${folder}/tls/dc.pem
	tls cafile = ${folder}/tls/ca.pem

[sysvol]
	path = ${folder}/state/sysvol
	read only = no

[netlogon]
	path = ${folder}/state/sysvol/${domain}/scripts
	read only = no
`;
  }

  #krb5Conf(): string {
    return `[libdefaults]
	default_realm = ${realm}
	dns_lookup_realm = false
	dns_lookup_kdc = false
	dns_canonicalize_hostname = false
	rdns = false
[realms]
	${realm} = {
		kdc = ${this.address}:88
	}
`;
  }
}

function succeeded(result: CommandResult, what: string): void {
  if (result.code !== 0)
    throw new Error(`${what} failed (${result.code}):\n${result.stdout}${result.stderr}`);
}

function isOpen(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    socket.once("connect", () => resolve(true));
    socket.once("error", () => resolve(false));
    socket.once("close", () => socket.destroy());
    socket.once("connect", () => socket.destroy());
  });
}

/** The authority of a controller's certificate, PEM. */
export function authorityOf(controller: DomainController): string {
  return readFileSync(controller.authorityFile, "utf8");
}
