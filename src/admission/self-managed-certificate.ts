/**
 * The webhook's certificate without anybody's help: an authority that the replicas share through a Secret, a leaf that
 * each replica makes for itself and keeps in memory, and the `caBundle` by which API servers trust both.
 *
 * Nobody counts replicas. An authority gets a successor after two thirds of its life; the successor signs only once every
 * webhook configuration has shown it for a while; and no leaf outlives its authority. So an authority leaves the bundle
 * when it has ended, and by then no leaf of it can be in use, whatever a replica has missed.
 *
 * Replicas never fight: what is decided upon is read anew, configurations first and the Secret second, and each write
 * holds for the version that was read. Whoever loses a race takes over what the winner wrote.
 * @module
 */
import { delay, type CancelTimer, type Clock } from "../clock.ts";
import { SallyportError, reasonOf } from "../errors.ts";
import type { ClusterClient } from "../kubernetes/cluster-client.ts";
import { secretKind } from "../kubernetes/kinds.ts";
import type { ResourceSource } from "../kubernetes/resource-source.ts";
import type { Log } from "../observe/log.ts";
import { decideAuthorities } from "../pki/authority-chain.ts";
import { createAuthority } from "../pki/authority.ts";
import { createRotation, retryDelay } from "../pki/rotation.ts";
import {
  certificatesIn,
  createAuthoritySecretStore,
  thumbprintsIn,
  trustBundlePem,
  type AuthoritySecret,
  type SecretName,
  type SharedAuthority,
} from "./authority-secret.ts";
import {
  leastLifeMs,
  lifeReadiness,
  type FollowedCertificate,
  type ServingCertificate,
} from "./serving-certificate.ts";
import { followRegistrations, type Registration, type RegistrationNames } from "./webhook-registrations.ts";

export interface SelfManagedOptions {
  readonly secret: SecretName;
  readonly configurations: RegistrationNames;
  /** Names by which API servers call the webhook. */
  readonly dnsNames: readonly string[];
  /** Of one authority, milliseconds; replaced after two thirds. Several times `leafLifetimeMs`. */
  readonly authorityLifetimeMs: number;
  /** Of one leaf, milliseconds; replaced after two thirds. */
  readonly leafLifetimeMs: number;
  /** How long to wait for the API server at the start, milliseconds. */
  readonly patienceMs?: number;
}

export interface SelfManagedPorts {
  readonly source: ResourceSource;
  readonly client: ClusterClient;
  readonly clock: Clock;
  readonly log: Log;
}

interface Leaf extends ServingCertificate {
  readonly notBefore: number;
  /** Of the authority that signed it. */
  readonly signer: string;
}

/** API servers hear of a changed configuration within moments; this is plenty. */
const longestPropagationMs = 60_000;
/** How often everything is looked at although nothing was heard. */
const longestLookMs = 5 * 60_000;
/** Somebody who writes the bundle back again and again must not be answered without a pause. */
const shortestPauseMs = 1_000;
/** Lost races in a row before the next attempt is put off. */
const mostConflicts = 10;

/**
 * Resolves when there is a certificate to serve.
 *
 * @throws {SallyportError} `E_WEBHOOK_AUTHORITY` when there is none within the patience, or the Secret is somebody else's.
 */
export async function createSelfManagedCertificate(
  options: SelfManagedOptions,
  ports: SelfManagedPorts,
  signal?: AbortSignal,
): Promise<FollowedCertificate> {
  const running = new SelfManagedCertificate(options, ports);
  try {
    await running.start(signal);
    return running;
  } catch (error) {
    await running.close();
    throw error;
  }
}

class SelfManagedCertificate implements FollowedCertificate {
  readonly #options: SelfManagedOptions;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #store: ReturnType<typeof createAuthoritySecretStore>;
  readonly #registrations: ReturnType<typeof followRegistrations>;
  readonly #secretChanges: { close(): Promise<void> };
  readonly #rotation: ReturnType<typeof createRotation<Leaf>>;
  readonly #listeners: ((certificate: ServingCertificate) => void)[] = [];
  /** What API servers are to trust, as last read or written. */
  #authorities: readonly SharedAuthority[] = [];
  /** Since when every configuration has shown an authority. */
  readonly #shownSince = new Map<string, number>();
  /** The bundle that was last written, or seen to be right, by configuration. */
  readonly #settled = new Map<string, string>();
  /** Since when some configuration has lacked the signer of the leaf; `undefined` while all show it. */
  #missingSince: number | undefined = Number.NEGATIVE_INFINITY;
  #leaf: Leaf | undefined;
  #fault: string | undefined;
  /** Why the leaf could not be renewed. */
  #leafFault: string | undefined;
  /** Somebody else's type of Secret. */
  #foreign: string | undefined;
  #failures = 0;
  #lookedAt = Number.NEGATIVE_INFINITY;
  readonly #stopping = new AbortController();
  readonly #started = new AbortController();
  #cancel: CancelTimer = () => undefined;
  #underWay: Promise<void> | undefined;
  #again = false;
  #lostRace = false;

  constructor(options: SelfManagedOptions, ports: SelfManagedPorts) {
    const { clock, log, source } = ports;
    this.#options = options;
    this.#clock = clock;
    this.#log = log;
    this.#store = createAuthoritySecretStore(options.secret, ports);
    this.#registrations = followRegistrations(options.configurations, ports);
    // The watch only says that something changed: no key stays in a cache, and what counts is read anew.
    const secret = source.watch({
      kind: secretKind,
      ...options.secret,
      parse: ({ metadata }) => ({ ok: true, value: metadata.resourceVersion }),
    });
    secret.onChange(() => this.#hear());
    this.#secretChanges = secret;
    this.#registrations.onChange(() => {
      this.#noteSigner();
      this.#hear();
    });
    this.#rotation = createRotation<Leaf>({
      clock,
      issue: () => this.#issue(),
      onRotated: (leaf) => this.#use(leaf),
      onFailure: (error) => {
        this.#leafFault = `no new certificate: ${reasonOf(error)}`;
        log.warn("admission.certificate-kept", { reason: this.#leafFault });
      },
    });
  }

  async start(signal?: AbortSignal): Promise<void> {
    const { secret, patienceMs = 60_000 } = this.#options;
    const end = this.#clock.now() + patienceMs;
    // An API server that never answers holds no request longer than the process is to live.
    signal?.addEventListener("abort", () => this.#stopping.abort(signal.reason), {
      signal: this.#started.signal,
    });
    // What the configurations hold is worth a moment, not the start.
    await Promise.race([this.#registrations.synced(signal), delay(this.#clock, 5_000, signal)]).catch(
      () => undefined,
    );
    for (let failures = 1; ; failures++) {
      await this.#reconcile();
      if (this.#leaf !== undefined) {
        this.#started.abort();
        return;
      }
      signal?.throwIfAborted();
      if (this.#clock.now() >= end || this.#foreign !== undefined) {
        throw new SallyportError("E_WEBHOOK_AUTHORITY", {
          secret: `${secret.namespace}/${secret.name}`,
          detail: this.#fault ?? "no certificate could be made",
        });
      }
      await delay(this.#clock, retryDelay(failures), signal);
    }
  }

  current(): ServingCertificate {
    if (this.#leaf === undefined) throw new TypeError("there is no certificate before the start");
    return this.#leaf;
  }

  readiness(): ReturnType<FollowedCertificate["readiness"]> {
    const fault = this.#leafFault ?? this.#fault;
    const life = lifeReadiness(this.current().notAfter - this.#clock.now(), fault, this.#leastLifeMs());
    const since = this.#missingSince;
    // A change is put right within moments: nobody has to be turned away for that long.
    if (!life.ready || since === undefined || this.#clock.now() - since <= this.#propagationMs()) return life;
    const reason = this.#registrations.unread()[0] ?? "the webhook configurations do not hold its authority";
    return { ready: false, reason: fault === undefined || fault === reason ? reason : `${reason}; ${fault}` };
  }

  onChange(listener: (certificate: ServingCertificate) => void): void {
    this.#listeners.push(listener);
  }

  async close(): Promise<void> {
    this.#stopping.abort(new Error("stopping"));
    this.#cancel();
    this.#rotation.stop();
    await Promise.all([this.#registrations.close(), this.#secretChanges.close()]);
    await this.#underWay;
  }

  /** A leaf that is renewed in time never gets here, however short its life. */
  #leastLifeMs(): number {
    return Math.min(leastLifeMs, this.#options.leafLifetimeMs / 6);
  }

  #propagationMs(): number {
    return Math.min(longestPropagationMs, this.#options.leafLifetimeMs / 6);
  }

  /** Something changed: look soon, once, however much is heard meanwhile. */
  #hear(): void {
    if (this.#underWay !== undefined) this.#again = true;
    else if (this.#leaf !== undefined) this.#plan(this.#soonMs());
  }

  #soonMs(): number {
    const pause = Math.min(shortestPauseMs, this.#lookMs());
    return Math.max(this.#lookedAt + pause - this.#clock.now(), 0);
  }

  #lookMs(): number {
    return Math.min(longestLookMs, this.#options.leafLifetimeMs / 12);
  }

  #plan(milliseconds: number): void {
    this.#cancel();
    if (!this.#stopping.signal.aborted)
      this.#cancel = this.#clock.after(milliseconds, () => void this.#reconcile());
  }

  #reconcile(): Promise<void> {
    if (this.#underWay !== undefined) return this.#underWay;
    this.#cancel();
    this.#again = false;
    this.#lostRace = false;
    this.#lookedAt = this.#clock.now();
    this.#underWay = this.#look()
      .then(
        () => {
          this.#failures = 0;
          this.#plan(this.#again ? this.#soonMs() : this.#lookMs());
        },
        (error: unknown) => {
          this.#fail(reasonOf(error));
          const wait = Math.min(retryDelay(++this.#failures), this.#lookMs());
          // What is heard with the API server away says nothing new; a lost race does.
          this.#plan(this.#lostRace ? this.#soonMs() : wait);
        },
      )
      .finally(() => (this.#underWay = undefined));
    return this.#underWay;
  }

  async #look(): Promise<void> {
    const problems: string[] = [];
    const registrations = await this.#agree().catch((error: unknown) => {
      problems.push(reasonOf(error));
      return undefined;
    });
    if (this.#stopping.signal.aborted) return;
    this.#noteShown();
    if (registrations !== undefined) await this.#renewLeafIfDue();
    const wanted = registrations === undefined ? this.#additions() : this.#bundlesOf(registrations);
    for (const [registration, bundle] of wanted) {
      const problem = await this.#publish(registration, bundle).catch(reasonOf);
      if (problem !== undefined) problems.push(problem);
    }
    const [problem] = [...problems, ...this.#registrations.unread()];
    if (problem !== undefined) throw new Error(problem);
    this.#fault = undefined;
  }

  #bundlesOf(registrations: readonly Registration[]): readonly (readonly [Registration, string])[] {
    const bundle = Buffer.from(trustBundlePem(this.#authorities), "utf8").toString("base64");
    return registrations.map((registration) => [registration, bundle]);
  }

  /**
   * What has to be added to the configurations while nobody knows what the Secret should hold: API servers have to go on
   * believing what is served. Other replicas may know more, so nothing is taken away.
   */
  #additions(): readonly (readonly [Registration, string])[] {
    const signer = this.#leaf?.signer;
    if (signer === undefined) return [];
    const own = this.#authorities
      .filter((one) => one.trustedUntil > this.#clock.now())
      .map((one) => [one.thumbprint, one.certificatePem] as const);
    return this.#registrations.seen().flatMap((registration) => {
      const shown = registration.bundles.map((bundle) =>
        certificatesIn(Buffer.from(bundle, "base64").toString("latin1")),
      );
      if (shown.every((certificates) => certificates.has(signer))) return [];
      const all = new Map([...shown.flatMap((certificates) => [...certificates]), ...own]);
      return [[registration, Buffer.from([...all.values()].join(""), "utf8").toString("base64")]];
    });
  }

  /** Brings the Secret to what it has to hold and takes that over. @returns the configurations as seen before that. */
  async #agree(): Promise<readonly Registration[]> {
    for (let attempt = 1; attempt <= mostConflicts; attempt++) {
      // In this order: a bundle that was written from a later Secret belongs to a later configuration, which the write
      // below would not replace.
      const registrations = this.#registrations.seen();
      const held = await this.#store.read(this.#stopping.signal);
      this.#foreign = held.state === "foreign" ? held.type : undefined;
      if (held.state === "foreign") {
        throw new Error(`the Secret is of type ${held.type} and not ours to write`);
      }
      const plan = await this.#plannedFor(held);
      if (plan === undefined) {
        this.#authorities = held.state === "held" ? held.authorities : [];
        return registrations;
      }
      const over = held.state === "absent" ? undefined : held.metadata;
      if ((await this.#store.write(plan.authorities, over, this.#stopping.signal)) === "written") {
        for (const say of plan.say) say();
      }
    }
    throw new Error("other replicas changed the Secret again and again");
  }

  /** What the Secret has to hold instead of what it holds; `undefined` when it is right. */
  async #plannedFor(held: Exclude<AuthoritySecret, { readonly state: "foreign" }>): Promise<
    | {
        readonly authorities: readonly SharedAuthority[];
        readonly say: readonly (() => void)[];
      }
    | undefined
  > {
    const now = this.#clock.now();
    const secret = `${this.#options.secret.namespace}/${this.#options.secret.name}`;
    if (held.state !== "held") {
      const fresh = await this.#makeAuthority();
      const before = this.#authorities
        .filter((one) => one.trustedUntil > now)
        .map((one) => this.#trustOnly(one));
      const lost = before.length > 0 || held.state === "broken";
      return {
        authorities: [...before, fresh],
        say: [
          () =>
            lost
              ? this.#log.warn("admission.authority-regenerated", {
                  secret,
                  authority: fresh.thumbprint,
                  reason: held.state === "broken" ? held.problem : `the Secret is ${held.state}`,
                })
              : this.#log.info("admission.authority-created", { secret, authority: fresh.thumbprint }),
        ],
      };
    }
    const say: (() => void)[] = [];
    const signing = held.authorities.filter((one) => one.signing !== undefined);
    const decision = decideAuthorities(
      signing.map((one) => this.#stateOf(one)),
      this.#presentSigner(signing),
      now,
    );
    const ended = [
      ...decision.drop.flatMap((at) => signing[at] ?? []),
      ...held.authorities.filter((one) => one.signing === undefined && one.trustedUntil <= now),
    ];
    const added: SharedAuthority[] = [];
    // A replica that met no Secret made one: what this replica still serves has to stay trusted.
    const own = this.#authorities.find((one) => one.thumbprint === this.#leaf?.signer);
    if (
      own !== undefined &&
      own.trustedUntil > now &&
      !held.authorities.some((one) => one.thumbprint === own.thumbprint)
    ) {
      added.push(this.#trustOnly(own));
    }
    if (decision.create) {
      const fresh = await this.#makeAuthority();
      added.push(fresh);
      say.push(() => this.#log.info("admission.authority-created", { secret, authority: fresh.thumbprint }));
    }
    if (ended.length === 0 && added.length === 0) return undefined;
    for (const { thumbprint } of ended)
      say.push(() => this.#log.info("admission.authority-ended", { secret, authority: thumbprint }));
    return { authorities: [...held.authorities.filter((one) => !ended.includes(one)), ...added], say };
  }

  #stateOf(authority: SharedAuthority): Parameters<typeof decideAuthorities>[0][number] {
    const { notAfter, notBefore, since, thumbprint } = authority;
    const published = this.#isSettled(thumbprint);
    // Of another replica's leaves nobody knows; none outlives its authority.
    return { since, notBefore, notAfter, published, lastLeafNotAfter: notAfter };
  }

  #isSettled(thumbprint: string): boolean {
    const since = this.#shownSince.get(thumbprint);
    return since !== undefined && since + this.#propagationMs() <= this.#clock.now();
  }

  /** Whose certificate to go on with: this replica's own, or what a replica that starts now finds in use. */
  #presentSigner(signing: readonly SharedAuthority[]): number | undefined {
    const now = this.#clock.now();
    const alive = (one: SharedAuthority): boolean => one.notAfter > now;
    const own = signing.findIndex((one) => one.thumbprint === this.#leaf?.signer && alive(one));
    if (own !== -1) return own;
    const trusted = (one: SharedAuthority): boolean =>
      alive(one) && this.#registrations.trust(one.thumbprint);
    return [
      signing.findLastIndex((one) => trusted(one) && one.since + this.#propagationMs() <= now),
      signing.findIndex(trusted),
      signing.findIndex(alive),
    ].find((at) => at !== -1);
  }

  /** Kept for the leaves that it has signed; it signs no more. */
  #trustOnly({ thumbprint, certificatePem, notBefore, notAfter, since, trustedUntil }: SharedAuthority) {
    const lastLeaf = this.#clock.now() + this.#options.leafLifetimeMs;
    return {
      ...{ thumbprint, certificatePem, notBefore, notAfter, since },
      trustedUntil: Math.min(trustedUntil, lastLeaf),
    };
  }

  async #makeAuthority(): Promise<SharedAuthority> {
    const { authorityLifetimeMs, secret } = this.#options;
    const authority = await createAuthority({
      commonName: `sallyport webhook ${secret.namespace}`.slice(0, 64),
      keyType: "ec-p256",
      lifetimeMs: authorityLifetimeMs,
      clock: this.#clock,
      exportable: true,
    });
    return {
      thumbprint: authority.thumbprintSha1,
      certificatePem: authority.certificatePem,
      notBefore: authority.notBefore,
      notAfter: authority.notAfter,
      since: this.#clock.now(),
      trustedUntil: authority.notAfter,
      signing: { authority, privateKeyPem: await authority.exportPrivateKeyPem() },
    };
  }

  #noteShown(): void {
    for (const { thumbprint } of this.#authorities) {
      if (!this.#registrations.trust(thumbprint)) this.#shownSince.delete(thumbprint);
      else if (!this.#shownSince.has(thumbprint)) this.#shownSince.set(thumbprint, this.#clock.now());
    }
    this.#noteSigner();
  }

  #noteSigner(): void {
    if (this.#leaf !== undefined && this.#registrations.trust(this.#leaf.signer))
      this.#missingSince = undefined;
    else this.#missingSince ??= this.#clock.now();
  }

  /** The rotation has its own time; what cannot wait for it is a signer that is gone. */
  async #renewLeafIfDue(): Promise<void> {
    const leaf = this.#leaf;
    if (leaf !== undefined) {
      if (this.#authorities.some((one) => one.thumbprint === leaf.signer && one.signing !== undefined))
        return;
      const successor = this.#authorities.findLast((one) => one.signing !== undefined);
      if (successor === undefined || !this.#isSettled(successor.thumbprint)) return;
    }
    if (this.#rotation.current === undefined) await this.#rotation.start();
    else await this.#rotation.rotateNow();
    this.#noteShown();
  }

  async #issue(): Promise<Leaf> {
    const { dnsNames, leafLifetimeMs, secret } = this.#options;
    const signing = this.#authorities.filter((one) => one.signing !== undefined);
    const { signer } = decideAuthorities(
      signing.map((one) => this.#stateOf(one)),
      this.#presentSigner(signing),
      this.#clock.now(),
    );
    const chosen = signer === undefined ? undefined : signing[signer];
    if (chosen?.signing === undefined) throw new Error("there is no authority that could sign one");
    const present = this.#leaf;
    if (
      present !== undefined &&
      present.notAfter > this.#clock.now() &&
      chosen.thumbprint !== present.signer &&
      !this.#isSettled(chosen.thumbprint)
    ) {
      throw new Error("API servers may not know the new authority yet");
    }
    const issued = await chosen.signing.authority.issue({
      commonName: `sallyport webhook ${secret.namespace}`.slice(0, 64),
      dnsNames,
      usage: "server",
      keyType: "ec-p256",
      lifetimeMs: leafLifetimeMs,
    });
    return {
      identity: { chainPem: issued.certificatePem, privateKeyPem: issued.privateKeyPem },
      notBefore: issued.notBefore,
      notAfter: issued.notAfter,
      signer: chosen.thumbprint,
    };
  }

  #use(leaf: Leaf): void {
    const first = this.#leaf === undefined;
    this.#leaf = leaf;
    this.#leafFault = undefined;
    this.#noteSigner();
    if (first) return;
    this.#log.info("admission.certificate-rotated", {
      notAfter: new Date(leaf.notAfter).toISOString(),
      authority: leaf.signer,
    });
    for (const listener of this.#listeners) listener(leaf);
  }

  /** @returns what stands in the way. */
  async #publish(registration: Registration, bundle: string): Promise<string | undefined> {
    const { bundles, label, otherWriter } = registration;
    if (bundles.every((each) => each === bundle)) {
      this.#settled.set(label, bundle);
      return undefined;
    }
    if (otherWriter !== undefined) {
      return `${label} carries the annotation ${otherWriter}: remove it, or the two write caBundle in turn`;
    }
    const repaired = this.#settled.get(label) === bundle;
    if ((await this.#registrations.write(registration, bundle)) === "conflict") {
      this.#again = true;
      this.#lostRace = true;
      return undefined;
    }
    this.#settled.set(label, bundle);
    const fields = { object: label, authorities: thumbprintsIn(trustBundlePem(this.#authorities)).size };
    if (repaired) this.#log.warn("admission.ca-bundle-repaired", fields);
    else this.#log.info("admission.ca-bundle-written", fields);
    return undefined;
  }

  #fail(reason: string): void {
    if (this.#fault !== reason && !this.#stopping.signal.aborted)
      this.#log.warn("admission.authority-fault", { reason });
    this.#fault = reason;
  }
}
