/**
 * Patterns of role and user names: `*` stands for any characters of one path segment, `?` for one, and the pattern has to
 * match the whole name. Runs in time proportional to the product of the lengths, whatever the pattern.
 * @module
 */

/** Both in lower case. */
export function matchesPattern(pattern: string, name: string): boolean {
  let at = 0;
  let next = 0;
  /** Where to go on after the last `*`, and how far it has reached. */
  let afterStar = -1;
  let reached = 0;
  while (next < name.length) {
    const wanted = pattern[at];
    if (wanted === "*") {
      afterStar = ++at;
      reached = next;
    } else if (wanted === name[next] || (wanted === "?" && name[next] !== "/")) {
      at++;
      next++;
    } else if (afterStar >= 0 && name[reached] !== "/") {
      at = afterStar;
      next = ++reached;
    } else {
      return false;
    }
  }
  while (pattern[at] === "*") at++;
  return at === pattern.length;
}

/** Orders patterns: more literal characters first, then fewer `*`, then by text. */
export function compareSpecificity(a: string, b: string): number {
  return literals(b) - literals(a) || stars(a) - stars(b) || (a < b ? -1 : Number(a > b));
}

function literals(pattern: string): number {
  return pattern.replace(/[*?]/g, "").length;
}

function stars(pattern: string): number {
  return pattern.split("*").length - 1;
}
