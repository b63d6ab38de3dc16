/**
 * Command-line quoting for the shells in which people start containers. A credential spec is full of double quotes, which
 * is exactly what each shell treats differently.
 * @module
 */

export const shells = ["sh", "powershell", "windows-powershell", "cmd"] as const;

/**
 * `sh`: any POSIX shell. `powershell`: PowerShell 7.3 and later. `windows-powershell`: version 5.1, which passes double
 * quotes to programs unescaped. `cmd`: the Windows command prompt.
 */
export type Shell = (typeof shells)[number];

/** Words that no shell changes. */
const plain = /^[A-Za-z0-9_@+:.,/-]+$/;

/** One argument as the shell must read it to hand exactly `argument` to a program. Line breaks cannot be quoted for cmd. */
export function quote(argument: string, shell: Shell): string {
  // `@` and `,` at the start mean something to PowerShell.
  if (plain.test(argument) && !/^[@,]|,/.test(argument)) return argument;
  switch (shell) {
    case "sh":
      return `'${argument.replaceAll("'", "'\\''")}'`;
    case "powershell":
      return powershellLiteral(argument);
    case "windows-powershell":
      return powershellLiteral(escapeForWindowsProgram(argument));
    case "cmd":
      // cmd does not know `\"`, so its own quoting is kept off: each of its special characters gets a caret.
      return `"${escapeForWindowsProgram(argument)}"`.replace(/[()%!^"<>&|]/g, "^$&");
  }
}

/** A command line of these words. */
export function commandLine(words: readonly string[], shell: Shell): string {
  return words.map((word) => quote(word, shell)).join(" ");
}

/** PowerShell takes typographic single quotes for ordinary ones, so each of them is doubled as well. */
function powershellLiteral(text: string): string {
  return `'${text.replace(/['\u2018-\u201b]/g, "$&$&")}'`;
}

/** Backslashes before a double quote, or at the end, are doubled and the quote gets one more (CommandLineToArgvW). */
function escapeForWindowsProgram(text: string): string {
  return text.replace(/(\\*)"/g, '$1$1\\"').replace(/(\\+)$/, "$1$1");
}
