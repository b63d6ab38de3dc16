/**
 * Who may use a credential spec where Kubernetes' RBAC does not reach: Swarm lets every client of a manager attach any config
 * to any service, so the spec itself names its services, in an annotation. No annotation: nobody.
 * @module
 */

/** Annotation of a GMSACredentialSpec: patterns of names, separated by commas or white space, `*` for any characters. */
export const useAnnotation = "sallyport.io/use";

export type UseList =
  | { readonly ok: true; allows(name: string): boolean }
  | { readonly ok: false; readonly problem: string };

const longestPattern = 128;

/** Reads the annotation. One pattern that cannot be read spoils the list: nobody is let in by half a rule. */
export function parseUseList(annotation: string | undefined): UseList {
  const patterns = (annotation ?? "").split(/[\s,]+/).filter((pattern) => pattern !== "");
  const broken = patterns.find((one) => !/^[a-zA-Z0-9_.*-]+$/.test(one) || one.length > longestPattern);
  if (broken !== undefined) {
    const shown = JSON.stringify(broken.slice(0, longestPattern));
    return {
      ok: false,
      problem: `the annotation ${useAnnotation} holds ${shown}, which is no pattern of names`,
    };
  }
  return { ok: true, allows: (name) => patterns.some((pattern) => matches(pattern, name)) };
}

/** Case counts, as in the names themselves. Linear: each piece between stars is looked for once. */
function matches(pattern: string, name: string): boolean {
  const [first = "", ...rest] = pattern.split("*");
  const last = rest.pop();
  if (last === undefined) return pattern === name;
  if (!name.startsWith(first)) return false;
  let at = first.length;
  for (const piece of rest) {
    const found = name.indexOf(piece, at);
    if (found < 0) return false;
    at = found + piece.length;
  }
  return name.length - last.length >= at && name.endsWith(last);
}
