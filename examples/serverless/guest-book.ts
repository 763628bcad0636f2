import type { KV, ReadOptions } from "foliokv";

/** What somebody has written. */
export interface Signature {
  readonly name: string;
  readonly text: string;
}

/** The same, and where and when it is in the ledger. */
export interface SignedEntry extends Signature {
  readonly version: number;
  readonly at: number;
}

const NEWEST = 20;

/** Entries lie under `["guest-book", time, id]`, so that they are in order, and two at the same time are two. */
export class GuestBook {
  readonly #db: KV;

  constructor(db: KV) {
    this.#db = db;
  }

  async sign(input: unknown): Promise<{ readonly version: number | undefined }> {
    const { name, text } = Object(input) as Partial<Signature>;
    if (typeof name !== "string" || typeof text !== "string") throw new TypeError("name and text must be strings");
    const value: Signature = { name: beginning(name, 50), text: beginning(text, 500) };
    return this.#db.set(["guest-book", Date.now(), crypto.randomUUID()], value);
  }

  /** The newest entries, oldest of them first. */
  async newest(options?: ReadOptions): Promise<SignedEntry[]> {
    const entries = await this.#db.listAll<Signature>(["guest-book"], { reverse: true, limit: NEWEST, ...options });
    // Only what a transaction has staged has no version yet.
    return entries.toReversed().map(({ value, version = 0, timestamp }) => ({ ...value, version, at: timestamp }));
  }

  /**
   * The newest entries, then each one that is added, by whomever: watch first, then read, and leave out what was read already. Iterated, not called
   * back: in a Worker a callback would run in the request that has met the change, which may not write to the stream of this one.
   */
  async *live(signal: AbortSignal): AsyncGenerator<SignedEntry> {
    const changes = this.#db.watch<Signature>(["guest-book"], { signal });
    let told = 0;
    for (const entry of await this.newest()) {
      told = Math.max(told, entry.version);
      yield entry;
    }
    for await (const change of changes) {
      if (change.reset === true) {
        // Rare, on buckets: what has changed cannot be told any more.
        for (const entry of (await this.newest()).filter(({ version }) => version > told)) yield entry;
      } else if (change.operation === "set" && change.version > told) {
        yield { ...change.value, version: change.version, at: change.timestamp };
      }
      told = Math.max(told, change.version);
    }
  }
}

/** So many characters of a text: `slice` would cut some of them in two, and half of one cannot be stored. */
function beginning(text: string, characters: number): string {
  return Array.from(text).slice(0, characters).join("");
}
