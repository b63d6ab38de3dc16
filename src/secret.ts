/**
 * A value that must not be printed. Every password, token and private key travels as a `Secret`, so that no log, error,
 * JSON or template string can carry it by accident; `reveal()` is the one place to look for in a review.
 * @module
 */
import { createHash, timingSafeEqual } from "node:crypto";

const placeholder = "[secret]";

/** What `console.log` asks for; `node:util` has the same symbol and takes longer to load than a token takes to sign. */
const inspected = Symbol.for("nodejs.util.inspect.custom");

export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  /** The value itself. Hand it to the one call that needs it; never keep the result. */
  reveal(): string {
    return this.#value;
  }

  /** Number of UTF-16 code units: the only thing about a secret that may be shown. */
  get length(): number {
    return this.#value.length;
  }

  /** Compares in constant time, whatever the lengths. */
  equals(other: Secret): boolean {
    return timingSafeEqual(digest(this.#value), digest(other.#value));
  }

  toString(): string {
    return placeholder;
  }

  toJSON(): string {
    return placeholder;
  }

  [inspected](): string {
    return placeholder;
  }
}

function digest(value: string): Buffer {
  return createHash("sha256").update(value, "utf8").digest();
}

/** The same for octets: a key or a password that is not text. */
export class SecretBytes {
  readonly #bytes: Buffer;

  /** Keeps a copy, so that the caller can wipe its own. */
  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes);
  }

  /** The octets themselves, not a copy: {@link wipe} clears them everywhere they were handed to. */
  reveal(): Buffer {
    return this.#bytes;
  }

  get length(): number {
    return this.#bytes.length;
  }

  /** Compares in constant time, whatever the lengths. */
  equals(other: SecretBytes): boolean {
    const [one, two] = [this.#bytes, other.#bytes].map((bytes) =>
      createHash("sha256").update(bytes).digest(),
    );
    return one !== undefined && two !== undefined && timingSafeEqual(one, two);
  }

  /** Overwrites the octets with zeros. */
  wipe(): void {
    this.#bytes.fill(0);
  }

  toString(): string {
    return placeholder;
  }

  toJSON(): string {
    return placeholder;
  }

  [inspected](): string {
    return placeholder;
  }
}
