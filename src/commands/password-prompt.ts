/**
 * How a command gets a password: typed at the terminal without being shown, or from standard input. Never from an
 * argument, which every process of the machine can read.
 * @module
 */
import { openSync } from "node:fs";
import { ReadStream, WriteStream } from "node:tty";
import { SallyportError } from "../errors.ts";
import { Secret } from "../secret.ts";

const longestInput = 64 * 1024;

/** The first line of standard input, without its line ending. */
export async function passwordFromStandardInput(
  input: AsyncIterable<Buffer> = process.stdin,
): Promise<Secret> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of input) {
    length += chunk.length;
    if (length > longestInput)
      throw new SallyportError("E_PASSWORD_INPUT", { detail: "standard input holds more than a password" });
    chunks.push(Buffer.from(chunk));
  }
  const text = Buffer.concat(chunks).toString("utf8");
  return new Secret(/^[^\r\n]*/.exec(text)?.[0] ?? "");
}

/**
 * Asks at the controlling terminal, wherever standard input and output lead to (kubectl takes the output).
 * Throws `E_PASSWORD_INPUT` where there is no terminal or the user gives up.
 */
export function askForPassword(question: string): Promise<Secret> {
  return askAtTerminal(question, false).then((answer) => new Secret(answer));
}

/** The same for something that may be seen. */
export function askForName(question: string): Promise<string> {
  return askAtTerminal(question, true);
}

function askAtTerminal(question: string, shown: boolean): Promise<string> {
  let input: ReadStream;
  let output: WriteStream;
  try {
    input = new ReadStream(openSync(process.platform === "win32" ? "CONIN$" : "/dev/tty", "r+"));
    output = new WriteStream(openSync(process.platform === "win32" ? "CONOUT$" : "/dev/tty", "w"));
  } catch {
    return Promise.reject(
      new SallyportError("E_PASSWORD_INPUT", { detail: "there is no terminal to ask at" }),
    );
  }
  return new Promise<string>((resolve, reject) => {
    let typed = "";
    const end = (settle: () => void): void => {
      input.setRawMode(false);
      output.write("\n");
      input.destroy();
      output.destroy();
      settle();
    };
    input.setRawMode(true);
    output.write(question);
    input.setEncoding("utf8");
    input.on("data", (text: string) => {
      for (const character of text) {
        if (character === "\r" || character === "\n") return end(() => resolve(typed));
        if (character === "\u0003" || character === "\u0004") {
          return end(() => reject(new SallyportError("E_PASSWORD_INPUT", { detail: "given up" })));
        }
        if (character === "\u007f" || character === "\b") {
          if (shown && typed !== "") output.write("\b \b");
          typed = typed.replace(/.$/su, "");
        } else if (character >= " " && typed.length < longestInput) {
          typed += character;
          if (shown) output.write(character);
        }
      }
      return undefined;
    });
  });
}
