/**
 * The Dockerfiles say what an image is; whoever has a container engine builds from them, and `npm run images` lays out the
 * same without one. So it reads them, as far as ours go: FROM, ARG, COPY, ENV, LABEL, USER, WORKDIR, ENTRYPOINT. Whatever
 * else is met is an error, never left out.
 * @module
 */

/** A COPY: one layer. */
export interface CopyStep {
  /** Folder of the build context. */
  readonly from: string;
  readonly to: string;
}

export interface Dockerfile {
  readonly from: string;
  readonly copies: readonly CopyStep[];
  readonly environment: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly user: string | undefined;
  readonly workingDirectory: string | undefined;
  readonly entrypoint: readonly string[];
  /** Every instruction as it was written, for the image's history; the ones that make a layer, marked. */
  readonly instructions: readonly { readonly text: string; readonly layer: boolean }[];
}

/**
 * Reads a Dockerfile.
 * @param variables values of the ARGs.
 * @throws {Error} naming the line, when it says what cannot be laid out here.
 */
export function readDockerfile(text: string, variables: Readonly<Record<string, string>>): Dockerfile {
  const escape = /^# *escape *= *([\\`])/im.exec(text)?.[1] ?? "\\";
  const joined = text
    .split("\n")
    .filter((line) => !line.trimStart().startsWith("#"))
    .join("\n")
    .replaceAll(`${escape}\n`, " ");
  let from: string | undefined;
  const copies: CopyStep[] = [];
  const environment: string[] = [];
  const labels: Record<string, string> = {};
  let user: string | undefined;
  let workingDirectory: string | undefined;
  let entrypoint: readonly string[] = [];
  const instructions: { text: string; layer: boolean }[] = [];
  const given: Record<string, string> = {};

  for (const line of joined.split("\n").map((each) => each.trim())) {
    if (line === "") continue;
    const [, word = "", rest = ""] = /^([A-Z]+) +(.+)$/.exec(line) ?? [];
    const value = rest.replaceAll(/\$\{([A-Z_]+)\}/g, (_, name: string) => {
      const found = given[name];
      if (found === undefined) throw new Error(`Dockerfile: ${name} is no ARG: ${line}`);
      return found;
    });
    switch (word) {
      case "FROM":
        if (from !== undefined) throw new Error(`Dockerfile: a second FROM: ${line}`);
        from = value;
        break;
      case "ARG": {
        const [name = "", preset] = value.split("=", 2);
        const set = variables[name] ?? preset;
        if (set === undefined) throw new Error(`Dockerfile: no value for ${line}`);
        given[name] = set;
        break;
      }
      case "COPY": {
        const [source, target, ...more] = value.split(/ +/);
        if (source === undefined || target === undefined || more.length > 0 || source.startsWith("-"))
          throw new Error(`Dockerfile: COPY of one folder to another is all that is read: ${line}`);
        copies.push({ from: source.replace(/\/$/, ""), to: target });
        break;
      }
      case "ENV":
        for (const [name, content] of pairs(value, line)) environment.push(`${name}=${content}`);
        break;
      case "LABEL":
        for (const [name, content] of pairs(value, line)) labels[name] = content;
        break;
      case "USER":
        user = value;
        break;
      case "WORKDIR":
        workingDirectory = value;
        break;
      case "ENTRYPOINT":
        entrypoint = JSON.parse(value) as readonly string[];
        break;
      default:
        throw new Error(`Dockerfile: this is not read here: ${line}`);
    }
    if (word !== "FROM" && word !== "ARG")
      instructions.push({ text: `${word} ${value}`, layer: word === "COPY" });
  }
  if (from === undefined) throw new Error("Dockerfile: no FROM");
  return { from, copies, environment, labels, user, workingDirectory, entrypoint, instructions };
}

/** `name="value" …`, the only form that ENV and LABEL have here. */
function pairs(value: string, line: string): readonly (readonly [string, string])[] {
  const found = [...value.matchAll(/([\w.-]+)="([^"]*)"(?: +|$)/g)];
  if (found.length === 0 || found.map(([whole]) => whole).join("") !== value)
    throw new Error(`Dockerfile: name="value" is all that is read: ${line}`);
  return found.map(([, name = "", content = ""]) => [name, content] as const);
}
