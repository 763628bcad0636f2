import { describe, expect, test } from "vitest";
import { objectLedger } from "../../../src/adapters/object/ledger.ts";
import { memoryStore } from "../../../src/adapters/object/memory-store.ts";
import { RootObject } from "../../../src/adapters/object/root-object.ts";
import type { CoreKV } from "../../../src/core/kv.ts";
import { FaultyStore } from "../../../src/testing/faulty-store.ts";
import { isCreateOfSlot } from "../../support/bucket.ts";
import { openWith } from "../../support/database.ts";
import { SimulatedTime } from "../../support/simulated-time.ts";

const HOUR = 3_600_000;

class Site {
  readonly time = new SimulatedTime();
  readonly store = memoryStore({ now: this.time.now });
  readonly faulty = new FaultyStore(this.store, { environment: this.time });

  /** Follows only when it is asked to. */
  open(store?: FaultyStore): Promise<CoreKV> {
    return openWith(this.time, objectLedger(store ?? this.store, { graceMs: HOUR }), { autoSync: false });
  }

  pause(ms: number): Promise<void> {
    return new Promise((resolve) => void this.time.setTimer(resolve, ms));
  }

  /** So many commits by one writer, and everything below the last checkpoint but one is deleted. */
  async goOn(db: CoreKV, commits: number): Promise<void> {
    for (let i = 0; i < commits; i++) {
      await db.set(["others", i % 10], i);
      // Each time the grace is over for what was written before.
      if (i % 10 === 9) await this.pause(2 * HOUR);
    }
  }

  async swept(): Promise<number> {
    const found = await new RootObject(this.store, this.time).read();
    return found.status === "found" ? found.root.swept : 0;
  }
}

function live(body: (site: Site) => Promise<void>): () => Promise<void> {
  return async () => {
    const site = new Site();
    await site.time.until(body(site));
  };
}

describe("a writer that is stopped in mid-commit, while others commit, write checkpoints and delete what is old", () => {
  test(
    "behind its create: acknowledges the commit, which is there",
    live(async (site) => {
      const other = await site.open();
      const sleeper = await site.open(site.faulty);
      const gate = site.faulty.gate(isCreateOfSlot, "after");
      const committed = sleeper.atomic().sum(["n"], 1).set(["late"], "value").commit();
      await gate.arrived;
      await other.sync();
      await site.goOn(other, 100);
      expect(await site.swept()).toBeGreaterThan(2);
      gate.open();
      const result = await committed;
      const { version } = result as { readonly version: number };
      expect(await other.getEntry(["late"])).toMatchObject({ value: "value", version });
      await sleeper.sync();
      expect(await sleeper.get(["n"])).toBe(1);
      expect(await sleeper.get(["others", 9])).toBe(99);
    }),
  );

  test(
    "before its create: what it then creates is nobody's slot, and the commit goes where the others are",
    live(async (site) => {
      const other = await site.open();
      await other.set(["n"], 10);
      const sleeper = await site.open(site.faulty);
      const gate = site.faulty.gate(isCreateOfSlot, "before");
      const committed = sleeper.atomic().sum(["n"], 1).commit();
      await gate.arrived;
      await other.set(["n"], 20);
      await site.goOn(other, 100);
      expect(await site.swept()).toBeGreaterThan(2);
      gate.open();
      const result = await committed;
      expect(result).toMatchObject({ ok: true });
      await other.sync();
      expect(await other.get(["n"])).toBe(21);
      expect(await sleeper.get(["n"])).toBe(21);
      await using fresh = await site.open();
      expect(await fresh.get(["n"])).toBe(21);
    }),
  );
});

describe("a reader that sleeps for hours", () => {
  test(
    "begins with the checkpoint and says so, never with what is left of what it knew",
    live(async (site) => {
      const writer = await site.open();
      await site.goOn(writer, 5);
      const reader = await site.open();
      const told: string[] = [];
      reader.on("sync", ({ result }) => told.push(result));
      const watched: unknown[] = [];
      reader.watch(["others", 3], ({ value, ...rest }) => watched.push([value, "reloaded" in rest]));
      await site.goOn(writer, 100);
      await site.pause(12 * HOUR);
      await reader.sync();
      expect(told).toEqual(["ledgerInvalidated"]);
      expect(await reader.listAll([])).toEqual(await writer.listAll([]));
      expect(watched.at(-1)).toEqual([93, true]);
    }),
  );

  test(
    "goes on where it was as long as everything is still there",
    live(async (site) => {
      const writer = await site.open();
      const reader = await site.open();
      let reloads = 0;
      reader.on("sync", ({ result }) => (reloads += result === "ledgerInvalidated" ? 1 : 0));
      for (let i = 0; i < 10; i++) await writer.set(["a"], i);
      await site.pause(12 * HOUR);
      await reader.sync();
      expect(await reader.get(["a"])).toBe(9);
      expect(reloads).toBe(0);
    }),
  );
});

describe("a prefix that is deleted under a live instance", () => {
  async function clear(site: Site): Promise<void> {
    const listed = await site.store.list("");
    if (listed.status !== "listed") throw new Error(listed.status);
    await site.store.delete(listed.objects.map(({ key }) => key));
  }

  test(
    "is missing, for reads of news and for commits, and is not created again",
    live(async (site) => {
      const db = await site.open();
      await db.set(["a"], 1);
      await clear(site);
      await site.pause(HOUR);
      await expect(db.sync()).rejects.toMatchObject({ code: "LedgerMissing" });
      await expect(db.set(["a"], 2)).rejects.toMatchObject({ code: "LedgerMissing" });
      expect(await db.get(["a"])).toBe(1);
    }),
  );

  test(
    "and created anew is another ledger, which is read instead",
    live(async (site) => {
      const db = await site.open();
      for (let i = 0; i < 5; i++) await db.set(["old", i], i);
      let reloads = 0;
      db.on("sync", ({ result }) => (reloads += result === "ledgerInvalidated" ? 1 : 0));
      await clear(site);
      const other = await site.open();
      for (let i = 0; i < 10; i++) await other.set(["new", i], i);
      await site.pause(HOUR);
      await db.sync();
      expect(reloads).toBe(1);
      expect(await db.count(["old"])).toBe(0);
      expect(await db.count(["new"])).toBe(10);
      await db.set(["new", 0], "again");
      await other.sync();
      expect(await other.get(["new", 0])).toBe("again");
    }),
  );
});
