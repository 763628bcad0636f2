import { describe, expect, it } from "vitest";
import { runKey } from "../../../src/adapters/object/layout.ts";
import type { StoreRequest } from "../../../src/adapters/object/object-store.ts";
import { KVError } from "../../../src/core/errors.ts";
import { type Author, Bucket } from "../../support/bucket.ts";
import { keep, stateRequest, writeSlots } from "../../support/state-requests.ts";

const isRun = ({ kind, keys }: StoreRequest): boolean => kind === "create" && keys[0].includes("/run/");
const isReplace = ({ kind }: StoreRequest): boolean => kind === "replace";
const short = (requests: readonly string[]): string[] =>
  requests.map((request) => request.replace(/(run|log)\/\S+/, "$1"));

describe("a checkpoint", () => {
  it("is written by the author of every sixteenth slot, with two writes and one read", async () => {
    const bucket = new Bucket();
    const author = await bucket.open();
    await writeSlots(bucket, author, 15);
    expect((await bucket.root()).checkpointSlot).toBe(0);
    bucket.requests.length = 0;
    const [{ since, adopted }] = await writeSlots(bucket, author, 1);
    expect(short(bucket.requests)).toEqual([
      "create log created",
      "get root found",
      "create run created",
      "replace root replaced",
    ]);
    expect(since).toEqual([0]);
    expect(adopted).toMatchObject([{ position: 16, version: author.lastVersion, runs: [{ length: 100 }] }]);
    await writeSlots(bucket, author, 16);
    const root = await bucket.root();
    expect(root).toMatchObject({ checkpointSlot: 32, previousCheckpointSlot: 16, epoch: 0, tailHint: 32 });
    expect(root.runs).toMatchObject([
      { from: 17, to: 32, batchIds: 16 },
      { from: 1, to: 16, batchIds: 16 },
    ]);
  });

  it("is written once 4 MiB have gathered", async () => {
    const bucket = new Bucket();
    const author = await bucket.open();
    for (let i = 0; i < 9; i++) {
      await author.write(author.commit(1, 500_000));
      await keep(bucket, author);
    }
    expect((await bucket.root()).checkpointSlot).toBe(9);
  });

  it("is left to the author of the eighth slot behind if the first does not write it", async () => {
    const bucket = new Bucket();
    const first = await bucket.open();
    const second = await bucket.open();
    await writeSlots(bucket, first, 15);
    await first.write(first.commit());
    await second.follow();
    const kept = await writeSlots(bucket, second, 8);
    expect(kept.map(({ work }) => work !== undefined)).toEqual([...Array<boolean>(7).fill(false), true]);
    expect((await bucket.root()).checkpointSlot).toBe(24);
  });

  it("is not written by those who only read", async () => {
    const bucket = new Bucket();
    const author = await bucket.open();
    for (let i = 0; i < 20; i++) await author.write(author.commit());
    const reader = await bucket.open({ readOnly: true });
    await reader.follow();
    bucket.requests.length = 0;
    expect((await keep(bucket, reader)).work).toBeUndefined();
    expect(bucket.requests).toEqual([]);
  });

  it("is not written by who may only read, nor are runs merged, though it was opened for that", async () => {
    const bucket = new Bucket();
    const author = await bucket.open();
    await writeSlots(bucket, author, 8 * 16, { runBytes: 2_300_000 });
    const reader = await (await bucket.open({ readOnly: true })).begin();
    await reader.follow();
    bucket.requests.length = 0;
    expect((await keep(bucket, reader, { compaction: true })).work).toBeUndefined();
    expect(bucket.requests).toEqual([]);
  });

  it("is taken over by those who have read so far, and by nobody before", async () => {
    const bucket = new Bucket();
    const author = await bucket.open();
    const reader = await bucket.open();
    await writeSlots(bucket, author, 10);
    await reader.follow();
    await writeSlots(bucket, author, 10);
    // A root that was read shows it before the slots were.
    const asleep = await bucket.open();
    expect(asleep.session.openState?.()).toMatchObject({ position: 16 });
    await bucket.environment.pass(6 * 60_000);
    const states = await readStates(bucket, reader);
    expect(states).toMatchObject([{ position: 16, runs: [{ length: 100 }] }]);
    expect(reader.position).toBe(20);
  });

  it("continues only the checkpoint that it was made for", async () => {
    const bucket = new Bucket();
    const first = await bucket.open();
    const second = await bucket.open();
    await writeSlots(bucket, first, 15);
    await first.write(first.commit());
    const gate = bucket.faulty.gate(isReplace, "before");
    const { request, kept } = stateRequest(first);
    const work = first.session.keepState?.(request);
    await bucket.environment.until(gate.arrived);
    await second.follow();
    await writeSlots(bucket, second, 8);
    const theirs = await bucket.root();
    expect(theirs.checkpointSlot).toBe(24);
    gate.open();
    await bucket.environment.until(work?.done ?? Promise.resolve());
    expect(await bucket.root()).toEqual(theirs);
    expect(kept.problems).toEqual([]);
    // It has not read so far.
    expect(kept.adopted).toEqual([]);
  });

  it("continues only the epoch that it was made for", async () => {
    const bucket = new Bucket();
    const author = await bucket.open();
    await writeSlots(bucket, author, 31);
    await author.write(author.commit());
    const gate = bucket.faulty.gate(isReplace, "before");
    const { request } = stateRequest(author);
    const work = author.session.keepState?.(request);
    await bucket.environment.until(gate.arrived);
    await bucket.changeRoot(({ epoch }) => ({ epoch: epoch + 1 }));
    gate.open();
    await bucket.environment.until(work?.done ?? Promise.resolve());
    expect(await bucket.root()).toMatchObject({ checkpointSlot: 16, epoch: 1 });
  });

  it("is written all the same if somebody has changed something else in the root", async () => {
    const bucket = new Bucket();
    const author = await bucket.open();
    await writeSlots(bucket, author, 15);
    await author.write(author.commit());
    const gate = bucket.faulty.gate(isReplace, "before");
    const { request } = stateRequest(author);
    const work = author.session.keepState?.(request);
    await bucket.environment.until(gate.arrived);
    await bucket.changeRoot(() => ({ tailHint: 99 }));
    gate.open();
    await bucket.environment.until(work?.done ?? Promise.resolve());
    expect(await bucket.root()).toMatchObject({ checkpointSlot: 16, tailHint: 99 });
  });

  it("is one's own though the answers to upload and replace were lost", async () => {
    const bucket = new Bucket();
    const author = await bucket.open();
    await writeSlots(bucket, author, 15);
    await author.write(author.commit());
    bucket.befalls(
      (request) => isRun(request) || isReplace(request),
      [{ fault: { kind: "answer-lost" } }, {}, { fault: { kind: "answer-lost" } }],
    );
    const { adopted, problems } = await keep(bucket, author);
    expect(adopted).toHaveLength(1);
    expect(problems).toEqual([]);
    expect((await bucket.root()).checkpointSlot).toBe(16);
  });

  it("is written in the background, and waited for from the thirty-second slot behind on", async () => {
    const bucket = new Bucket();
    const author = await bucket.open();
    await writeSlots(bucket, author, 15);
    await author.write(author.commit());
    const gate = bucket.faulty.gate(isRun, "before");
    const work = author.session.keepState?.(stateRequest(author).request);
    await bucket.environment.until(gate.arrived);
    expect(work?.commitsWait).toBe(false);
    for (let slot = 17; slot < 48; slot++) await author.write(author.commit());
    expect(work?.commitsWait).toBe(false);
    await author.write(author.commit());
    expect(work?.commitsWait).toBe(true);
    gate.open();
    await bucket.environment.until(work?.done ?? Promise.resolve());
    expect(work?.commitsWait).toBe(false);
  });

  it("that may not be written is told of once, when it is 256 slots late", async () => {
    const bucket = new Bucket();
    const author = await openDenied(bucket);
    let runs = 0;
    bucket.faulty.fate = (asked) => void (isRun(asked) && runs++);
    const kept = await writeSlots(bucket, author, 16 + 256 + 16);
    // What cannot be published is not uploaded at each turn.
    expect(runs).toBe(2);
    const problems = kept.map(({ problems: told }) => told.map(({ code }) => code));
    expect(problems.slice(0, 16 + 255).flat()).toEqual([]);
    expect(problems[16 + 256 - 1]).toEqual(["CheckpointOverdue"]);
    expect(problems.flat()).toEqual(["CheckpointOverdue"]);
  });

  it("that fails is told of once, and written at the next turn", async () => {
    const bucket = new Bucket();
    const author = await bucket.open();
    bucket.faulty.fate = (request) => (isRun(request) ? { fault: { kind: "unsent" } } : undefined);
    const kept = await writeSlots(bucket, author, 24);
    expect(kept.flatMap(({ problems }) => problems.map(({ code }) => code))).toEqual(["InputOutput"]);
    bucket.faulty.fate = () => undefined;
    await writeSlots(bucket, author, 8);
    expect((await bucket.root()).checkpointSlot).toBe(32);
  });

  it("is given up without a word if a value is not there any more", async () => {
    const bucket = new Bucket();
    const author = await bucket.open();
    const buildDelta = (): Promise<never> => Promise.reject(new KVError("SnapshotExpired", "as asked for"));
    const kept = await writeSlots(bucket, author, 16, { buildDelta });
    expect(kept.flatMap(({ problems }) => problems)).toEqual([]);
    expect((await bucket.root()).checkpointSlot).toBe(0);
  });

  it("is nobody's business after another incarnation has begun", async () => {
    const bucket = new Bucket();
    const author = await bucket.open();
    await writeSlots(bucket, author, 15);
    await author.write(author.commit());
    await bucket.changeRoot(() => ({ nonce: "ab".repeat(16) }));
    const { problems, adopted } = await keep(bucket, author);
    expect([problems, adopted]).toEqual([[], []]);
    expect((await bucket.root()).checkpointSlot).toBe(0);
    expect(await author.follow()).toBe("moved");
  });
});

describe("runs", () => {
  it("are merged, eight of a size, by whoever has written the eighth, and told to the engine", async () => {
    const bucket = new Bucket();
    const author = await bucket.open();
    const kept = await writeSlots(bucket, author, 8 * 16);
    expect(kept.flatMap(({ merged }) => merged)).toEqual([{ runs: 8, lowest: true }]);
    const root = await bucket.root();
    expect(root.runs).toMatchObject([{ from: 1, to: 128, epoch: 1, size: 800, batchIds: 128 }]);
    expect(root).toMatchObject({ epoch: 1, checkpointSlot: 128, previousCheckpointSlot: 112 });
    expect(kept.at(-1)?.adopted.at(-1)?.runs).toHaveLength(1);
  });

  it("are not merged over a newer epoch", async () => {
    const bucket = new Bucket();
    const author = await bucket.open();
    await writeSlots(bucket, author, 7 * 16 + 15);
    await author.write(author.commit());
    let runsSent = 0;
    const gate = bucket.faulty.gate((request) => isRun(request) && ++runsSent === 2, "after");
    const { request } = stateRequest(author);
    const work = author.session.keepState?.(request);
    await bucket.environment.until(gate.arrived);
    await bucket.changeRoot(({ epoch }) => ({ epoch: epoch + 1 }));
    gate.open();
    await bucket.environment.until(work?.done ?? Promise.resolve());
    const { runs, epoch } = await bucket.root();
    expect(epoch).toBe(1);
    expect(runs).toHaveLength(8);
  });

  it("that came while others were merged stay", async () => {
    const bucket = new Bucket();
    const first = await bucket.open();
    const second = await bucket.open();
    await writeSlots(bucket, first, 7 * 16 + 15);
    await first.write(first.commit());
    let runsSent = 0;
    const gate = bucket.faulty.gate((request) => isRun(request) && ++runsSent === 2, "after");
    const work = first.session.keepState?.(stateRequest(first).request);
    await bucket.environment.until(gate.arrived);
    await bucket.environment.pass(6 * 60_000);
    await second.follow();
    // It gives up before it would merge.
    const check = (): never => {
      throw new KVError("SnapshotExpired", "as asked for");
    };
    await writeSlots(bucket, second, 16, { check });
    gate.open();
    await bucket.environment.until(work?.done ?? Promise.resolve());
    const root = await bucket.root();
    expect(root).toMatchObject({ epoch: 1, checkpointSlot: 144 });
    expect(root.runs).toMatchObject([
      { from: 129, to: 144 },
      { from: 1, to: 128 },
    ]);
  });

  it("are told of when there are too many, once", async () => {
    const bucket = new Bucket();
    const author = await bucket.open();
    // Too large to be merged in passing.
    const kept = await writeSlots(bucket, author, 35 * 16, { runBytes: 2_300_000 });
    const told = kept.map(({ problems }) => problems.map(({ code }) => code));
    expect(told.flat()).toEqual(["CheckpointOverdue"]);
    expect(told[33 * 16 - 1]).toEqual(["CheckpointOverdue"]);
  });

  it.each([
    ["a process", false, 16],
    ["an isolate", true, 4],
  ])("of which eight have too many bytes together for %s are left as they are", async (_, isolated, mebibytes) => {
    for (const [bytes, merges] of [
      [mebibytes * 2 ** 17, 1],
      [mebibytes * 2 ** 17 + 1, 0],
    ]) {
      const bucket = new Bucket();
      Object.assign(bucket.environment, { isolated });
      const author = await bucket.open();
      const kept = await writeSlots(bucket, author, 8 * 16, { runBytes: bytes });
      expect(kept.flatMap(({ merged }) => merged)).toHaveLength(merges);
    }
  });

  it("are merged once by an isolate where a process goes on with what that has made", async () => {
    for (const [isolated, merges] of [
      [false, 2],
      [true, 1],
    ] as const) {
      const bucket = new Bucket();
      const author = await bucket.open();
      // Seven of the next size, and seven that make the eighth.
      await writeSlots(bucket, author, 7 * 8 * 16 + 7 * 16, { runBytes: 600 });
      expect((await bucket.root()).runs).toHaveLength(14);
      Object.assign(bucket.environment, { isolated });
      const other = await (await bucket.open()).begin();
      await other.follow();
      const kept = await writeSlots(bucket, other, 16, { runBytes: 600 });
      expect(kept.flatMap(({ merged }) => merged)).toHaveLength(merges);
    }
  });

  it("that somebody has merged are taken over, though no slot has come since", async () => {
    const bucket = new Bucket();
    const author = await bucket.open();
    await writeSlots(bucket, author, 2 * 16);
    const reader = await (await bucket.open()).begin();
    await reader.follow();
    const { request } = stateRequest(author);
    await bucket.environment.until(author.session.compactState?.(request, () => undefined) ?? Promise.resolve());
    expect((await bucket.root()).runs).toHaveLength(1);
    await bucket.environment.pass(6 * 60_000);
    const read = await bucket.environment.until(
      Promise.resolve(reader.session.read(reader.position, { bytes: 1, verify: true })),
    );
    expect(read.state).toMatchObject({ position: 32, runs: { length: 1 } });
  });

  it("that are large are merged by a process that was opened for it", async () => {
    const bucket = new Bucket();
    const author = await bucket.open();
    await writeSlots(bucket, author, 8 * 16, { runBytes: 2_300_000 });
    expect((await bucket.root()).runs).toHaveLength(8);
    const other = await bucket.open();
    expect((await keep(bucket, other)).work).toBeUndefined();
    const { merged } = await keep(bucket, other, { compaction: true });
    expect(merged).toEqual([{ runs: 8, lowest: true }]);
    expect((await bucket.root()).runs).toHaveLength(1);
  });
});

describe("batch ids that are damaged", () => {
  it("keep nobody from merging: what became of those slots is not known any more", async () => {
    const bucket = new Bucket();
    const author = await bucket.open();
    await writeSlots(bucket, author, 112);
    const { runs, nonce } = await bucket.root();
    const found = await bucket.store.get(runKey(nonce, runs[3]));
    if (found.status !== "found") throw new Error(found.status);
    found.bytes[found.size - 30] ^= 1;
    await bucket.store.delete([runKey(nonce, runs[3])]);
    await bucket.store.create(runKey(nonce, runs[3]), found.bytes);
    const other = await (await bucket.open()).begin();
    await other.follow();
    const kept = await writeSlots(bucket, other, 16);
    expect(kept.flatMap(({ problems }) => problems)).toEqual([]);
    // Those of the three newer runs, and of the new one.
    expect(await bucket.root()).toMatchObject({ runs: [{ from: 1, to: 128, batchIds: 64 }] });
  });
});

describe("a compaction", () => {
  it("writes down what is not yet, and makes one run of all", async () => {
    const bucket = new Bucket();
    const author = await bucket.open();
    await writeSlots(bucket, author, 40);
    const { request, kept } = stateRequest(author);
    const told: number[] = [];
    await bucket.environment.until(
      author.session.compactState?.(request, ({ doneBytes }) => void told.push(doneBytes)) ?? Promise.resolve(),
    );
    expect(kept.since).toHaveLength(1);
    expect(kept.merged).toEqual([{ runs: 3, lowest: true }]);
    expect(await bucket.root()).toMatchObject({ checkpointSlot: 40, runs: [{ from: 1, to: 40 }] });
    expect(kept.adopted.at(-1)).toMatchObject({ position: 40 });
    expect(told).toEqual([300]);
  });

  it("makes no run that an isolate could not hold in memory", async () => {
    const bucket = new Bucket();
    Object.assign(bucket.environment, { isolated: true });
    const author = await bucket.open();
    await writeSlots(bucket, author, 4 * 16, { runBytes: 5_000_000 });
    const { request, kept } = stateRequest(author);
    await bucket.environment.until(author.session.compactState?.(request, () => undefined) ?? Promise.resolve());
    expect(kept.merged).toEqual([{ runs: 3, lowest: false }]);
    expect((await bucket.root()).runs).toMatchObject([
      { from: 17, to: 64, size: 15_000_000 },
      { from: 1, to: 16, size: 5_000_000 },
    ]);
    // What is that large is left alone from then on.
    await bucket.environment.until(author.session.compactState?.(request, () => undefined) ?? Promise.resolve());
    expect((await bucket.root()).runs).toHaveLength(2);
  });

  it("goes on until no two neighbours fit into one run", async () => {
    const bucket = new Bucket();
    Object.assign(bucket.environment, { isolated: true });
    const author = await bucket.open();
    await writeSlots(bucket, author, 7 * 16, { runBytes: 5_000_000 });
    const { request, kept } = stateRequest(author);
    await bucket.environment.until(author.session.compactState?.(request, () => undefined) ?? Promise.resolve());
    expect(kept.merged).toEqual([
      { runs: 3, lowest: false },
      { runs: 3, lowest: false },
    ]);
    expect((await bucket.root()).runs).toMatchObject([
      { from: 65, to: 112 },
      { from: 17, to: 64 },
      { from: 1, to: 16 },
    ]);
  });

  it("begins again when others have merged meanwhile", async () => {
    const bucket = new Bucket();
    const author = await bucket.open();
    await writeSlots(bucket, author, 40);
    const gate = bucket.faulty.gate(isReplace, "before");
    const { request, kept } = stateRequest(author);
    const done = author.session.compactState?.(request, () => undefined) ?? Promise.resolve();
    await bucket.environment.until(gate.arrived);
    await bucket.changeRoot(({ epoch }) => ({ epoch: epoch + 1 }));
    gate.open();
    await bucket.environment.until(done);
    expect(kept.since).toHaveLength(2);
    expect(await bucket.root()).toMatchObject({ checkpointSlot: 40, epoch: 2, runs: [{ from: 1, to: 40 }] });
  });

  it("of an incarnation that is over says so", async () => {
    const bucket = new Bucket();
    const author = await bucket.open();
    await writeSlots(bucket, author, 3);
    const listed = await bucket.store.list("");
    if (listed.status === "listed") await bucket.store.delete(listed.objects.map(({ key }) => key));
    await bucket.open();
    const { request } = stateRequest(author);
    const compacting = author.session.compactState?.(request, () => undefined) ?? Promise.resolve();
    await expect(bucket.environment.until(compacting)).rejects.toMatchObject({ code: "SnapshotExpired" });
  });

  it("that is not allowed says so", async () => {
    const bucket = new Bucket();
    const author = await openDenied(bucket);
    await writeSlots(bucket, author, 3);
    const { request } = stateRequest(author);
    const compacting = author.session.compactState?.(request, () => undefined) ?? Promise.resolve();
    await expect(bucket.environment.until(compacting)).rejects.toMatchObject({ code: "AccessDenied" });
  });
});

/** Opens a ledger whose root this credential may not replace. */
async function openDenied(bucket: Bucket): Promise<Author> {
  await bucket.open();
  const error = new KVError("AccessDenied", "as asked for");
  return await bucket.open({
    store: { ...bucket.counting, replace: async () => ({ status: "denied", error, time: undefined }) },
  });
}

/** Follows, and returns the states that were handed up. */
async function readStates(bucket: Bucket, author: Author): Promise<unknown[]> {
  const states: unknown[] = [];
  for (;;) {
    const read = await bucket.environment.until(
      Promise.resolve(author.session.read(author.position, { bytes: 1 << 20, verify: true })),
    );
    if (read.state !== undefined) states.push(read.state);
    author.position = read.next;
    if (read.status !== "more") return states;
  }
}
