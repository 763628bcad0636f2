import { describe, expect, test } from "vitest";
import type { ObjectStore } from "../../../src/adapters/object/object-store.ts";
import { KVError } from "../../../src/core/errors.ts";
import { decodeSlot, encodeSlot, payloadOf } from "../../../src/adapters/object/slot.ts";
import { type Author, Bucket, failure, isGetOfSlot } from "../../support/bucket.ts";

async function written(slots: number): Promise<{ readonly bucket: Bucket; readonly a: Author }> {
  const bucket = new Bucket();
  const a = await bucket.open();
  for (let i = 0; i < slots; i++) await a.append(a.commit(i % 256));
  return { bucket, a };
}

const slotKeyOf = async (bucket: Bucket, slot: number): Promise<string> =>
  `${(await bucket.root()).nonce}/log/${String(slot).padStart(12, "0")}`;

describe("following", () => {
  test("asks for the next slot by its name, and never for a list", async () => {
    const { bucket, a } = await written(0);
    const b = await bucket.open();
    await b.follow();
    bucket.requests.length = 0;
    for (let i = 0; i < 3; i++) {
      await a.append(a.commit());
      await b.follow();
    }
    expect(b.commits).toHaveLength(3);
    expect(bucket.requests.filter((each) => each.startsWith("list"))).toEqual([]);
  });

  test("asks for ever more slots at once when it is far behind, up to what the store bears", async () => {
    const { bucket, a } = await written(0);
    const b = await bucket.open();
    await b.follow();
    for (let i = 0; i < 100; i++) await a.append(a.commit());
    let under = 0;
    const most: number[] = [];
    const { store } = bucket;
    // A window is what is asked for before the first answer.
    bucket.faulty.fate = (request) => {
      if (isGetOfSlot(request)) most.push(++under);
      void bucket.environment.setTimer(() => (under = 0), 5);
      return { delayMs: { there: 5, back: 5 } };
    };
    await b.follow();
    expect(b.commits).toHaveLength(100);
    expect(Math.max(...most)).toBe(store.capabilities.parallel);
    expect(most.slice(0, 3)).toEqual([1, 1, 2]);
  });

  test.each([
    ["is so late that an earlier root says nothing of it", (time: number) => time + 10 * 60_000],
    ["tells no time", () => undefined],
  ])("confirms answers that came together by a root of now, where one of them %s", async (_, told) => {
    const { bucket, a } = await written(0);
    const store: ObjectStore = {
      ...bucket.counting,
      get: async (key, range) => {
        const answer = await bucket.counting.get(key, range);
        // The second and the third slot are asked for at once.
        const isOdd = key.endsWith("/log/000000000003") && answer.status === "found";
        return isOdd && answer.time !== undefined ? { ...answer, time: told(answer.time) } : answer;
      },
    };
    const b = await bucket.open({ store });
    await b.follow();
    for (let i = 0; i < 4; i++) await a.append(a.commit());
    bucket.requests.length = 0;
    await b.follow();
    expect(b.commits).toHaveLength(4);
    expect(bucket.requests.filter((each) => each === "get root found")).toHaveLength(1);
  });

  test("looks at the root after every 64 slots, for what a newer checkpoint covers", async () => {
    const bucket = new Bucket();
    const a = await bucket.open();
    const b = await bucket.open();
    for (let i = 0; i < 64; i++) await a.append(a.commit());
    const root = (): number => bucket.requests.filter((each) => each === "get root found").length;
    bucket.requests.length = 0;
    await b.follow();
    expect(root()).toBe(1);
    for (let i = 0; i < 63; i++) {
      await a.append(a.commit());
      await b.follow();
    }
    expect(root()).toBe(1);
    await a.append(a.commit());
    await b.follow();
    expect(root()).toBe(2);
  });

  test("hands slots up in portions, and asks for none of them twice", async () => {
    const { bucket, a } = await written(0);
    const b = await bucket.open();
    for (let i = 0; i < 5; i++) await a.append(a.commit(i, 2000));
    bucket.requests.length = 0;
    let position = b.session.start;
    const sizes: number[] = [];
    for (let verify = true; ; verify = false) {
      const read = await bucket.environment.until(Promise.resolve(b.session.read(position, { bytes: 3000, verify })));
      sizes.push(read.commits.length);
      position = read.next;
      if (read.status === "end") break;
    }
    expect(sizes.every((size) => size <= 2)).toBe(true);
    expect(position).toBe(5);
    const asked = bucket.requests.filter((each) => each.endsWith("found"));
    expect(new Set(asked).size).toBe(asked.length);
  });

  test("a slot that was not there when a later one already was is asked for again", async () => {
    const { bucket, a } = await written(1);
    const b = await bucket.open();
    await b.follow();
    for (let i = 0; i < 8; i++) await a.append(a.commit());
    const passed = new Set<string>();
    const racing = {
      ...bucket.counting,
      // The first look at slot 4 comes just too early.
      get: async (key: string, range?: { readonly from: number; readonly length: number }) => {
        const answer = await bucket.counting.get(key, range);
        if (!key.endsWith("/log/000000000004") || passed.has(key)) return answer;
        passed.add(key);
        return { status: "absent" as const, time: answer.time };
      },
    };
    const c = await bucket.open({ store: racing });
    expect(await c.follow()).toBe("end");
    expect(c.commits).toHaveLength(9);
  });

  test("a slot that is gone below one that is there is damage, and says which", async () => {
    const { bucket, a } = await written(8);
    await bucket.store.delete([await slotKeyOf(bucket, 4)]);
    const b = await bucket.open();
    await expect(b.follow()).rejects.toMatchObject({
      code: "LedgerDamaged",
      ranges: [{ from: 4 * 65_536, to: 5 * 65_536 }],
    });
    expect(b.commits).toHaveLength(3);
    expect(await a.follow()).toBe("end");
  });

  test("a slot that is gone below the tail that a root names is damage too", async () => {
    const { bucket } = await written(3);
    await bucket.changeRoot(() => ({ tailHint: 3 }));
    await bucket.store.delete([await slotKeyOf(bucket, 3)]);
    const b = await bucket.open();
    expect(await failure(b.follow())).toBe("LedgerDamaged");
  });

  test("a slot that is gone below one that is there is none that is missed, if it was deleted meanwhile", async () => {
    const { bucket } = await written(8);
    const gate = bucket.faulty.gate(isGetOfSlot, "before");
    const opening = bucket.open();
    await gate.arrived;
    await bucket.pretendCheckpoint(6, { isFloor: true });
    await bucket.store.delete(await Promise.all([1, 2, 3, 4, 5].map((slot) => slotKeyOf(bucket, slot))));
    gate.open();
    const reader = await opening;
    expect(await reader.follow()).toBe("moved");
    expect(reader.commits).toEqual([]);
  });

  test("what was handed up may be changed: values are read as they were written", async () => {
    const { bucket } = await written(1);
    const b = await bucket.open();
    await b.follow();
    const [{ payload, version, place }] = b.commits;
    const before = payload.slice();
    payload.fill(99);
    expect(await b.session.readValue(version, place, payload.length)).toEqual(before);
  });

  test("bytes that are wrong only on their way are asked for again; wrong ones in the store are damage", async () => {
    const { bucket } = await written(2);
    const b = await bucket.open();
    let times = 0;
    const key = await slotKeyOf(bucket, 1);
    const flipping = (limit: number) => ({
      ...bucket.counting,
      get: async (name: string, range?: { readonly from: number; readonly length: number }) => {
        const answer = await bucket.counting.get(name, range);
        if (name !== key || answer.status !== "found" || times++ >= limit) return answer;
        const bytes = answer.bytes.slice();
        bytes[60] ^= 4;
        return { ...answer, bytes };
      },
    });
    await b.follow();
    expect(b.commits).toHaveLength(2);
    const c = await bucket.open({ store: flipping(1) });
    await c.follow();
    expect(c.commits).toHaveLength(2);
    times = 0;
    // It can be opened, to be repaired, and not be followed.
    const d = await bucket.open({ store: flipping(Infinity) });
    expect(await failure(d.follow())).toBe("LedgerDamaged");
  });

  test("a slot whose predecessor is not the one that was read is damage, and what lies before it is handed up", async () => {
    const { bucket } = await written(3);
    const { nonce } = await bucket.root();
    const key = await slotKeyOf(bucket, 3);
    const last = await bucket.store.get(key);
    if (last.status !== "found") throw new Error(last.status);
    const context = { crc32: bucket.environment.crc32, name: key };
    const slot = decodeSlot(last.bytes, { nonce, slot: 3 }, context);
    const commits = slot.commits.map((commit) => ({ ...commit, payload: payloadOf(last.bytes, commit) }));
    const forged = encodeSlot({ ...slot, commits, predecessor: new Uint8Array(32) }, context.crc32);
    await bucket.store.delete([key]);
    await bucket.store.create(key, forged.bytes);
    const b = await bucket.open();
    expect(await failure(b.follow())).toBe("LedgerDamaged");
    expect(b.commits).toHaveLength(2);
  });

  test("where all was deleted, what somebody has gone on with who had not heard of it is no damage", async () => {
    const { bucket, a } = await written(2);
    const [b, late] = [await bucket.open(), await bucket.open()];
    await b.follow();
    await late.follow();
    await a.append(a.commit());
    await b.follow();
    const listed = await bucket.store.list("");
    if (listed.status !== "listed") throw new Error(listed.status);
    await bucket.store.delete(listed.objects.map(({ key }) => key));
    await late.append(late.commit());
    await late.append(late.commit());
    await bucket.open();
    expect(await b.follow()).toBe("moved");
    expect(b.commits).toHaveLength(3);
  });

  test("something that is not ours among the slots is damage", async () => {
    const { bucket } = await written(2);
    await bucket.store.create(await slotKeyOf(bucket, 3), new TextEncoder().encode("<html>hello</html>"));
    const b = await bucket.open();
    expect(await failure(b.follow())).toBe("LedgerDamaged");
    expect(b.commits).toHaveLength(2);
  });

  test("a checkpoint more than 256 slots ahead is begun with instead of caught up with", async () => {
    const { bucket, a } = await written(1);
    const near = await bucket.open();
    const far = await bucket.open();
    await near.follow();
    await far.follow();
    for (let i = 0; i < 270; i++) await a.append(a.commit());
    const checkpoint = async (slot: number): Promise<void> => {
      await bucket.pretendCheckpoint(slot, { isFloor: false });
      await bucket.environment.pass(6 * 60_000);
    };
    await checkpoint(257);
    expect(await near.follow()).toBe("end");
    await checkpoint(258);
    expect(await far.follow()).toBe("moved");
  });

  test("a damaged slot that a checkpoint covers is passed over, but not by who reads what lies before", async () => {
    const { bucket, a } = await written(1);
    const b = await bucket.open();
    await b.follow();
    for (let i = 0; i < 3; i++) await a.append(a.commit());
    await bucket.store.delete([await slotKeyOf(bucket, 2)]);
    await bucket.pretendCheckpoint(3, { isFloor: false });
    // The root that it has to ask for by then tells of what lies behind.
    await bucket.environment.pass(6 * 60_000);
    expect(await b.follow()).toBe("moved");
    const history = await bucket.open();
    expect(await failure(history.follow())).toBe("LedgerDamaged");
    expect(history.commits).toHaveLength(1);
  });

  test("what lies before the state is read to the end, however far that is", async () => {
    const { bucket } = await written(300);
    await bucket.pretendCheckpoint(290, { isFloor: false });
    const history = await bucket.open();
    expect(await history.follow()).toBe("end");
    expect(history.commits).toHaveLength(300);
  });

  test("what cannot be read is told, and what lies before it is handed up", async () => {
    const { bucket } = await written(5);
    const b = await bucket.open();
    await b.follow();
    const key = await slotKeyOf(bucket, 3);
    const failing = {
      ...bucket.counting,
      get: async (name: string, range?: { readonly from: number; readonly length: number }) =>
        name === key
          ? { status: "unavailable" as const, error: unavailable(), time: undefined }
          : await bucket.counting.get(name, range),
    };
    const c = await bucket.open({ store: failing });
    expect(await failure(c.follow())).toBe("InputOutput");
    expect(c.commits).toHaveLength(2);
  });
});

function unavailable(): KVError {
  return new KVError("InputOutput", "no");
}
