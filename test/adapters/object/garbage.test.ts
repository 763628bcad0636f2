import { describe, expect, it } from "vitest";
import { runKey, slotKey, stagedKey } from "../../../src/adapters/object/layout.ts";
import type { ObjectStore } from "../../../src/adapters/object/object-store.ts";
import { Bucket, type Author } from "../../support/bucket.ts";
import { keep, stateRequest, writeSlots } from "../../support/state-requests.ts";

const HOUR = 3_600_000;
const GRACE = HOUR;
const SECOND = 1000;
const NONCE = "fedcba9876543210fedcba9876543210";

/** A collector: it has written four checkpoints, the last of them an hour and more after the others. */
async function aged(
  options: { readonly tellsTime?: boolean; readonly isolated?: boolean; readonly singly?: boolean } = {},
): Promise<{
  readonly bucket: Bucket;
  readonly author: Author;
}> {
  const bucket = new Bucket(options);
  if (options.isolated === true) Object.assign(bucket.environment, { isolated: true });
  const { counting } = bucket;
  const store = options.singly === true ? deletingSingly(counting) : counting;
  const author = await bucket.open({ graceMs: GRACE, store });
  await writeSlots(bucket, author, 48);
  await bucket.environment.pass(GRACE + 10 * SECOND);
  return { bucket, author };
}

/** Polls as an open database does, and keeps the state after each round. */
async function pollFor(bucket: Bucket, author: Author, ms: number, everyMs = 5 * 60_000): Promise<void> {
  for (let passed = 0; passed < ms; passed += everyMs) {
    await bucket.environment.pass(everyMs);
    await author.follow();
    await keep(bucket, author);
  }
}

async function slotsThere({ store }: Bucket, upto: number): Promise<number[]> {
  const slots = Array.from({ length: upto }, (_, i) => i + 1);
  const nonce = await nonceOf(store);
  const there = await Promise.all(
    slots.map(async (slot) => (await store.get(slotKey(nonce, slot))).status === "found"),
  );
  return slots.filter((_, i) => there[i]);
}

async function nonceOf(store: ObjectStore): Promise<string> {
  const answer = await store.list("");
  if (answer.status !== "listed") throw new Error(answer.status);
  const key = answer.objects.map((object) => object.key).find((each) => each.includes("/log/"));
  return key?.slice(0, 32) ?? "";
}

/** As S3: a delete takes one key. */
function deletingSingly(store: ObjectStore): ObjectStore {
  return { ...store, capabilities: { ...store.capabilities, deleteKeysMax: 1 } };
}

describe("the floor", () => {
  it("is raised to the slot of the checkpoint before the last one, when all below is old", async () => {
    const { bucket, author } = await aged();
    expect(await bucket.root()).toMatchObject({ floor: 1, swept: 1, previousCheckpointSlot: 32 });
    await writeSlots(bucket, author, 1);
    expect(await bucket.root()).toMatchObject({ floor: 32, floorAt: undefined, swept: 1, checkpointSlot: 48 });
  });

  it("is raised by who writes a checkpoint, with the same replace and without a time", async () => {
    const { bucket } = await aged();
    const other = await (await bucket.open({ graceMs: GRACE })).begin();
    await writeSlots(bucket, other, 16);
    expect(await bucket.root()).toMatchObject({ floor: 32, floorAt: undefined, swept: 1, checkpointSlot: 64 });
    expect(bucket.requests.filter((request) => request.startsWith("replace"))).toHaveLength(1);
  });

  it("is raised past the slots that are old, and not above one that is young", async () => {
    const bucket = new Bucket();
    const author = await bucket.open({ graceMs: GRACE });
    await writeSlots(bucket, author, 20);
    await bucket.environment.pass(2 * GRACE);
    for (let slot = 21; slot < 80; slot++) await author.write(author.commit());
    await writeSlots(bucket, author, 1);
    expect(await bucket.root()).toMatchObject({ floor: 1, previousCheckpointSlot: 16, checkpointSlot: 80 });
    await bucket.changeRoot(() => ({ previousCheckpointSlot: 80 }));
    await writeSlots(bucket, author, 16);
    expect(await bucket.root()).toMatchObject({ floor: 21, checkpointSlot: 96 });
  });

  it("has no time until an answer has shown it, and then that answer's", async () => {
    const { bucket, author } = await aged();
    await writeSlots(bucket, author, 15);
    await bucket.environment.pass(10 * SECOND);
    expect(await bucket.root()).toMatchObject({ floor: 32, floorAt: undefined });
    const gate = bucket.faulty.gate(({ kind }) => kind === "replace", "before");
    await author.write(author.commit());
    const work = author.session.keepState?.(stateRequest(author).request);
    await bucket.environment.until(gate.arrived);
    const shownAt = bucket.environment.now();
    await bucket.environment.pass(10 * SECOND);
    gate.open();
    await bucket.environment.until(work?.done ?? Promise.resolve());
    expect(await bucket.root()).toMatchObject({ floor: 32, floorAt: Math.floor(shownAt / SECOND) * SECOND });
  });

  it("has no time of an answer that showed another root than the one that is replaced", async () => {
    const { bucket, author } = await aged();
    await writeSlots(bucket, author, 15);
    await author.write(author.commit());
    // Somebody raises it between the answer and the replace.
    const gate = bucket.faulty.gate(({ kind }) => kind === "replace", "before");
    const work = author.session.keepState?.(stateRequest(author).request);
    await bucket.environment.until(gate.arrived);
    await bucket.environment.pass(10 * SECOND);
    await bucket.changeRoot(() => ({ floor: 30, floorAt: undefined }));
    const raisedAt = bucket.environment.now();
    await bucket.environment.pass(10 * SECOND);
    gate.open();
    await bucket.environment.until(work?.done ?? Promise.resolve());
    const { floor, floorAt = Infinity } = await bucket.root();
    expect(floor).toBe(30);
    expect(floorAt).toBeGreaterThan(raisedAt);
  });

  it("is not raised again before everything below it is deleted", async () => {
    const { bucket, author } = await aged();
    await writeSlots(bucket, author, 16);
    await writeSlots(bucket, author, 16);
    await bucket.environment.pass(GRACE / 2);
    await writeSlots(bucket, author, 16);
    expect(await bucket.root()).toMatchObject({ floor: 32, swept: 1 });
  });
});

describe("slots below the floor", () => {
  it("are deleted when the grace has gone by since the floor was seen, and then that is noted", async () => {
    const { bucket, author } = await aged();
    await writeSlots(bucket, author, 32);
    const { floorAt = 0 } = await bucket.root();
    expect(floorAt).toBeGreaterThan(0);
    await pollFor(bucket, author, GRACE - 6 * 60_000);
    expect(await slotsThere(bucket, 40)).toHaveLength(40);
    await pollFor(bucket, author, 15 * 60_000);
    expect(await bucket.root()).toMatchObject({ swept: 32 });
    expect(await slotsThere(bucket, 40)).toEqual([32, 33, 34, 35, 36, 37, 38, 39, 40]);
  });

  it("are deleted in a quiet ledger too", async () => {
    const { bucket, author } = await aged();
    await pollFor(bucket, author, 3 * GRACE);
    expect(await bucket.root()).toMatchObject({ floor: 32, swept: 32 });
    expect(await slotsThere(bucket, 40)).toEqual([32, 33, 34, 35, 36, 37, 38, 39, 40]);
  });

  it("that an author has created where others were deleted go with the next ones", async () => {
    const { bucket, author } = await aged();
    await writeSlots(bucket, author, 48);
    await pollFor(bucket, author, 2 * GRACE);
    const { swept } = await bucket.root();
    expect(swept).toBeGreaterThan(3);
    const nonce = await nonceOf(bucket.store);
    for (const slot of [1, 3]) await bucket.store.create(slotKey(nonce, slot), new Uint8Array(1));
    const foreign = [slotKey(NONCE, 1), `${nonce}/log/notes`];
    for (const key of foreign) await bucket.store.create(key, new Uint8Array(1));
    await writeSlots(bucket, author, 32);
    await pollFor(bucket, author, 3 * GRACE);
    expect((await bucket.root()).swept).toBeGreaterThan(swept);
    expect((await slotsThere(bucket, swept)).filter((slot) => slot < swept)).toEqual([]);
    for (const key of foreign) expect((await bucket.store.get(key)).status).toBe("found");
  });

  it("are deleted by the collector's clock where the store tells no time", async () => {
    const bucket = new Bucket({ tellsTime: false });
    const author = await bucket.open({ graceMs: GRACE });
    await writeSlots(bucket, author, 48);
    await pollFor(bucket, author, GRACE - 10 * 60_000);
    expect(await bucket.root()).toMatchObject({ floor: 1, swept: 1 });
    await pollFor(bucket, author, 3 * GRACE);
    const { swept } = await bucket.root();
    expect(swept).toBeGreaterThan(1);
    expect(await slotsThere(bucket, swept)).toEqual([swept]);
  });

  it("are deleted a few at a time in an isolate, where each takes a request", async () => {
    const { bucket, author } = await aged({ isolated: true, singly: true });
    await writeSlots(bucket, author, 32);
    await bucket.environment.pass(GRACE + 10 * SECOND);
    await author.follow();
    await keep(bucket, author);
    expect(await bucket.root()).toMatchObject({ floor: 32, swept: 25 });
    expect(await slotsThere(bucket, 26)).toEqual([25, 26]);
    await pollFor(bucket, author, 15 * 60_000);
    expect(await bucket.root()).toMatchObject({ swept: 32 });
  });

  it("are deleted all at once in an isolate too, where that takes a request", async () => {
    const { bucket, author } = await aged({ isolated: true });
    await writeSlots(bucket, author, 32);
    await bucket.environment.pass(GRACE + 10 * SECOND);
    await author.follow();
    await keep(bucket, author);
    expect(await bucket.root()).toMatchObject({ floor: 32, swept: 32 });
  });

  it("and whatever else is to be deleted with them take 32 requests at most in an isolate", async () => {
    const { bucket, author } = await aged({ isolated: true, singly: true });
    await writeSlots(bucket, author, 48);
    const { nonce } = await bucket.root();
    for (let i = 0; i < 20; i++) {
      const random = String(i).padStart(16, "0");
      const run = { epoch: 0, from: 1, to: 1, random };
      for (const key of [slotKey(nonce, i), stagedKey(nonce, { slot: 1, random }), runKey(nonce, run)])
        await bucket.store.create(key, new Uint8Array(1));
    }
    await bucket.changeRoot(() => ({
      floor: 96,
      swept: 86,
      previousCheckpointSlot: 96,
      floorAt: bucket.environment.now(),
    }));
    await bucket.environment.pass(GRACE + 10 * SECOND);
    await author.follow();
    bucket.requests.length = 0;
    await keep(bucket, author);
    const deleted = bucket.requests.filter((request) => request.startsWith("delete"));
    expect(deleted).toHaveLength(32);
    await pollFor(bucket, author, HOUR);
    expect(await bucket.root()).toMatchObject({ swept: 96 });
  });

  it("are not deleted by who has never written a checkpoint", async () => {
    const { bucket, author } = await aged();
    await writeSlots(bucket, author, 32);
    const other = await bucket.open({ graceMs: GRACE });
    await pollFor(bucket, other, 3 * GRACE);
    expect(await bucket.root()).toMatchObject({ swept: 1 });
  });
});

describe("large values", () => {
  it("are deleted only when no slot may refer to them any more", async () => {
    const { bucket, author } = await aged();
    await writeSlots(bucket, author, 48);
    const nonce = await nonceOf(bucket.store);
    const random = "0".repeat(16);
    const name = (slot: number): string => stagedKey(nonce, { slot, random });
    const foreign = stagedKey(NONCE, { slot: 1, random });
    for (const key of [1, 30, 40].map(name)) await bucket.store.create(key, new Uint8Array(1));
    await bucket.store.create(foreign, new Uint8Array(1));
    await bucket.changeRoot(() => ({ floor: 96, previousCheckpointSlot: 96, floorAt: bucket.environment.now() }));
    await pollFor(bucket, author, GRACE + 20 * 60_000);
    expect(await bucket.root()).toMatchObject({ floor: 96, swept: 96 });
    const statuses = await Promise.all([...[1, 30, 40].map(name), foreign].map((key) => bucket.store.get(key)));
    // 31 + 64 is not below 96.
    expect(statuses.map(({ status }) => status)).toEqual(["absent", "absent", "found", "found"]);
  });
});

describe("large values in an isolate, where each delete takes a request", () => {
  it("get those that slots leave", async () => {
    const { bucket, author } = await aged({ isolated: true, singly: true });
    await writeSlots(bucket, author, 48);
    const { nonce } = await bucket.root();
    for (let i = 0; i < 40; i++) {
      const random = String(i).padStart(16, "0");
      await bucket.store.create(stagedKey(nonce, { slot: 1, random }), new Uint8Array(1));
    }
    await bucket.store.delete(Array.from({ length: 94 }, (_, i) => slotKey(nonce, i + 1)));
    const floorAt = bucket.environment.now();
    await bucket.changeRoot(() => ({ floor: 96, previousCheckpointSlot: 96, swept: 95, floorAt }));
    await bucket.environment.pass(GRACE + 10 * SECOND);
    await author.follow();
    bucket.requests.length = 0;
    await keep(bucket, author);
    expect(bucket.requests.filter((request) => request.startsWith("delete staged"))).toHaveLength(27);
  });
});

describe("runs", () => {
  it("that were merged are deleted an hour after the one that covers them was written, also by who made them", async () => {
    const bucket = new Bucket();
    const author = await bucket.open();
    await writeSlots(bucket, author, 7 * 16);
    const merger = await bucket.open();
    await merger.follow();
    await writeSlots(bucket, merger, 16);
    const nonce = await nonceOf(bucket.store);
    const runs = async (): Promise<number> => {
      const listed = await bucket.store.list(`${nonce}/run/`);
      return listed.status === "listed" ? listed.objects.length : -1;
    };
    expect((await bucket.root()).runs).toHaveLength(1);
    expect(await runs()).toBe(9);
    // Something else is collected meanwhile.
    await bucket.changeRoot(() => ({ floor: 16, floorAt: 0 }));
    await pollFor(bucket, merger, HOUR - 10 * 60_000);
    expect(await bucket.root()).toMatchObject({ swept: 16 });
    expect(await runs()).toBe(9);
    await pollFor(bucket, merger, 30 * 60_000);
    expect(await runs()).toBe(1);
  });

  it("do not become ever more where one process writes alone, for a long time", async () => {
    const bucket = new Bucket();
    const author = await bucket.open({ graceMs: GRACE });
    const counts: number[] = [];
    for (let hours = 0; hours < 8; hours++) {
      await writeSlots(bucket, author, 450, { everyMs: 8 * SECOND });
      const { nonce } = await bucket.root();
      const listed = await bucket.store.list(`${nonce}/run/`);
      counts.push(listed.status === "listed" ? listed.objects.length : Infinity);
    }
    expect(Math.max(...counts.slice(4))).toBeLessThanOrEqual(1.2 * Math.max(...counts.slice(0, 4)));
  });

  it("of which it is not known whether they are in the root are left to others by who has uploaded them", async () => {
    const bucket = new Bucket();
    const author = await bucket.open();
    await writeSlots(bucket, author, 15);
    const unsent = { fault: { kind: "unsent" } } as const;
    bucket.befalls(
      ({ kind, keys }) => kind === "replace" || (kind === "get" && keys[0] === "root"),
      [{}, ...Array.from({ length: 5 }, () => unsent)],
    );
    await writeSlots(bucket, author, 1);
    const { nonce, runs } = await bucket.root();
    expect(runs).toEqual([]);
    const listed = await bucket.store.list(`${nonce}/run/`);
    const [lost] = listed.status === "listed" ? listed.objects : [];
    const other = await (await bucket.open()).begin();
    await other.follow();
    await writeSlots(bucket, other, 16);
    await author.follow();
    await writeSlots(bucket, author, 8 * 16);
    await pollFor(bucket, author, 2 * HOUR);
    expect((await bucket.store.get(lost.key)).status).toBe("found");
    await writeSlots(bucket, other, 8 * 16);
    await pollFor(bucket, other, 2 * HOUR);
    expect((await bucket.store.get(lost.key)).status).toBe("absent");
  });

  it("that may still be put into the root stay", async () => {
    const bucket = new Bucket();
    const author = await bucket.open();
    await writeSlots(bucket, author, 8 * 16);
    const nonce = await nonceOf(bucket.store);
    const random = "0".repeat(16);
    const foreign = runKey(NONCE, { epoch: 0, from: 1, to: 16, random });
    const [merging, growing, beaten, old, ahead] = [
      { epoch: 2, from: 1, to: 128, random },
      { epoch: 1, from: 129, to: 160, random },
      { epoch: 1, from: 1, to: 128, random },
      { epoch: 0, from: 1, to: 16, random },
      { epoch: 0, from: 113, to: 130, random },
    ].map((run) => runKey(nonce, run));
    const strange = `${nonce}/run/notes`;
    for (const key of [foreign, merging, growing, beaten, old, ahead, strange]) {
      await bucket.store.create(key, new Uint8Array(1));
    }
    await pollFor(bucket, author, 2 * HOUR);
    const there: string[] = [];
    for (const key of [foreign, merging, growing, beaten, old, ahead, strange]) {
      if ((await bucket.store.get(key)).status === "found") there.push(key);
    }
    expect(there).toEqual([foreign, merging, growing, ahead, strange]);
  });
});
