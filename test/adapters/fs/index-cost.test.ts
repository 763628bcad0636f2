import { statSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { createFsLedger } from "../../../src/adapters/fs/ledger.ts";
import { KV } from "../../../src/index.node.ts";
import { countingReads } from "../../support/counting-reads.ts";
import { inFolder } from "../../support/folder.ts";
import { fill, MANY } from "../../support/items.ts";
import { Program } from "../../support/program.ts";

const RUNS = 300;
/** Manifest, footers, tops of the indexes, headers: what opening reads of them, and of what came since the last save. */
const BYTES_MAX = 256 * 1024;
const READS_MAX = 100;

/** Opens, sets one key and closes, and tells what was read for that. */
async function setOne(path: string, n: number): Promise<{ reads: number; bytesRead: number; opens: number }> {
  const { calls, counts } = countingReads();
  const db = await KV.open(createFsLedger(path, {}, calls));
  await db.set(["run", n], n);
  await db.close();
  return counts;
}

describe("a program that opens, sets one key and closes", () => {
  it.each([
    ["a thousand entries", 1000, false],
    ["a hundred thousand", 100_000, false],
    ["a hundred thousand, vacuumed", 100_000, true],
  ])("reads as little each time, with %s", (_, entries, vacuumed) =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      {
        await using db = await KV.open(path, { autoSync: false });
        await fill(db, 0, entries);
        if (vacuumed) await db.vacuum();
      }
      const each: Awaited<ReturnType<typeof setOne>>[] = [];
      for (let i = 0; i < RUNS; i++) each.push(await setOne(path, i));
      for (const { reads, bytesRead } of each) {
        expect(bytesRead).toBeLessThan(BYTES_MAX);
        expect(reads).toBeLessThan(READS_MAX);
      }
      for (let n = RUNS; n < RUNS + 3; n++) {
        await using program = new Program("set-one.ts", { path, n });
        expect(await program.exited).toEqual({ code: 0, signal: null });
        expect(program.messages[0].bytesRead).toBeLessThan(BYTES_MAX);
      }
      await using db = await KV.open(path, { readOnly: true });
      expect(await db.count(["run"])).toBe(RUNS + 3);
      expect(await db.count(["item"])).toBe(entries);
    }),
  );

  it("saves the index when it finds that due, so that the next one has little to read", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      {
        await using db = await KV.open(path, { autoSync: false, sideIndex: false });
        await fill(db, 0, MANY);
      }
      const bytes = statSync(path).size;
      expect((await setOne(path, 0)).bytesRead).toBeGreaterThan(bytes);
      expect((await setOne(path, 1)).bytesRead).toBeLessThan(bytes / 2);
    }));
});

describe("a program that wrote some thousand entries and closed", () => {
  it("leaves nearly nothing to be read again to the next one", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      {
        await using db = await KV.open(path, { autoSync: false });
        await fill(db, 0, 5000);
      }
      await using db = await KV.open(path, { readOnly: true });
      expect(db.stats().counts.commits).toBe(0);
      expect(await db.count(["item"])).toBe(5000);
    }));
});

describe("vacuum and index save of many entries", () => {
  it("let the program go on all the time", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      const entries = 200_000;
      {
        await using db = await KV.open(path, { autoSync: false, sideIndex: false });
        await fill(db, 0, entries);
      }
      const pulse = new Pulse();
      // Reads everything, and saves it on the way.
      await using db = await KV.open(path, { autoSync: false });
      const opened = pulse.take();
      await db.vacuum();
      const vacuumed = pulse.take();
      pulse.stop();
      console.log(
        `${entries} entries: the longest time without the event loop was ${opened.longestMs.toFixed(0)} ms of ${opened.ms.toFixed(0)} in open, which ` +
          `saves the index, and ${vacuumed.longestMs.toFixed(0)} ms of ${vacuumed.ms.toFixed(0)} in a vacuum`,
      );
      // How long it takes is the machine's; that it pauses is not.
      expect(opened.ticks).toBeGreaterThan(20);
      expect(vacuumed.ticks).toBeGreaterThan(20);
      expect(await db.count(["item"])).toBe(entries);
    }));
});

interface Beats {
  readonly ticks: number;
  readonly ms: number;
  /** The longest time between two ticks. */
  readonly longestMs: number;
}

/** A timer that goes off every millisecond, if it can. */
class Pulse {
  #ticks = 0;
  #longestMs = 0;
  #last = performance.now();
  #since = performance.now();
  readonly #timer = setInterval(() => this.#tick(), 1);

  /** What there was since the last call. */
  take(): Beats {
    const now = performance.now();
    const taken = { ticks: this.#ticks, ms: now - this.#since, longestMs: this.#longestMs };
    this.#ticks = 0;
    this.#longestMs = 0;
    this.#since = now;
    return taken;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #tick(): void {
    const now = performance.now();
    this.#longestMs = Math.max(this.#longestMs, now - this.#last);
    this.#last = now;
    this.#ticks++;
  }
}
