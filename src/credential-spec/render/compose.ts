/**
 * A spec for Docker Compose, which reads `credential_spec` and ignores it: only `security_opt` reaches the engine.
 * @module
 */
import { isMap, isSeq, parseDocument, stringify, type YAMLMap } from "yaml";
import { hostNameWarning, rawSecurityOption, type NamedSpec, type Rendering } from "./rendering.ts";

/** Compose replaces `$name` and `${name}`; `$$` stands for one `$`. */
function escapeInterpolation(text: string): string {
  return text.replaceAll("$", "$$$$");
}

/** The fragment of a Compose file that gives one service the spec by value. */
export function renderCompose(
  { spec }: NamedSpec,
  options: { readonly service: string; readonly image: string },
): Rendering {
  const option = escapeInterpolation(rawSecurityOption(spec));
  return {
    text: stringify(
      { services: { [options.service]: { image: options.image, security_opt: [option] } } },
      { lineWidth: 0 },
    ),
    warnings: [rawIsInFile, hostNameWarning],
  };
}

const rawIsInFile = "The whole credential spec stands in the file and in `docker inspect`.";

export type ComposeRewriting =
  | ({ readonly ok: true } & Rendering)
  | { readonly ok: false; readonly problems: readonly string[] };

/**
 * A Compose file whose `credential_spec` keys are turned into the `security_opt` that works; everything else, comments
 * included, stays. `config:` is looked up among `specs` by the key, then by the config's `name:`.
 */
export function rewriteCompose(text: string, specs: ReadonlyMap<string, NamedSpec>): ComposeRewriting {
  const document = parseDocument(text);
  const [error] = document.errors;
  if (error !== undefined) return { ok: false, problems: [error.message.split("\n")[0] ?? "cannot be read"] };
  const services: unknown = document.get("services");
  if (!isMap(services)) return { ok: false, problems: ["the file has no services"] };
  const problems: string[] = [];
  const warnings: string[] = [];
  for (const pair of services.items) {
    const service = pair.value;
    if (!isMap(service)) continue;
    rewriteService({
      label: String(pair.key),
      service,
      resolve: (key) => specs.get(key) ?? specs.get(String(document.getIn(["configs", key, "name"]))),
      problem: (problem) => problems.push(problem),
      warn: (warning) => warnings.push(warning),
    });
  }
  if (problems.length > 0) return { ok: false, problems };
  return { ok: true, text: document.toString({ lineWidth: 0 }), warnings: [...new Set(warnings)] };
}

interface ServiceRewriting {
  readonly label: string;
  readonly service: YAMLMap;
  readonly resolve: (configKey: string) => NamedSpec | undefined;
  readonly problem: (text: string) => void;
  readonly warn: (text: string) => void;
}

function rewriteService({ label, service, resolve, problem, warn }: ServiceRewriting): void {
  const old = service.get("credential_spec");
  if (!isMap(old)) return;
  const sources = ["config", "file", "registry"].filter((key) => old.has(key));
  const [source] = sources;
  if (source === undefined || sources.length > 1) {
    problem(`service ${label}: credential_spec needs exactly one of config, file, registry`);
    return;
  }
  const value = String(old.get(source));
  const option = securityOption(source, value, label);
  if (option === undefined) return;
  const existing = service.get("security_opt");
  const kept = isSeq(existing) ? (existing.toJSON() as readonly unknown[]).map(String) : [];
  if (kept.some((one) => one.toLowerCase().startsWith("credentialspec"))) {
    problem(
      `service ${label}: security_opt names a credential spec already, and the engine would take the last one`,
    );
    return;
  }
  service.delete("credential_spec");
  service.set("security_opt", [...kept, escapeInterpolation(option)]);
  warn(hostNameWarning);

  function securityOption(from: string, target: string, name: string): string | undefined {
    if (from === "registry") return `credentialspec=registry://${target.replace(/^registry:\/\//i, "")}`;
    if (from === "file") {
      const path = target.replace(/^file:\/\//i, "");
      if (path !== target) warn(`service ${name}: "file://" inside \`file:\` was removed`);
      if (/^([a-z]:)?[\\/]/i.test(path)) {
        problem(
          `service ${name}: the engine refuses an absolute path; ${path} must lie under its CredentialSpecs folder`,
        );
        return undefined;
      }
      return `credentialspec=file://${path}`;
    }
    const found = resolve(target);
    if (found === undefined) {
      problem(`service ${name}: no credential spec is named ${target}`);
      return undefined;
    }
    warn(rawIsInFile);
    return rawSecurityOption(found.spec);
  }
}
