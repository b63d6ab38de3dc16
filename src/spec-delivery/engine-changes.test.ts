/**
 * Tests of news from the engine.
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeClock, settle } from "../../test/fakes/fake-clock.ts";
import { followEngine } from "./engine-changes.ts";

class News {
  readonly clock = new FakeClock();
  /** Seconds of each callback, and of each time it began to listen. */
  readonly told: number[] = [];
  readonly listened: number[] = [];
  tell: () => void = () => undefined;
  end: (error?: Error) => void = () => undefined;
  signal: AbortSignal | undefined;
  readonly stop: () => void;

  constructor() {
    const began = this.clock.now();
    const seconds = (): number => (this.clock.now() - began) / 1000;
    this.stop = followEngine(
      {
        followChanges: (onChange, signal) => {
          this.listened.push(seconds());
          this.tell = onChange;
          this.signal = signal;
          return new Promise((resolve, reject) => {
            this.end = (error) => (error === undefined ? resolve() : reject(error));
          });
        },
      },
      this.clock,
      () => void this.told.push(seconds()),
    );
  }
}

test("a crowd of changes is told once, half a second after the first", async () => {
  const news = new News();
  news.tell();
  await news.clock.advance(400);
  news.tell();
  await news.clock.advance(400);
  news.tell();
  await news.clock.advance(1_000);

  assert.deepEqual(news.told, [0.5, 1.3]);
});

for (const error of [undefined, new Error("away")]) {
  test(`an engine that ${error === undefined ? "tells no more" : "does not answer"} is asked again after five seconds`, async () => {
    const news = new News();
    news.end(error);
    await news.clock.advance(5_000);
    news.tell();
    await news.clock.advance(500);

    // The end of the news is news.
    assert.deepEqual([news.listened, news.told], [[0, 5], error === undefined ? [0.5, 5.5] : [5.5]]);
  });
}

test("stopped, it neither listens nor tells", async () => {
  const news = new News();
  news.tell();
  news.stop();
  news.end();
  await settle();
  await news.clock.advance(60_000);

  assert.deepEqual([news.listened, news.told, news.signal?.aborted, news.clock.waiting], [[0], [], true, 0]);
});
