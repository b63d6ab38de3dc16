import assert from "node:assert/strict";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import * as fc from "fast-check";
import { alice, account, developers, root } from "../../../../test/fakes/ram.ts";
import { systemClock } from "../../../clock.ts";
import { SallyportError } from "../../../errors.ts";
import { silentLog } from "../../../observe/log.ts";
import { Secret } from "../../../secret.ts";
import { startStsSimulator, type StsSimulator } from "../sts-simulator.ts";
import { assumeRole } from "./assume-role.ts";
import type { CredentialContext } from "./context.ts";
import { createCredentialCache, noCache } from "./credential-cache.ts";
import { findCredentials, type ChainOptions } from "./credential-chain.ts";
import { parseIni } from "./credential-files.ts";
import type { Credentials } from "./credentials.ts";

let sts: StsSimulator;
let machine: Server;
let machineOrigin: string;
/** What the machine's own services answer to `METHOD path`, and what they were asked. */
let answers: Record<string, { status?: number; body?: string; date?: string }> = {};
let asked: { readonly what: string; readonly headers: IncomingMessage["headers"] }[] = [];
let home: string;

const hour = 3_600_000;
const oidcToken = "eyJ.pod.token";

before(async () => {
  sts = await startStsSimulator({
    accessKeys: [alice, root],
    roles: [developers],
    oidcTokens: [new Secret(oidcToken)],
    clock: systemClock,
    log: silentLog,
  });
  machine = createServer((request: IncomingMessage, response: ServerResponse) => {
    const what = `${request.method} ${request.url}`;
    asked.push({ what, headers: request.headers });
    const { status = 200, body = "", date } = answers[what] ?? { status: 404 };
    response.writeHead(status, date === undefined ? {} : { date }).end(body);
  });
  await new Promise<void>((resolve) => machine.listen(0, "127.0.0.1", resolve));
  machineOrigin = `http://127.0.0.1:${(machine.address() as AddressInfo).port}`;
});

after(async () => {
  await sts.stop();
  machine.close();
});

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "sallyport-credentials-"));
  answers = {};
  asked = [];
});

afterEach(() => rm(home, { recursive: true, force: true }));

function context(
  environment: Record<string, string> = {},
  changed: Partial<CredentialContext> = {},
): CredentialContext {
  return {
    environment: { ALIBABA_CLOUD_IMDS_ENDPOINT: machineOrigin, ...environment },
    home,
    clock: systemClock,
    cache: noCache,
    stsEndpoint: sts.origin,
    stsAuthoritiesPem: sts.authoritiesPem,
    ...changed,
  };
}

function issued(id: string, changed: object = {}): string {
  return JSON.stringify({
    AccessKeyId: id,
    AccessKeySecret: "s",
    SecurityToken: "t",
    Expiration: new Date(Date.now() + 6 * hour).toISOString(),
    Code: "Success",
    ...changed,
  });
}

const find = async (asking: CredentialContext, options: ChainOptions = {}): Promise<Credentials> =>
  (await findCredentials(asking, options)).credentials;

async function put(path: string, content: unknown): Promise<string> {
  const file = join(home, path);
  await mkdir(join(file, ".."), { recursive: true });
  await writeFile(file, typeof content === "string" ? content : JSON.stringify(content));
  return file;
}

const profiles = (...list: readonly object[]): object => ({
  current: "default",
  profiles: list.map((profile, at) => ({ name: at === 0 ? "default" : `p${at}`, ...profile })),
});

const key = { access_key_id: alice.accessKeyId, access_key_secret: alice.accessKeySecret.reveal() };
const roleFields = { ram_role_arn: developers.arn, ram_session_name: "alice@corp" };

async function rejection(promise: Promise<unknown>): Promise<SallyportError> {
  const error: unknown = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof SallyportError, `no error of ours: ${String(error)}`);
  return error;
}

describe("the environment", () => {
  const aliases: readonly (readonly [id: string, secret: string, token: string])[] = [
    ["ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET", "ALIBABA_CLOUD_SECURITY_TOKEN"],
    ["ALICLOUD_ACCESS_KEY", "ALICLOUD_SECRET_KEY", "ALICLOUD_ACCESS_KEY_STS_TOKEN"],
    ["ALIBABACLOUD_ACCESS_KEY_ID", "ALIBABACLOUD_ACCESS_KEY_SECRET", "ALIBABACLOUD_SECURITY_TOKEN"],
    ["ALICLOUD_ACCESS_KEY_ID", "ALICLOUD_ACCESS_KEY_SECRET", "ALICLOUD_SECURITY_TOKEN"],
    ["ACCESS_KEY_ID", "ACCESS_KEY_SECRET", "SECURITY_TOKEN"],
  ];
  for (const [id, secret, token] of aliases) {
    test(`gives an access key as ${id}, with ${token} a temporary one`, async () => {
      const plain = await find(context({ [id]: "id", [secret]: "secret" }));
      assert.equal(plain.accessKeyId, "id");
      assert.equal(plain.accessKeySecret.reveal(), "secret");
      assert.equal(plain.securityToken, undefined);

      const temporary = await find(context({ [id]: "id", [secret]: "secret", [token]: "token" }));
      assert.equal(temporary.securityToken?.reveal(), "token");
    });
  }

  test("a variable that is empty counts as not set", async () => {
    const found = await find(
      context({ ALIBABA_CLOUD_ACCESS_KEY_ID: "", ACCESS_KEY_ID: "id", ACCESS_KEY_SECRET: "s" }),
    );
    assert.equal(found.accessKeyId, "id");
  });

  test("a role in it is assumed with its access key", async () => {
    const found = await find(
      context({
        ACCESS_KEY_ID: alice.accessKeyId,
        ACCESS_KEY_SECRET: alice.accessKeySecret.reveal(),
        ALIBABA_CLOUD_ROLE_ARN: developers.arn,
      }),
    );
    assert.match(found.accessKeyId, /^STS\./);
    assert.ok((found.expiresAt ?? 0) > Date.now());
  });

  test("OIDC in it comes before its access key, and the token file is read", async () => {
    const tokenFile = await put("token", `${oidcToken}\n`);
    const environment = {
      ACCESS_KEY_ID: "id",
      ACCESS_KEY_SECRET: "s",
      ALIBABA_CLOUD_ROLE_ARN: developers.arn,
      ALIBABA_CLOUD_OIDC_PROVIDER_ARN: `acs:ram::${account}:oidc-provider/ack`,
      ALIBABA_CLOUD_OIDC_TOKEN_FILE: tokenFile,
    };
    assert.match((await find(context(environment))).accessKeyId, /^STS\./);

    await writeFile(tokenFile, "other");
    const error = await rejection(find(context(environment)));
    assert.equal(error.code, "E_RAM_CREDENTIALS");
    assert.match(error.message, /AuthenticationFail\.OIDCToken\.Invalid/);
  });

  test("a credential URI in it is asked", async () => {
    answers["GET /creds"] = { body: issued("STS.uri") };
    const found = await find(context({ ALIBABA_CLOUD_CREDENTIALS_URI: `${machineOrigin}/creds` }));
    assert.equal(found.accessKeyId, "STS.uri");
  });

  test("an instance role in it is asked for at the metadata service", async () => {
    answers["PUT /latest/api/token"] = { body: "session" };
    answers["GET /latest/meta-data/ram/security-credentials/named"] = { body: issued("STS.named") };
    const found = await find(context({ ALIBABA_CLOUD_ECS_METADATA: "named" }));
    assert.equal(found.accessKeyId, "STS.named");
  });

  test("a credential file in it is read, and has to be there", async () => {
    const path = await put(
      "creds.ini",
      "[default]\ntype = access_key\naccess_key_id = id\naccess_key_secret = s\n",
    );
    assert.equal((await find(context({ ALIBABA_CLOUD_CREDENTIALS_FILE: path }))).accessKeyId, "id");

    const error = await rejection(find(context({ ALIBABA_CLOUD_CREDENTIALS_FILE: join(home, "none") })));
    assert.match(error.message, /none cannot be used/);
  });
});

describe("the CLI's configuration", () => {
  const use = async (...list: readonly object[]): Promise<Credentials> => {
    await put(".aliyun/config.json", profiles(...list));
    return await find(context());
  };

  test("mode AK is an access key", async () => {
    assert.equal((await use({ mode: "AK", ...key })).accessKeyId, alice.accessKeyId);
  });

  test("mode StsToken is a temporary key", async () => {
    const found = await use({ mode: "StsToken", ...key, sts_token: "t" });
    assert.equal(found.securityToken?.reveal(), "t");
  });

  test("mode RamRoleArn assumes the role", async () => {
    assert.match((await use({ mode: "RamRoleArn", ...key, ...roleFields })).accessKeyId, /^STS\./);
  });

  test("mode EcsRamRole asks the metadata service", async () => {
    answers["PUT /latest/api/token"] = { body: "session" };
    answers["GET /latest/meta-data/ram/security-credentials/web"] = { body: issued("STS.web") };
    assert.equal((await use({ mode: "EcsRamRole", ram_role_name: "web" })).accessKeyId, "STS.web");
  });

  test("mode RamRoleArnWithRoleName assumes a role with the instance's", async () => {
    answers["PUT /latest/api/token"] = { body: "session" };
    const instance = await assumeRole(
      { accessKeyId: alice.accessKeyId, accessKeySecret: alice.accessKeySecret },
      { roleArn: developers.arn },
      context(),
    );
    answers["GET /latest/meta-data/ram/security-credentials/web"] = {
      body: issued(instance.accessKeyId, {
        AccessKeySecret: instance.accessKeySecret.reveal(),
        SecurityToken: instance.securityToken?.reveal(),
      }),
    };
    const found = await use({ mode: "RamRoleArnWithRoleName", ram_role_name: "web", ...roleFields });
    assert.match(found.accessKeyId, /^STS\./);
    assert.notEqual(found.accessKeyId, instance.accessKeyId);
  });

  test("mode ChainableRamRoleArn builds on another profile", async () => {
    const found = await use(
      { mode: "ChainableRamRoleArn", source_profile: "p1", ...roleFields },
      { mode: "AK", ...key },
    );
    assert.match(found.accessKeyId, /^STS\./);
  });

  test("source profiles that go in a circle are named", async () => {
    const error = await rejection(
      use(
        { mode: "ChainableRamRoleArn", source_profile: "p1", ...roleFields },
        { mode: "ChainableRamRoleArn", source_profile: "default", ...roleFields },
      ),
    );
    assert.match(error.message, /circle \(default → p1 → default\)/);
  });

  test("mode External runs the command and uses the profile that it prints", async () => {
    const script = await put(
      "print.mjs",
      `process.stdout.write('{"mode":"StsToken","access_key_id":"STS.ext","access_key_secret":"s","sts_token":"t"}')`,
    );
    const found = await use({ mode: "External", process_command: `${process.execPath} ${script}` });
    assert.equal(found.accessKeyId, "STS.ext");
  });

  test("an external command that fails does not show what it printed", async () => {
    const script = await put("fail.mjs", `process.stderr.write('hidden-value'); process.exit(3)`);
    const error = await rejection(
      use({ mode: "External", process_command: `${process.execPath} ${script}` }),
    );
    assert.match(error.message, /process_command: it failed \(3\)/);
    assert.ok(!JSON.stringify(error).includes("hidden-value"));
  });

  test("mode CredentialsURI asks the URI", async () => {
    answers["GET /creds"] = { body: issued("STS.uri") };
    assert.equal(
      (await use({ mode: "CredentialsURI", credentials_uri: `${machineOrigin}/creds` })).accessKeyId,
      "STS.uri",
    );
  });

  test("mode OIDC exchanges the token", async () => {
    const oidc_token_file = await put("token", oidcToken);
    const found = await use({ mode: "OIDC", oidc_provider_arn: "acs:x", oidc_token_file, ...roleFields });
    assert.match(found.accessKeyId, /^STS\./);
  });

  for (const mode of ["CloudSSO", "OAuth"]) {
    test(`mode ${mode} uses a sign-in that lasts, and says how to sign in when it does not`, async () => {
      const signedIn = { mode, ...key, sts_token: "t" };
      const found = await use({ ...signedIn, sts_expiration: Math.floor((Date.now() + hour) / 1000) });
      assert.equal(found.accessKeyId, alice.accessKeyId);

      const error = await rejection(use({ ...signedIn, sts_expiration: 1 }));
      assert.match(error.message, /the sign-in has ended/);
      assert.match(error.remedy, new RegExp(`aliyun configure --mode ${mode} --profile default`));
    });
  }

  test("a mode that cannot be used here is named", async () => {
    assert.match(
      (await rejection(use({ mode: "RsaKeyPair" }))).message,
      /its mode "RsaKeyPair" cannot be used/,
    );
  });

  test("a profile without a field says which one is missing", async () => {
    assert.match((await rejection(use({ mode: "StsToken", ...key }))).message, /sts_token is missing/);
  });

  test("a named profile comes before the environment, and has to be there", async () => {
    await put(".aliyun/config.json", profiles({ mode: "AK" }, { mode: "AK", ...key }));
    const asking = context({ ACCESS_KEY_ID: "env", ACCESS_KEY_SECRET: "s" });

    assert.equal((await find(asking, { profile: "p1" })).accessKeyId, alice.accessKeyId);
    assert.equal((await find(asking)).accessKeyId, "env");
    assert.match((await rejection(find(asking, { profile: "p9" }))).message, /no profile "p9"/);
  });

  test("a file that is not JSON ends the search", async () => {
    await put(".aliyun/config.json", "{broken");
    assert.match((await rejection(find(context()))).message, /not JSON with profiles/);
  });

  test("a file that cannot be read ends the search", async () => {
    await mkdir(join(home, ".aliyun", "config.json"), { recursive: true });
    assert.equal((await rejection(find(context()))).code, "E_RAM_CREDENTIALS");
  });
});

describe("the SDKs' file", () => {
  const use = async (section: string): Promise<Credentials> => {
    await put(".alibabacloud/credentials", `# comment\n[other]\ntype=sts\n[default]\n${section}`);
    return await find(context());
  };
  const secret = alice.accessKeySecret.reveal();
  const keyLines = `access_key_id = "${alice.accessKeyId}"\naccess_key_secret = ${secret}`;

  test("type access_key is an access key", async () => {
    assert.equal((await use(`type = access_key\n${keyLines}`)).accessKeyId, alice.accessKeyId);
  });
  test("type sts is a temporary key", async () => {
    assert.equal((await use(`type=sts\n${keyLines}\nsts_token=t`)).securityToken?.reveal(), "t");
  });
  test("type ram_role_arn assumes the role", async () => {
    const found = await use(
      `type=ram_role_arn\n${keyLines}\nrole_arn=${developers.arn}\nrole_session_name=alice`,
    );
    assert.match(found.accessKeyId, /^STS\./);
  });
  test("type credentials_uri asks the URI", async () => {
    answers["GET /creds"] = { body: issued("STS.uri") };
    assert.equal(
      (await use(`type=credentials_uri\ncredentials_uri=${machineOrigin}/creds`)).accessKeyId,
      "STS.uri",
    );
  });
  test("type ecs_ram_role asks the metadata service", async () => {
    answers["PUT /latest/api/token"] = { status: 404 };
    answers["GET /latest/meta-data/ram/security-credentials/web"] = { body: issued("STS.web") };
    assert.equal((await use("type=ecs_ram_role\nrole_name=web")).accessKeyId, "STS.web");
  });
  test("type external runs the command", async () => {
    const script = await put(
      "print.mjs",
      `process.stdout.write('{"mode":"AK","access_key_id":"ext","access_key_secret":"s"}')`,
    );
    assert.equal(
      (await use(`type=external\nprocess_command=${process.execPath} ${script}`)).accessKeyId,
      "ext",
    );
  });

  test("parsing never throws", () => {
    fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => parseIni(text) instanceof Map));
  });
});

describe("the metadata service", () => {
  test("is asked in its second version, with a session", async () => {
    answers["PUT /latest/api/token"] = { body: "session-1\n" };
    answers["GET /latest/meta-data/ram/security-credentials/"] = { body: "web" };
    answers["GET /latest/meta-data/ram/security-credentials/web"] = { body: issued("STS.web") };

    assert.equal((await find(context())).accessKeyId, "STS.web");
    assert.equal(asked[2]?.headers["x-aliyun-ecs-metadata-token"], "session-1");
  });

  for (const status of [403, 404]) {
    test(`is asked in its first version where the second answers ${status}`, async () => {
      answers["PUT /latest/api/token"] = { status };
      answers["GET /latest/meta-data/ram/security-credentials/"] = { body: "web" };
      answers["GET /latest/meta-data/ram/security-credentials/web"] = { body: issued("STS.web") };

      assert.equal((await find(context())).accessKeyId, "STS.web");
    });
  }

  test("is not asked for a session when that is switched off", async () => {
    answers["GET /latest/meta-data/ram/security-credentials/web"] = { body: issued("STS.web") };
    await find(context({ ALIBABA_CLOUD_ECS_METADATA: "web", ALIBABA_CLOUD_IMDSV2_DISABLED: "true" }));
    assert.deepEqual(
      asked.map((each) => each.what),
      ["GET /latest/meta-data/ram/security-credentials/web"],
    );
  });

  test("that does not answer is given up after a second", async () => {
    const silent = createServer(() => undefined);
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const origin = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
    const began = performance.now();

    const error = await rejection(find(context({ ALIBABA_CLOUD_IMDS_ENDPOINT: origin })));

    assert.ok(performance.now() - began < 3000);
    assert.match(error.message, /the metadata service: no answer within 1000 ms/);
    silent.closeAllConnections();
    silent.close();
  });

  test("whose clock is more than 5 minutes away says so", async () => {
    answers["PUT /latest/api/token"] = { date: new Date(Date.now() + 10 * 60_000).toUTCString() };
    const error = await rejection(find(context()));
    assert.equal(error.code, "E_RAM_CLOCK");
    assert.match(error.message, /clock is 10 minutes behind the clock of 127\.0\.0\.1/);
  });
});

describe("nothing anywhere", () => {
  test("names all that was tried, in order", async () => {
    const error = await rejection(find(context({ ALIBABA_CLOUD_ECS_METADATA_DISABLED: "true" })));

    assert.equal(error.code, "E_RAM_NO_CREDENTIALS");
    const lines = error.message.split("\n").slice(1);
    assert.equal(lines.length, 10);
    assert.match(lines[6] ?? "", /7\. .*\.aliyun\/config\.json: it is not there/);
    assert.match(lines[9] ?? "", /10\. .*\.acs\/credentials: it is not there/);
  });

  test("the file of the first generation comes last", async () => {
    await put(".acs/credentials", {
      AcsAccessKeyId: "old",
      AcsAccessKeySecret: "s",
      AcsAccessSecurityToken: "t",
    });
    const found = await find(context({ ALIBABA_CLOUD_ECS_METADATA_DISABLED: "true" }));
    assert.deepEqual([found.accessKeyId, found.securityToken?.reveal()], ["old", "t"]);
  });
});

describe("credentials that have ended", () => {
  test("are not signed with", async () => {
    const past = new Date(Date.now() - 1000).toISOString();
    answers["GET /creds"] = { body: issued("STS.late", { Expiration: past }) };
    const error = await rejection(find(context({ ALIBABA_CLOUD_CREDENTIALS_URI: `${machineOrigin}/creds` })));
    assert.match(error.message, /they ended at /);
  });
});

describe("assuming a role", () => {
  const base = { accessKeyId: alice.accessKeyId, accessKeySecret: alice.accessKeySecret };

  test("with the root account is refused by STS, and the advice says why", async () => {
    const error = await rejection(
      assumeRole(
        { accessKeyId: root.accessKeyId, accessKeySecret: root.accessKeySecret },
        { roleArn: developers.arn },
        context(),
      ),
    );
    assert.match(error.message, /NoPermission/);
    assert.match(error.remedy, /root account never may/);
  });

  test("with a wrong secret says so", async () => {
    const error = await rejection(
      assumeRole({ ...base, accessKeySecret: new Secret("x") }, { roleArn: developers.arn }, context()),
    );
    assert.match(error.remedy, /secret is not the right one/);
    assert.ok(!JSON.stringify(error).includes(alice.accessKeySecret.reveal()));
  });

  test("is not done over plain HTTP to another machine", async () => {
    const error = await rejection(
      assumeRole(base, { roleArn: developers.arn }, context({}, { stsEndpoint: "http://sts.example" })),
    );
    assert.match(error.message, /no endpoint of STS/);
  });
});

describe("the cache of temporary credentials", () => {
  let warnings: string[];
  const remember = (ms: number, id: string, expiresIn = hour): Promise<Credentials> =>
    createCredentialCache({
      directory: join(home, "cache"),
      clock: systemClock,
      warn: (text) => warnings.push(text),
    }).remember(["k"], ms, () => {
      if (id === "") return Promise.reject(new Error("not now"));
      const expiresAt = Date.now() + expiresIn;
      return Promise.resolve({ accessKeyId: id, accessKeySecret: new Secret("s"), expiresAt });
    });
  const files = (): Promise<string[]> => readdir(join(home, "cache"));

  beforeEach(() => {
    warnings = [];
  });

  test("gives back what was fetched while it lasts, from a file that only its owner may read", async () => {
    assert.equal((await remember(60_000, "one")).accessKeyId, "one");
    assert.equal((await remember(60_000, "two")).accessKeyId, "one");

    const [name = ""] = await files();
    assert.equal((await stat(join(home, "cache", name))).mode & 0o777, 0o600);
    assert.equal((await stat(join(home, "cache"))).mode & 0o777, 0o700);
    assert.deepEqual(await files(), [name]);
  });

  test("fetches again in time, and falls back on what still lasts", async () => {
    await remember(0, "one", 60_000);
    assert.equal((await remember(120_000, "")).accessKeyId, "one");
    assert.equal((await remember(120_000, "two")).accessKeyId, "two");
  });

  test("a file that others can read is refused and left alone", async () => {
    await remember(0, "one");
    const [name = ""] = await files();
    await chmod(join(home, "cache", name), 0o644);

    assert.equal((await remember(0, "two")).accessKeyId, "two");
    assert.match(warnings[0] ?? "", /can be read by others and is not used/);
    assert.match(await readFile(join(home, "cache", name), "utf8"), /"one"/);
  });

  test("a link in its place is not followed", async () => {
    await remember(0, "one");
    const [name = ""] = await files();
    const path = join(home, "cache", name);
    await writeFile(join(home, "target"), await readFile(path), { mode: 0o600 });
    await rm(path);
    await symlink(join(home, "target"), path);

    assert.equal((await remember(0, "two")).accessKeyId, "two");
  });

  test("a broken file is fetched anew", async () => {
    await remember(0, "one");
    const [name = ""] = await files();
    await writeFile(join(home, "cache", name), "{broken");
    assert.equal((await remember(0, "two")).accessKeyId, "two");
  });

  test("many runs at once fetch once", async () => {
    const ids = await Promise.all(["a", "b", "c", "d", "e"].map((id) => remember(0, id)));
    assert.equal(new Set(ids.map((each) => each.accessKeyId)).size, 1);
  });

  test("a role is assumed once for many runs", async () => {
    const cache = createCredentialCache({
      directory: join(home, "cache"),
      clock: systemClock,
      warn: () => undefined,
    });
    const base = { accessKeyId: alice.accessKeyId, accessKeySecret: alice.accessKeySecret };
    const callsSoFar = sts.calls()["AssumeRole"] ?? 0;

    const first = await assumeRole(base, { roleArn: developers.arn }, context({}, { cache }));
    const second = await assumeRole(base, { roleArn: developers.arn }, context({}, { cache }));
    await assumeRole(base, { roleArn: developers.arn, sessionName: "other" }, context({}, { cache }));

    assert.equal(first.accessKeyId, second.accessKeyId);
    assert.equal(sts.calls()["AssumeRole"], callsSoFar + 2);
  });
});
