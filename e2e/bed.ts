/**
 * What a bed is: real servers that suites run against. Each folder beside this
 * file that holds a `prepare.ts` is one, and each folder inside it that holds
 * `*.test.ts` files is one of its suites; `run.ts` finds both, so a new bed or
 * suite needs no registration.
 * @module
 */

/** What a bed gets to work with while it makes itself ready. */
export interface BedContext {
  /** A folder of this run alone, removed afterwards unless something failed. */
  readonly runDirectory: string;
  /** Where downloads and builds are kept from one run to the next. */
  readonly cacheDirectory: string;
  /** Tells the person at the terminal what is being done. */
  readonly say: (line: string) => void;
}

/** A bed that suites can run on. */
export interface PreparedBed {
  /** Added to the environment of each of the bed's suites. */
  readonly environment: Readonly<Record<string, string>>;
  /** Ends whatever the bed itself started. */
  readonly close: () => Promise<void>;
}

/**
 * What a bed's `prepare.ts` exports under the name `prepare`: obtains the
 * programs the suites need, and starts nothing that a suite may not want.
 * Throws {@link BedUnavailable} where they cannot be had on this machine.
 */
export type Prepare = (context: BedContext) => Promise<PreparedBed>;

/** What a bed's `prepare.ts` exports. */
export interface BedModule {
  readonly prepare: Prepare;
  /** Whether its suites have nothing in common that only one of them may use: then several run at a time. */
  readonly sideBySide?: boolean;
  /** Suites that mostly wait, by name: they run beside the bed's others. */
  readonly longSuites?: readonly string[];
}

/** The machine lacks something; the message is one sentence that says what to install. */
export class BedUnavailable extends Error {
  override readonly name = "BedUnavailable";
}
