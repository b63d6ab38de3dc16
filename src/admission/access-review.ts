/**
 * Access decided by the API server: one LocalSubjectAccessReview per question, the same question in flight asked once.
 * @module
 */
import { delay, type Clock } from "../clock.ts";
import { reasonOf } from "../errors.ts";
import type { ClusterClient } from "../kubernetes/cluster-client.ts";
import type { AccessAnswer, AccessQuestion, AccessReviewer } from "./ports.ts";
import { isObject } from "./review.ts";

export interface AccessReviewOptions {
  readonly clock: Clock;
  /** How long an answer is used again, milliseconds; 0: never beyond the questions in flight. */
  readonly cacheMs: number;
}

/** Answers kept at most, whatever their age. */
const mostAnswers = 10_000;

/** How long others may join a question that is under way, milliseconds. */
const sharedMs = 1_000;

/** Wait before the one repetition that a 429 is worth, at most, milliseconds. */
const longestRetryAfterMs = 2_000;

export function createAccessReviewer(
  client: Pick<ClusterClient, "request">,
  options: AccessReviewOptions,
): AccessReviewer {
  const { cacheMs, clock } = options;
  const inFlight = new Map<string, SharedQuestion>();
  const kept = new Map<string, { readonly answer: AccessAnswer; readonly until: number }>();
  return {
    async review(question, signal) {
      const key = JSON.stringify([question.namespace, question.serviceAccount, question.specName]);
      const known = kept.get(key);
      if (known !== undefined && known.until > clock.now()) return known.answer;
      // A question that is asked for nobody would stand before those that somebody waits for.
      if (signal.aborted) return unanswered;
      let shared = inFlight.get(key);
      if (shared === undefined) {
        // The shared question has a deadline of its own: the first asker giving up must not refuse the others.
        const abandoned = new AbortController();
        const asked: SharedQuestion = {
          waiting: 0,
          abandon: () => {
            forget();
            abandoned.abort();
          },
          answer: ask(client, question, clock, abandoned.signal).then((settled) => {
            forget();
            if (cacheMs > 0 && settled.certain) {
              if (kept.size >= mostAnswers) kept.clear();
              kept.set(key, { answer: settled.answer, until: clock.now() + cacheMs });
            }
            return settled.answer;
          }),
        };
        inFlight.set(key, asked);
        // A question that hangs must not take those with it that are asked when the API server is well again.
        const cancel = clock.after(sharedMs, () => forget());
        const forget = (): void => {
          cancel();
          if (inFlight.get(key) === asked) inFlight.delete(key);
        };
        shared = asked;
      }
      return await answerOf(shared, signal);
    },
  };
}

interface SharedQuestion {
  readonly answer: Promise<AccessAnswer>;
  /** How many askers have not given up. */
  waiting: number;
  /** Drops the question, wherever it is. */
  readonly abandon: () => void;
}

const unanswered = failed("no answer in time").answer;

/** The answer, or none once the asker gives up; the last one to give up ends the question. */
function answerOf(shared: SharedQuestion, signal: AbortSignal): Promise<AccessAnswer> {
  shared.waiting++;
  return new Promise((resolve) => {
    const giveUp = (): void => {
      resolve(unanswered);
      if (--shared.waiting === 0) shared.abandon();
    };
    signal.addEventListener("abort", giveUp, { once: true });
    void shared.answer.then((answer) => {
      signal.removeEventListener("abort", giveUp);
      resolve(answer);
    });
  });
}

interface Settled {
  readonly answer: AccessAnswer;
  /** The API server decided, rather than failed to. */
  readonly certain: boolean;
}

const questionMs = 8_000;

async function ask(
  client: Pick<ClusterClient, "request">,
  question: AccessQuestion,
  clock: Clock,
  signal: AbortSignal,
): Promise<Settled> {
  const { namespace, serviceAccount, specName } = question;
  const path = `/apis/authorization.k8s.io/v1/namespaces/${encodeURIComponent(namespace)}/localsubjectaccessreviews`;
  const body = {
    apiVersion: "authorization.k8s.io/v1",
    kind: "LocalSubjectAccessReview",
    metadata: { namespace },
    spec: {
      resourceAttributes: {
        namespace,
        verb: "use",
        group: "windows.k8s.io",
        version: "v1",
        resource: "gmsacredentialspecs",
        name: specName,
      },
      user: `system:serviceaccount:${namespace}:${serviceAccount}`,
      // Exactly these two: granting `use` to system:authenticated must not reach every service account.
      groups: ["system:serviceaccounts", `system:serviceaccounts:${namespace}`],
    },
  };
  try {
    for (let attempt = 1; ; attempt++) {
      const answer = await client.request({
        method: "POST",
        path,
        body,
        timeoutMs: questionMs,
        maxBytes: 1024 * 1024,
        signal,
      });
      if (answer.status === 429 && attempt === 1) {
        await waitAsAsked(answer.headers["retry-after"], clock, signal);
        continue;
      }
      if (answer.status !== 200 && answer.status !== 201)
        return failed(`the API server answered ${answer.status}`);
      return settle(JSON.parse(answer.body.toString("utf8")));
    }
  } catch (error) {
    return failed(error instanceof SyntaxError ? "the API server's answer is not JSON" : reasonOf(error));
  }
}

function settle(review: unknown): Settled {
  const status = isObject(review) ? review["status"] : undefined;
  if (!isObject(status) || typeof status["allowed"] !== "boolean")
    return failed("the API server's answer has no status");
  if (status["allowed"] && status["denied"] !== true) return { answer: { allowed: true }, certain: true };
  const reason = typeof status["reason"] === "string" ? status["reason"] : "";
  return { answer: { allowed: false, reason }, certain: true };
}

function failed(problem: string): Settled {
  return {
    answer: { allowed: false, reason: `error when checking authz access: ${problem}` },
    certain: false,
  };
}

function waitAsAsked(
  retryAfter: string | string[] | undefined,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  const seconds = Number(retryAfter ?? 1);
  const milliseconds = Number.isFinite(seconds)
    ? Math.min(Math.max(seconds * 1000, 0), longestRetryAfterMs)
    : 1_000;
  return delay(clock, milliseconds, signal);
}
