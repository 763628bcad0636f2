import type { KV, SyncEvent } from "foliokv";

/** A `sync` event, with its number and the time. */
export interface LoggedSync extends Pick<SyncEvent, "result" | "applied" | "version"> {
  readonly number: number;
  readonly at: number;
}

const KEPT = 100;
const INTERVAL_MS = 1000;

/**
 * The last `sync` events of an instance, as plain data. One listener serves all streams: in a Worker it is called in whatever request has followed the
 * bucket, and each stream looks for what is new by a timer of its own.
 */
export class SyncLog {
  readonly #db: KV;
  #events: LoggedSync[] = [];
  #count = 0;

  constructor(db: KV) {
    this.#db = db;
    db.on("sync", ({ result, applied, version }) => {
      this.#events.push({ number: ++this.#count, at: Date.now(), result, applied, version });
      if (this.#events.length > KEPT) this.#events.shift();
    });
  }

  /** Each event from now on. Follows the bucket itself, once a second: in a Worker nothing else does between requests. */
  async *live(signal: AbortSignal): AsyncGenerator<LoggedSync> {
    let told = this.#count;
    while (!signal.aborted) {
      // A failure is a `sync` event too.
      await this.#db.sync({ signal }).catch(() => undefined);
      const news = this.#events.filter(({ number }) => number > told);
      told = this.#count;
      yield* news;
      await pause(INTERVAL_MS, signal);
    }
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
