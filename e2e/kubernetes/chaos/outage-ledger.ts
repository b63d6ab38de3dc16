/**
 * Who was down when, and whether that explains a request that failed: it does when a component that the request needs was
 * down at some moment of it.
 * @module
 */

export type Component = "API server" | "webhook" | "authenticator" | "account provider";

export interface Outage {
  readonly component: Component;
  /** Milliseconds of the monotonic clock. */
  readonly from: number;
  /** Infinity while it lasts. */
  to: number;
}

export interface FailedRequest {
  readonly what: string;
  readonly needs: readonly Component[];
  readonly from: number;
  readonly to: number;
  readonly outcome: string;
}

export class OutageLedger {
  readonly outages: Outage[] = [];
  readonly failures: FailedRequest[] = [];
  #succeeded = 0;

  get succeeded(): number {
    return this.#succeeded;
  }

  /** Runs something that takes a component down and ends when it answers again. */
  async during(component: Component, something: () => Promise<void>): Promise<void> {
    const outage: Outage = { component, from: performance.now(), to: Infinity };
    this.outages.push(outage);
    await something();
    outage.to = performance.now();
  }

  /** Makes one request; `attempt` resolves to undefined when all was well, otherwise to what was seen instead. */
  async request(
    what: string,
    needs: readonly Component[],
    attempt: () => Promise<string | undefined>,
  ): Promise<void> {
    const from = performance.now();
    const outcome = await attempt().catch((thrown: unknown) => String(thrown));
    if (outcome === undefined) this.#succeeded += 1;
    else this.failures.push({ what, needs, from, to: performance.now(), outcome });
  }

  /** The failures that no outage explains, as sentences. */
  unexplained(): readonly string[] {
    return this.failures
      .filter(
        (failure) =>
          !this.outages.some(
            ({ component, from, to }) =>
              failure.needs.includes(component) && from <= failure.to && failure.from <= to,
          ),
      )
      .map(({ what, from, to, outcome }) => {
        const last = this.outages.findLast((outage) => outage.from < from);
        const since =
          last === undefined ? "" : `, ${Math.round(from - last.to)} ms after the ${last.component} was back`;
        return `${what}: ${outcome} (took ${Math.round(to - from)} ms${since})`;
      });
  }
}
