/**
 * One measurement in a process of its own: `node bench/measure.ts <peer> <row> <file> <entries> [<part> <parts> <startAt>]`. Prints one
 * line of JSON.
 */
import { shuffled } from "./entries.ts";
import { type Peer, peers } from "./peers.ts";

const [name, row, path, entriesText, partText = "0", partsText = "1", startAt = "0"] = process.argv.slice(2);
const entries = Number(entriesText);
const part = Number(partText);
const parts = Number(partsText);

const BATCH = 1000;
const CONCURRENT = 100;
const RANGE = 100;
const MOMENTS = 300;

async function fill(peer: Peer): Promise<void> {
  for (let from = 0; from < entries; from += BATCH) await peer.batch(from, Math.min(from + BATCH, entries));
}

/** Runs `work`, which tells how many it did, and returns how many a second. */
async function perSecond(work: () => Promise<number>): Promise<number> {
  const start = performance.now();
  const count = await work();
  return (count / (performance.now() - start)) * 1000;
}

async function gets(peer: Peer): Promise<number> {
  let found = 0;
  for (const i of shuffled(entries)) if ((await peer.get(i)) !== null) found++;
  if (found !== entries) throw new Error(`${found} of ${entries} entries found`);
  return found;
}

async function ranges(peer: Peer): Promise<number> {
  let count = 0;
  for (const i of shuffled(entries)) {
    const from = Math.min(i, entries - RANGE);
    if ((await peer.range(from, from + RANGE)) !== RANGE) throw new Error("a range is incomplete");
    if (++count === Math.floor(entries / 20)) break;
  }
  return count;
}

const rows: Readonly<Record<string, (peer: Peer) => Promise<Record<string, number>>>> = {
  set: async (peer) => ({
    perSecond: await perSecond(async () => {
      for (let i = 0; i < entries; i++) await peer.set(i);
      return entries;
    }),
  }),
  batch: async (peer) => ({
    perSecond: await perSecond(async () => {
      await fill(peer);
      return entries;
    }),
  }),
  concurrent: async (peer) => ({
    perSecond: await perSecond(async () => {
      for (let from = 0; from < entries; from += CONCURRENT) await peer.concurrent(from, from + CONCURRENT);
      return entries;
    }),
  }),
  get: async (peer) => {
    await fill(peer);
    return { perSecond: await perSecond(() => gets(peer)) };
  },
  getAgain: async (peer) => {
    await fill(peer);
    await gets(peer);
    return { perSecond: await perSecond(() => gets(peer)) };
  },
  miss: async (peer) => {
    await fill(peer);
    return {
      perSecond: await perSecond(async () => {
        for (let i = 0; i < entries; i++) await peer.miss(i);
        return entries;
      }),
    };
  },
  scan: async (peer) => {
    await fill(peer);
    return { perSecond: await perSecond(async () => peer.scan()) };
  },
  ranges: async (peer) => {
    await fill(peer);
    return { perSecond: await perSecond(() => ranges(peer)) };
  },
  /** One of several processes: entries of its own, all of them starting at the same moment. */
  processes: async (peer) => {
    while (Date.now() < Number(startAt));
    const from = part * (entries / parts);
    const start = Date.now();
    let longest = 0;
    for (let i = from; i < from + entries / parts; i++) {
      const before = performance.now();
      await peer.set(i);
      longest = Math.max(longest, performance.now() - before);
    }
    return { start, end: Date.now(), count: entries / parts, longestMs: longest };
  },
  /** The watching side of `visibility`; the other one is `moments`. */
  visibility: async (peer) => {
    const delays: number[] = [];
    const watching = peer.watchTime((nanoseconds) => {
      delays.push(Number(process.hrtime.bigint() - BigInt(nanoseconds)) / 1e6);
      return delays.length < MOMENTS;
    });
    console.log("ready");
    await watching;
    delays.sort((a, b) => a - b);
    return { medianMs: delays[MOMENTS / 2], p99Ms: delays[Math.floor(MOMENTS * 0.99)] };
  },
  moments: async (peer) => {
    // A few more than are asked for: who polls may miss one.
    for (let i = 0; i < MOMENTS * 2; i++) {
      await new Promise((resolve) => setTimeout(resolve, 10));
      await peer.setTime(String(process.hrtime.bigint()));
    }
    return {};
  },
};

const peer = await peers[name](path);
const result = await rows[row](peer);
await peer.close();
console.log(JSON.stringify({ ...result, rssMiB: process.memoryUsage.rss() / 1024 / 1024 }));
