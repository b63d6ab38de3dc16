/**
 * A chain of trust as an operator sees it: links in order, each of which holds or says why it does not.
 * @module
 */

export interface ChainLink {
  /** What is looked at: `port file`, `server certificate`, … */
  readonly link: string;
  readonly holds: boolean;
  /** It could not be looked at: it does not hold, and is not known to be broken. */
  readonly unknown?: true;
  /** What was seen, or what is wrong. Never a secret. */
  readonly detail: string;
  /** For a link that does not hold: what to do about it. */
  readonly remedy?: string;
}

export interface Chain {
  readonly name: string;
  readonly links: readonly ChainLink[];
}

/** Whether a link is broken, and not only unknown. */
export function chainIsBroken(chain: Chain): boolean {
  return chain.links.length === 0 || chain.links.some((link) => !link.holds && link.unknown !== true);
}

export function chainHolds(chain: Chain): boolean {
  return chain.links.length > 0 && chain.links.every((link) => link.holds);
}

/** The chain as text, a line a link; colours only where a person looks at a terminal. */
export function renderChain(chain: Chain, options: { readonly colour: boolean }): string {
  const paint = (code: number, text: string): string =>
    options.colour ? `\u001B[${code}m${text}\u001B[0m` : text;
  const width = Math.max(0, ...chain.links.map((link) => link.link.length));
  const lines = chain.links.flatMap((link) => {
    const mark = link.holds ? paint(32, "✔") : link.unknown === true ? paint(33, "?") : paint(31, "✘");
    const line = `  ${mark} ${link.link.padEnd(width)}  ${link.detail}`;
    return link.holds || link.remedy === undefined
      ? [line]
      : [line, `    ${" ".repeat(width)}  → ${link.remedy}`];
  });
  return `${[chain.name, ...lines].join("\n")}\n`;
}
