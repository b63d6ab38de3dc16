/**
 * Sessions of signed-in staff. Each is confirmed with the directory at least once a minute, so it ends soon after the
 * account is disabled, and when the password changes.
 * @module
 */
import { randomBytes, timingSafeEqual } from "node:crypto";
import type { Directory, Group, Person } from "sallyport";

export interface StaffSession {
  readonly id: string;
  /** In every form of the session's pages. */
  readonly formToken: string;
  readonly person: Person;
  readonly mayEdit: boolean;
}

interface Kept extends StaffSession {
  readonly endsAt: number;
  confirmedAt: number;
}

export interface StaffSessionsOptions {
  readonly directory: Pick<Directory, "refresh">;
  readonly isEditor: (groups: readonly Group[]) => boolean;
  readonly now: () => number;
  /** Milliseconds; default: a minute. */
  readonly confirmEvery?: number;
}

const lifetime = 8 * 3_600_000;
const mostSessions = 10_000;

export class StaffSessions {
  readonly #options: StaffSessionsOptions;
  readonly #sessions = new Map<string, Kept>();

  constructor(options: StaffSessionsOptions) {
    this.#options = options;
  }

  /** A new session, with a name that nobody could have set beforehand. */
  begin(person: Person, groups: readonly Group[]): StaffSession {
    const now = this.#options.now();
    const session: Kept = {
      id: randomBytes(32).toString("base64url"),
      formToken: randomBytes(32).toString("base64url"),
      person,
      mayEdit: this.#options.isEditor(groups),
      endsAt: now + lifetime,
      confirmedAt: now,
    };
    for (const [id, { endsAt }] of this.#sessions) if (endsAt <= now) this.#sessions.delete(id);
    const [oldest] = this.#sessions.keys();
    if (this.#sessions.size >= mostSessions && oldest !== undefined) this.#sessions.delete(oldest);
    this.#sessions.set(session.id, session);
    return session;
  }

  /** The session of this id, if the account is still welcome. A directory that is down ends none, and lets nobody edit. */
  async find(id: string | undefined): Promise<StaffSession | undefined> {
    const session = id === undefined ? undefined : this.#sessions.get(id);
    if (session === undefined) return undefined;
    const now = this.#options.now();
    if (session.endsAt <= now) return this.#drop(session);
    if (now - session.confirmedAt < (this.#options.confirmEvery ?? 60_000)) return session;
    const { guid, passwordSet } = session.person;
    const account = await this.#options.directory.refresh(guid, passwordSet);
    if (account.outcome === "invalid") return this.#drop(session);
    if (account.outcome === "unavailable") return { ...session, mayEdit: false };
    const confirmed: Kept = {
      ...session,
      person: account.person,
      mayEdit: this.#options.isEditor(account.groups),
      confirmedAt: now,
    };
    // Signing out may have come first.
    if (this.#sessions.has(session.id)) this.#sessions.set(session.id, confirmed);
    return confirmed;
  }

  end(session: StaffSession): void {
    this.#sessions.delete(session.id);
  }

  #drop(session: StaffSession): undefined {
    this.#sessions.delete(session.id);
    return undefined;
  }
}

/** Whether a form came from a page of this session. */
export function isOwnForm(session: StaffSession, token: string | null): boolean {
  const [ours, theirs] = [Buffer.from(session.formToken), Buffer.from(token ?? "")];
  return ours.length === theirs.length && timingSafeEqual(ours, theirs);
}
