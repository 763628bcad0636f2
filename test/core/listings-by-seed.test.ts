import { describe, expect, test } from "vitest";
import { fsLedger } from "../../src/adapters/fs/index.ts";
import { memoryLedger } from "../../src/adapters/memory/index.ts";
import type { Entry, EntryOrder } from "../../src/core/entry.ts";
import type { KeyPart } from "../../src/core/key.ts";
import type { CoreKV } from "../../src/core/kv.ts";
import type { Ledger } from "../../src/core/ledger.ts";
import { TestClock } from "../support/database.ts";
import { temporaryFolder } from "../support/folder.ts";
import { drawQuery, matches } from "../support/queries.ts";
import { compareKeys, Draw, drawPart, nameOf } from "../support/random.ts";

/**
 * Listings of a whole database against what a look at every key finds: with keys of all types, over what lies in memory, in runs that were saved and in the
 * snapshot of a vacuum at once, of entries that are deleted, written anew and expired, and from cursors on that were taken at earlier versions.
 */

/** More than closing saves an index for. */
const MANY = 300;
const PURGE_AFTER_MS = 1000;

interface Known {
  readonly key: readonly KeyPart[];
  readonly value: unknown;
  readonly version: number;
  /** Of the operation within the commit. */
  readonly place: number;
  /** 0: never. */
  readonly expiresAt: number;
}

/** A cursor, and what it was taken from. */
interface Taken {
  readonly cursor: string;
  readonly order: EntryOrder;
  readonly from: Known;
}

const COMPARE: Readonly<Record<EntryOrder, (a: Known, b: Known) => number>> = {
  key: (a, b) => compareKeys(a.key, b.key),
  version: (a, b) => a.version - b.version || a.place - b.place,
};

class Run {
  readonly #draw: Draw;
  readonly #ledger: Ledger;
  readonly #clock = new TestClock();
  readonly #known = new Map<string, Known>();
  readonly #keys: KeyPart[][];
  readonly #taken: Taken[] = [];
  readonly #options: { readonly autoSync: boolean; readonly purgeAfterMs: number; readonly cacheBytesMax: number };
  #db: CoreKV | undefined;
  found = 0;

  constructor(seed: number, ledger: Ledger) {
    const draw = (this.#draw = new Draw(seed));
    this.#ledger = ledger;
    const parts = draw.many(4 + draw.below(8), () => drawPart(draw));
    this.#keys = draw.many(150, () => draw.many(1 + draw.below(3), () => draw.from(parts)));
    const cacheBytesMax = draw.from([0, 4096, 1 << 25]);
    this.#options = { autoSync: false, purgeAfterMs: PURGE_AFTER_MS, cacheBytesMax };
  }

  get db(): CoreKV {
    return this.#db as CoreKV;
  }

  async run(): Promise<void> {
    const draw = this.#draw;
    this.#db = await this.#open();
    try {
      for (let batch = 0; batch < 4; batch++) {
        for (let left = draw.from([10, MANY, MANY]); left > 0; left--) await this.#change();
        if (draw.chance(0.3)) await this.#vacuum();
        if (draw.chance(0.6)) await this.#reopen();
        if (draw.chance(0.3)) this.#clock.time += draw.below(4000);
        for (let i = 0; i < 40; i++) await this.#list();
      }
    } finally {
      await this.db.close();
    }
  }

  #open(): Promise<CoreKV> {
    return this.#clock.open(this.#ledger, this.#options);
  }

  async #reopen(): Promise<void> {
    await this.db.close();
    this.#db = await this.#open();
  }

  async #vacuum(): Promise<void> {
    if (this.db.stats().session.path === undefined) return;
    await this.db.vacuum(this.#draw.chance(0.3) ? { keepHistory: { commits: 100 } } : undefined);
    for (const [name, { expiresAt }] of this.#known)
      if (expiresAt !== 0 && expiresAt + PURGE_AFTER_MS < this.#clock.time) this.#known.delete(name);
  }

  async #change(): Promise<void> {
    const draw = this.#draw;
    this.#clock.time += draw.below(10);
    const key = draw.from(this.#keys);
    if (draw.chance(0.15)) {
      await this.db.delete(key);
      this.#known.delete(nameOf(key));
    } else if (draw.chance(0.1)) {
      await this.#changeSeveral();
    } else {
      const value = draw.chance(0.5) ? draw.below(1000) : "x".repeat(draw.below(300));
      const expireIn = draw.chance(0.3) ? 1 + draw.below(3000) : 0;
      const { version } = await this.db.set(key, value, expireIn === 0 ? undefined : { expireIn });
      this.#knows({ key, value, version, expiresAt: expireIn === 0 ? 0 : this.#clock.time + expireIn });
    }
  }

  /** In one commit, of which the last operation on each key counts. */
  async #changeSeveral(): Promise<void> {
    const draw = this.#draw;
    const keys = draw.many(1 + draw.below(5), () => draw.from(this.#keys));
    const atomic = this.db.atomic();
    const last = new Map<string, Omit<Known, "version"> | undefined>();
    for (const [place, key] of keys.entries()) {
      const isDelete = draw.chance(0.3);
      if (isDelete) atomic.delete(key);
      else atomic.set(key, place);
      last.set(nameOf(key), isDelete ? undefined : { key, value: place, place, expiresAt: 0 });
    }
    const result = await atomic.commit();
    expect(result.ok).toBe(true);
    const version = result.ok ? result.version : -1;
    for (const [name, known] of last) {
      if (known === undefined) this.#known.delete(name);
      else this.#known.set(name, { ...known, version });
    }
  }

  #knows({ version, ...known }: Omit<Known, "version" | "place"> & { readonly version: number | undefined }): void {
    this.#known.set(nameOf(known.key), { ...known, version: version as number, place: 0 });
  }

  async #list(): Promise<void> {
    const draw = this.#draw;
    const query = drawQuery(draw, this.#keys);
    const order = draw.from<EntryOrder>(["key", "key", "version"]);
    const reverse = draw.chance(0.5);
    const limit = draw.chance(0.5) ? 1 + draw.below(8) : undefined;
    const taken = draw.chance(0.5)
      ? this.#taken.filter((each) => each.order === order).at(-1 - draw.below(20))
      : undefined;
    const options = { order, reverse, limit, cursor: taken?.cursor };
    const compare = (a: Known, b: Known): number => COMPARE[order](a, b) * (reverse ? -1 : 1);
    const expected = [...this.#known.values()]
      .filter(({ key, expiresAt }) => matches(query, key) && (expiresAt === 0 || expiresAt > this.#clock.time))
      .filter((each) => taken === undefined || compare(each, taken.from) > 0)
      .sort(compare)
      .slice(0, limit);
    const listed = draw.chance(0.5)
      ? await this.db.listAll(query, options)
      : await this.db.iterate(query, options).collect();
    const seen = listed.map(({ key, value, version }) => [nameOf(key), value, version]);
    const wanted = expected.map(({ key, value, version }) => [nameOf(key), value, version]);
    expect({ query, options, seen }).toEqual({ query, options, seen: wanted });
    const keys = await this.db.listKeys(query, options);
    expect(keys.map(nameOf)).toEqual(wanted.map(([name]) => name));
    if (limit === undefined && taken === undefined) expect(await this.db.count(query)).toBe(wanted.length);
    this.found += listed.length;
    this.#take(listed, expected, order);
  }

  #take(listed: readonly Entry[], expected: readonly Known[], order: EntryOrder): void {
    if (listed.length === 0) return;
    const at = this.#draw.below(listed.length);
    this.#taken.push({ cursor: listed[at].cursor, order, from: expected[at] });
  }
}

describe("listings of a database find what a look at every key finds", () => {
  test("in files", async () => {
    let found = 0;
    for (let seed = 1; seed <= 12; seed++) {
      using folder = temporaryFolder();
      const run = new Run(seed, fsLedger(folder.file("ledger.db")));
      await run.run();
      found += run.found;
    }
    expect(found).toBeGreaterThan(5000);
  });

  test("in memory", async () => {
    for (let seed = 101; seed <= 106; seed++) await new Run(seed, memoryLedger()).run();
  });
});
