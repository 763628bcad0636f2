/**
 * One measurement in a process of its own: `node --expose-gc bench/measure.ts <task as JSON>`. Prints lines of JSON, the result last.
 */
import { createInterface } from "node:readline";
import { BlockMeter } from "./block-meter.ts";
import { shuffled } from "./entries.ts";
import { peerCalled } from "./peers/index.ts";
import type { Peer } from "./peers/peer.ts";

/** What a measuring process is asked to do. */
export interface Task {
  readonly peer: string;
  readonly work: keyof typeof works;
  /** Where the database lies. */
  readonly folder: string;
  /** How many entries it has, or is to get. */
  readonly entries: number;
  readonly order?: "ordered" | "shuffled";
  readonly strict?: boolean;
  /** Of several processes at once: which one it is, how many there are, when all begin (ms since the epoch). */
  readonly part?: number;
  readonly parts?: number;
  readonly startAt?: number;
  /** Vacuums all the time while it writes. */
  readonly vacuums?: boolean;
  /** How many operations at most. */
  readonly limit?: number;
}

export type Figures = Readonly<Record<string, number>>;

const BATCH = 1000;
const CONCURRENT = 100;
const RANGE = 100;
const RANGES_MAX = 5000;
const MOMENTS = 300;
/** No writing goes on for longer: what has been done by then gives the rate. */
const WRITING_MS_MAX = 10_000;
/** Sets that a killed process has done: as many as may be unsaved, and be read again by the next one. */
const UNSAVED = 30_000;

const task = JSON.parse(process.argv[2]) as Task;
const { entries, limit = Infinity } = task;

const works = {
  /** Finds out whether the peer works at all. */
  probe: withPeer(async (peer) => {
    await peer.batch([0, 1, 2]);
    await peer.set(3);
    if ((await peer.get(3)) === null || !(await peer.miss(3)) || (await peer.scan()) !== 4) throw new Error("wrong");
    if ((await peer.range(1, 3)) !== 2) throw new Error("wrong range");
    await peer.vacuum();
    if ((await peer.get(3)) === null) throw new Error("wrong after a vacuum");
    return {};
  }),
  fill: withPeer(async (peer) => {
    await fill(peer);
    return {};
  }),
  vacuum: withPeer((peer) => timed("vacuum", () => peer.vacuum())),

  set: withPeer((peer) => rate(() => sets(peer, numbers(0, Math.min(entries, limit))))),
  /** As `set`, in an order that is not that of the keys. */
  setAnywhere: withPeer((peer) => rate(() => sets(peer, shuffled(entries), limit))),
  batch: withPeer((peer) =>
    rate(async () => {
      await fill(peer);
      return entries;
    }),
  ),
  concurrent: withPeer((peer) =>
    rate(async () => {
      const count = Math.min(entries, limit);
      const begun = performance.now();
      let done = 0;
      while (done < count && performance.now() - begun < WRITING_MS_MAX) {
        const to = Math.min(done + CONCURRENT, count);
        await peer.concurrent(numbers(done, to));
        done = to;
      }
      return done;
    }),
  ),

  gets: withPeer(async (peer) => {
    const first = await rate(() => gets(peer));
    const second = await rate(() => gets(peer));
    return {
      first: first.perSecond,
      firstProcessorUs: first.processorUs,
      second: second.perSecond,
      secondProcessorUs: second.processorUs,
    };
  }),
  misses: withPeer((peer) =>
    rate(async () => {
      for (let i = 0; i < entries; i++) if (!(await peer.miss(i))) throw new Error("found what is not there");
      return entries;
    }),
  ),
  scan: withPeer((peer) =>
    rate(async () => {
      const found = await peer.scan();
      if (found !== entries) throw new Error(`${found} of ${entries} entries found`);
      return found;
    }),
  ),
  ranges: withPeer((peer) => rate(() => ranges(peer))),

  open: async () => {
    const open = await peerCalled(task.peer).load();
    const start = performance.now();
    const before = process.cpuUsage();
    const peer = await open(task.folder, { strict: false });
    const opened = performance.now();
    const { user, system } = process.cpuUsage(before);
    if ((await peer.get(entries >>> 1)) === null) throw new Error("an entry is missing");
    const got = performance.now();
    await peer.close();
    return { openMs: opened - start, withGetMs: got - start, processorUs: user + system };
  },
  /** A program that opens, sets one key and closes. */
  brief: async () => {
    const open = await peerCalled(task.peer).load();
    const start = performance.now();
    const peer = await open(task.folder, { strict: false });
    await peer.set(entries >>> 1);
    await peer.close();
    return { briefMs: performance.now() - start };
  },
  /** Writes as much as may be unsaved, says so, and waits to be killed. */
  killed: withPeer(async (peer) => {
    await sets(peer, shuffled(entries), UNSAVED);
    say("ready");
    setInterval(() => undefined, 60_000);
    return new Promise<Figures>(() => undefined);
  }),
  memory: async () => {
    const open = await peerCalled(task.peer).load();
    const before = resident();
    const peer = await open(task.folder, { strict: false });
    const opened = resident();
    if ((await peer.scan()) !== entries) throw new Error("entries are missing");
    await gets(peer);
    const read = resident();
    await peer.close();
    return { openMiB: opened - before, readMiB: read - before };
  },

  /** One of several processes: entries of its own, all of them starting at the same moment. */
  together: withPeer(async (peer) => {
    const { part = 0, parts = 1, startAt = 0, vacuums = false } = task;
    await new Promise((resolve) => setTimeout(resolve, startAt - Date.now()));
    const start = Date.now();
    let longestMs = 0;
    let writing = true;
    let vacuumed = 0;
    const vacuuming = (async () => {
      while (vacuums && writing) {
        await peer.vacuum();
        vacuumed++;
      }
    })();
    const from = part * Math.floor(entries / parts);
    const to = from + Math.floor(entries / parts);
    let count = 0;
    for (let i = from; i < to && Date.now() - start < WRITING_MS_MAX; i++) {
      const before = performance.now();
      await peer.set(i);
      longestMs = Math.max(longestMs, performance.now() - before);
      count++;
    }
    const end = Date.now();
    writing = false;
    await vacuuming;
    return { start, end, count, longestMs, vacuumed };
  }),
  /** The watching side of `moments`. */
  watch: withPeer(async (peer) => {
    const delays: number[] = [];
    const watching = peer.watchTime((nanoseconds) => {
      delays.push(Number(process.hrtime.bigint() - BigInt(nanoseconds)) / 1e6);
      return delays.length < MOMENTS;
    });
    say("ready");
    await watching;
    delays.sort((a, b) => a - b);
    return { medianMs: delays[MOMENTS / 2], p99Ms: delays[Math.floor(MOMENTS * 0.99)] };
  }),
  moments: withPeer(async (peer) => {
    // A few more than are asked for: who polls may miss one.
    for (let i = 0; i < MOMENTS * 1.5; i++) {
      await new Promise((resolve) => setTimeout(resolve, 10));
      await peer.setTime(String(process.hrtime.bigint()));
    }
    return {};
  }),
  /** Has the database open and does nothing with it. Between two lines of input its processor time is measured; a third one ends it. */
  idle: withPeer(async () => {
    const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
    say("ready");
    await lines.next();
    const start = performance.now();
    const before = process.cpuUsage();
    await lines.next();
    const { user, system } = process.cpuUsage(before);
    const share = (user + system) / 1000 / (performance.now() - start);
    say("measured");
    await lines.next();
    return { share };
  }),

  vacuumBlocks: withPeer(async (peer) => {
    const meter = new BlockMeter();
    await peer.vacuum();
    return meter.stop();
  }),
  /** Writes in small pieces, giving way after each: what takes longer is what is done beside the writing. */
  saveBlocks: withPeer(async (peer) => {
    const meter = new BlockMeter();
    for (let from = 0; from < entries; from += 20) {
      await peer.batch(numbers(from, Math.min(from + 20, entries)));
      await new Promise((resolve) => setImmediate(resolve));
    }
    return meter.stop();
  }),
} satisfies Record<string, () => Promise<Figures>>;

function withPeer(work: (peer: Peer) => Promise<Figures>): () => Promise<Figures> {
  return async () => {
    const open = await peerCalled(task.peer).load();
    const peer = await open(task.folder, { strict: task.strict === true });
    const figures = await work(peer);
    await peer.close();
    return figures;
  };
}

async function fill(peer: Peer): Promise<void> {
  let batch: number[] = [];
  for (const i of task.order === "shuffled" ? shuffled(entries) : numbers(0, entries)) {
    batch.push(i);
    if (batch.length < BATCH) continue;
    await peer.batch(batch);
    batch = [];
  }
  if (batch.length > 0) await peer.batch(batch);
}

/** Sets these entries one after the other, at most `max` of them, and no longer than is sensible. */
async function sets(peer: Peer, order: Iterable<number>, max = Infinity): Promise<number> {
  const begun = performance.now();
  let count = 0;
  for (const i of order) {
    await peer.set(i);
    if (++count >= max || (count % 16 === 0 && performance.now() - begun > WRITING_MS_MAX)) break;
  }
  return count;
}

async function gets(peer: Peer): Promise<number> {
  let found = 0;
  let asked = 0;
  for (const i of shuffled(entries)) {
    if ((await peer.get(i)) !== null) found++;
    if (++asked >= limit) break;
  }
  if (found !== asked) throw new Error(`${found} of ${asked} entries found`);
  return found;
}

async function ranges(peer: Peer): Promise<number> {
  let count = 0;
  const wanted = Math.min(RANGES_MAX, Math.max(1, Math.floor(entries / 20)), limit);
  for (const i of shuffled(entries)) {
    const from = Math.min(i, entries - RANGE);
    if ((await peer.range(from, from + RANGE)) !== RANGE) throw new Error("a range is incomplete");
    if (++count === wanted) break;
  }
  return count;
}

/** Runs `work`, which tells how many it did. How many a second, and what one cost of processor time (all threads of the process). */
async function rate(
  work: () => Promise<number>,
): Promise<{ readonly perSecond: number; readonly processorUs: number }> {
  const start = performance.now();
  const before = process.cpuUsage();
  const count = await work();
  const perSecond = (count / (performance.now() - start)) * 1000;
  const { user, system } = process.cpuUsage(before);
  return { perSecond, processorUs: (user + system) / count };
}

async function timed(name: string, work: () => Promise<unknown> | void): Promise<Figures> {
  const start = performance.now();
  await work();
  return { [`${name}Ms`]: performance.now() - start };
}

/** Resident memory in MiB, without garbage. */
function resident(): number {
  (globalThis as { gc?: () => void }).gc?.();
  return process.memoryUsage.rss() / 1024 / 1024;
}

const numbers = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, n) => from + n);

function say(event: string): void {
  console.log(JSON.stringify({ event }));
}

console.log(JSON.stringify({ figures: await works[task.work]() }));
process.stdin.destroy();
