/**
 * The pages, rendered on the server: plain forms, no script. Every value is escaped where it is put in.
 * @module
 */
import type { Caller } from "./rate-limits.ts";
import type { StaffSession } from "./staff-sessions.ts";

/** Markup that is already safe. */
class Html {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

type Part = string | number | Html | readonly Html[];

/** A template whose values are escaped. */
function html(strings: TemplateStringsArray, ...parts: readonly Part[]): Html {
  return new Html(
    strings.map((text, index) => text + (index < parts.length ? escaped(parts[index] ?? "") : "")).join(""),
  );
}

function escaped(part: Part): string {
  if (part instanceof Html) return part.text;
  if (typeof part === "object") return part.map(({ text }) => text).join("");
  return String(part).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

export const styleSheet = `
:root { color-scheme: light dark; --edge: #8886; --accent: #0b57d0; --on-accent: #fff; --bad: #b3261e; --good: #146c2e; }
@media (prefers-color-scheme: dark) { :root { --accent: #a8c7fa; --on-accent: #062e6f; --bad: #f2b8b5; --good: #9bd5a5; } }
* { box-sizing: border-box; }
body { font: 1rem/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 48rem; padding: 1rem; }
header { align-items: baseline; border-bottom: 1px solid var(--edge); display: flex; flex-wrap: wrap; gap: .5rem 1.5rem; justify-content: space-between; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; } th, td { border-bottom: 1px solid var(--edge); padding: .5rem; overflow-wrap: anywhere; text-align: left; vertical-align: middle; }
label { display: block; font-weight: 600; margin-top: 1rem; }
input { border: 1px solid; border-radius: .3rem; font: inherit; max-width: 100%; padding: .45rem .6rem; }
td input { width: 7rem; } main > form input { width: 22rem; }
button { background: var(--accent); border: 0; border-radius: .3rem; color: var(--on-accent); cursor: pointer; font: inherit; padding: .5rem 1rem; }
main > form button { margin-top: 1.2rem; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
[role=alert] { border-left: .3rem solid var(--bad); color: var(--bad); padding-left: .8rem; }
[role=status] { border-left: .3rem solid var(--good); color: var(--good); padding-left: .8rem; }
.visually-hidden { clip-path: inset(50%); height: 1px; overflow: hidden; position: absolute; white-space: nowrap; width: 1px; }
`;

function page(title: string, body: Html): string {
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>${title} · Rate limits</title>
        <link rel="stylesheet" href="/style.css" />
      </head>
      <body>
        ${body}
      </body>
    </html> `.text;
}

export interface Notice {
  readonly kind: "alert" | "status";
  readonly text: string;
}

function noticeOf(notice: Notice | undefined): Html {
  return notice === undefined ? html`` : html`<p role="${notice.kind}" id="notice">${notice.text}</p>`;
}

export function signInPage(notice?: Notice, name = ""): string {
  const described = notice === undefined ? html`` : html` aria-describedby="notice"`;
  return page(
    "Sign in",
    html`<main>
      <h1>Sign in</h1>
      ${noticeOf(notice)}
      <form method="post" action="/sign-in">
        <label for="name">User name</label>
        <input
          id="name"
          name="name"
          value="${name}"
          autocomplete="username"
          autocapitalize="none"
          spellcheck="false"
          required${described}
        />
        <label for="password">Password</label>
        <input
          id="password"
          name="password"
          type="password"
          autocomplete="current-password"
          required${described}
        />
        <br /><button>Sign in</button>
      </form>
    </main>`,
  );
}

export interface Change {
  /** ISO 8601. */
  readonly at: string;
  readonly who: string;
  readonly caller: string;
  readonly before: number;
  readonly after: number;
}

export function limitsPage(
  session: StaffSession,
  callers: readonly Caller[],
  changes: readonly Change[],
  notice?: Notice,
): string {
  const { person, formToken, mayEdit } = session;
  const rows = callers.map(({ name, limit }, index) => {
    const value = mayEdit
      ? html`<form method="post" action="/limits">
          <input type="hidden" name="form" value="${formToken}" /><input
            type="hidden"
            name="caller"
            value="${name}"
          />
          <label class="visually-hidden" for="limit-${index}">Requests a minute for ${name}</label>
          <input
            id="limit-${index}"
            name="limit"
            type="number"
            inputmode="numeric"
            min="0"
            max="100000"
            value="${limit}"
            required
          />
          <button>Save<span class="visually-hidden"> limit for ${name}</span></button>
        </form>`
      : html`${limit}`;
    return html`<tr>
      <th scope="row">${name}</th>
      <td>${value}</td>
    </tr> `;
  });
  const history = changes.map(
    ({ at, who, caller, before, after }) =>
      html`<tr>
        <td><time datetime="${at}">${at.slice(0, 19).replace("T", " ")}</time></td>
        <td>${who}</td>
        <td>${caller}</td>
        <td>${before} → ${after}</td>
      </tr> `,
  );
  return page(
    "Limits",
    html`<header>
        <h1>Rate limits of public callers</h1>
        <form method="post" action="/sign-out">
          <input type="hidden" name="form" value="${formToken}" />
          <span>${person.displayName ?? person.accountName}</span> <button>Sign out</button>
        </form>
      </header>
      <main>
        ${noticeOf(notice)}
        ${mayEdit ? html`` : html`<p>You may look, but not change anything: that takes membership in the editors’ group.</p>`}
        <table>
          <caption class="visually-hidden">
            Limits
          </caption>
          <thead>
            <tr>
              <th scope="col">Caller</th>
              <th scope="col">Requests a minute</th>
            </tr>
          </thead>
          <tbody>
            ${rows}
          </tbody>
        </table>
        <h2>Changes</h2>
        ${
          history.length === 0
            ? html`<p>None yet.</p>`
            : html`<table>
                <caption class="visually-hidden">
                  Changes, the latest first
                </caption>
                <thead>
                  <tr>
                    <th scope="col">When (UTC)</th>
                    <th scope="col">Who</th>
                    <th scope="col">Caller</th>
                    <th scope="col">Limit</th>
                  </tr>
                </thead>
                <tbody>
                  ${history}
                </tbody>
              </table>`
        }
      </main>`,
  );
}
