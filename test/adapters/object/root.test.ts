import { describe, expect, it } from "vitest";
import {
  nonceOf,
  parseRunKey,
  parseSlotKey,
  parseStagedKey,
  runKey,
  slotKey,
  stagedKey,
} from "../../../src/adapters/object/layout.ts";
import { memoryStore } from "../../../src/adapters/object/memory-store.ts";
import { RootObject } from "../../../src/adapters/object/root-object.ts";
import { decodeRoot, emptyRoot, encodeRoot, type Root } from "../../../src/adapters/object/root.ts";
import { KVError } from "../../../src/core/errors.ts";
import { FaultyStore } from "../../../src/testing/faulty-store.ts";
import { ManualEnvironment } from "../../support/manual-environment.ts";

const LEDGER = "0123456789abcdef0123456789abcdef";
const NONCE = "fedcba9876543210fedcba9876543210";
const OTHER = "00112233445566778899aabbccddeeff";
const environment = new ManualEnvironment();
const { crc32 } = environment;
const writeId = new Uint8Array(16).fill(7);

const empty = emptyRoot({ ledgerId: LEDGER, nonce: NONCE, verdict: "suitable" });
const grown: Root = {
  ...empty,
  runs: [
    { epoch: 3, from: 41, to: 56, random: "0011223344556677", size: 5000, footerPlace: 4000, batchIds: 16 },
    { epoch: 3, from: 1, to: 40, random: "8899aabbccddeeff", size: 50_000_000, footerPlace: 49_000_000, batchIds: 40 },
  ],
  checkpointSlot: 56,
  previousCheckpointSlot: 40,
  checkpointVersion: 56 * 65_536 + 3,
  checkpointHash: new Uint8Array(32).fill(9),
  epoch: 3,
  floor: 33,
  floorAt: 1_700_000_000_000,
  swept: 30,
  tailHint: 60,
};
const repaired: Root = {
  ...grown,
  nonce: OTHER,
  firstSlot: 101,
  runs: [{ epoch: 4, from: 1, to: 100, random: "0011223344556677", size: 9, footerPlace: 1, batchIds: 0 }],
  checkpointSlot: 100,
  previousCheckpointSlot: 100,
  epoch: 4,
  floor: 101,
  floorAt: undefined,
  swept: 101,
  tailHint: 100,
  formers: [{ nonce: NONCE, lastSlot: 58 }],
};

function codeOf(work: () => unknown): string | undefined {
  try {
    work();
  } catch (error) {
    return error instanceof KVError ? error.code : String(error);
  }
  return undefined;
}

describe("the root's bytes", () => {
  it("say what was put in", () => {
    for (const root of [empty, grown, repaired]) {
      const bytes = encodeRoot({ root, writeId }, crc32);
      expect(decodeRoot(bytes, crc32, "here")).toEqual({ root, writeId });
    }
  });

  it("are refused when one of them has changed or is missing", () => {
    const bytes = encodeRoot({ root: grown, writeId }, crc32);
    for (let i = 0; i < bytes.length; i++) {
      const changed = bytes.slice();
      changed[i] ^= 0x10;
      const expected = i < 8 ? "NotALedger" : "LedgerDamaged";
      expect(codeOf(() => decodeRoot(changed, crc32, "here"))).toBe(expected);
      expect(codeOf(() => decodeRoot(bytes.subarray(0, i), crc32, "here"))).toBe(
        i < 8 ? "NotALedger" : "LedgerDamaged",
      );
    }
  });

  it("are of a newer format only if their checksum holds", () => {
    const bytes = encodeRoot({ root: grown, writeId }, crc32);
    bytes[8] = 2;
    new DataView(bytes.buffer).setUint32(bytes.length - 4, crc32(bytes.subarray(0, -4)), true);
    expect(codeOf(() => decodeRoot(bytes, crc32, "here"))).toBe("UnsupportedFormat");
  });

  it("never say what no root may say", () => {
    const wrongs: Partial<Root>[] = [
      { checkpointSlot: 57 },
      { runs: [] },
      { runs: grown.runs.slice(0, 1) },
      { runs: [{ ...grown.runs[0], from: 42 }, grown.runs[1]] },
      { runs: [{ ...grown.runs[0], from: grown.runs[0].from + 1, batchIds: 0 }, grown.runs[1]] },
      { runs: [{ ...grown.runs[0], epoch: 4 }, grown.runs[1]] },
      { runs: [{ ...grown.runs[0], footerPlace: 5000 }, grown.runs[1]] },
      { runs: [{ ...grown.runs[0], batchIds: 17 }, grown.runs[1]] },
      { previousCheckpointSlot: 57 },
      { floor: 41 },
      { swept: 34 },
      { tailHint: 55 },
      { checkpointVersion: 57 * 65_536 },
      { floorAt: 0.5 },
      { formers: [{ nonce: OTHER, lastSlot: 1 }] },
    ];
    for (const wrong of wrongs) {
      expect(() => encodeRoot({ root: { ...grown, ...wrong }, writeId }, crc32), JSON.stringify(wrong)).toThrow(
        RangeError,
      );
    }
  });
});

describe("names", () => {
  it("come back as what they were made of", () => {
    const run = { epoch: 2, from: 3, to: 4, random: "0011223344556677" };
    const staged = { slot: 5, random: "0011223344556677" };
    expect(parseSlotKey(NONCE, slotKey(NONCE, 77))).toBe(77);
    expect(parseRunKey(NONCE, runKey(NONCE, run))).toEqual(run);
    expect(parseStagedKey(NONCE, stagedKey(NONCE, staged))).toEqual(staged);
  });

  it("are taken for nobody's unless they follow their pattern and lie in the folder", () => {
    const good = runKey(NONCE, { epoch: 2, from: 3, to: 4, random: "0011223344556677" });
    const bads = [good.slice(0, -1), `${good}0`, good.toUpperCase(), good.replace("-", "_"), `${good}-1`, `x${good}`];
    for (const bad of [...bads, good.replace("000000000002-", "../000000002-")])
      expect(parseRunKey(NONCE, bad)).toBeUndefined();
    expect(parseRunKey(OTHER, good)).toBeUndefined();
    expect(parseSlotKey(NONCE, `${NONCE}/log/7`)).toBeUndefined();
    expect(parseSlotKey(NONCE, `${NONCE}/log/999999999999`)).toBeUndefined();
    expect(parseStagedKey(NONCE, `${NONCE}/staged/000000000007-`)).toBeUndefined();
    for (const wrong of ["../..", `x${NONCE}`, `${NONCE}0`, `../${NONCE}`]) {
      expect(() => slotKey(wrong, 1)).toThrow();
      expect(nonceOf(`${wrong}/log/000000000001`)).toBeUndefined();
    }
    expect(nonceOf(`${NONCE}/log/000000000001`)).toBe(NONCE);
    expect(() => slotKey(NONCE, -1)).toThrow();
  });
});

describe("the root object", () => {
  async function created(): Promise<{ readonly store: FaultyStore; readonly root: RootObject }> {
    const store = new FaultyStore(memoryStore({ now: environment.now }), { environment });
    const root = new RootObject(store, environment);
    expect(await root.create(empty)).toEqual({ status: "created" });
    return { store, root };
  }

  async function found(
    root: RootObject,
  ): Promise<Extract<Awaited<ReturnType<RootObject["read"]>>, { status: "found" }>> {
    const answer = await root.read();
    if (answer.status !== "found") throw new Error(answer.status);
    return answer;
  }

  it("is created once", async () => {
    const { store, root } = await created();
    expect(await root.create({ ...empty, nonce: OTHER })).toEqual({ status: "exists" });
    expect((await found(new RootObject(store, environment))).root).toEqual(empty);
  });

  it("is one's own though the answer to its creation was lost", async () => {
    const store = new FaultyStore(memoryStore(), { environment });
    store.fate = ({ kind }) => (kind === "create" ? { fault: { kind: "answer-lost" } } : undefined);
    expect(await new RootObject(store, environment).create(empty)).toEqual({ status: "created" });
  });

  it("is not sent again when the first one may still arrive, so that one ledger is not created twice", async () => {
    const store = new FaultyStore(memoryStore(), { environment });
    let creates = 0;
    store.fate = ({ kind }) => (kind === "create" && ++creates > 0 ? { fault: { kind: "unsent" } } : undefined);
    expect((await new RootObject(store, environment).create(empty)).status).toBe("failed");
    expect(creates).toBe(1);
  });

  it("is created though others are at it, and the store says so once", async () => {
    const store = new FaultyStore(memoryStore(), { environment });
    let conflicts = 0;
    store.fate = ({ kind }) => (kind === "create" && conflicts++ === 0 ? { fault: { kind: "conflict" } } : undefined);
    expect(await new RootObject(store, environment).create(empty)).toEqual({ status: "created" });
  });

  it("is not called inconsistent where the store only says that others are at it", async () => {
    const { store, root } = await created();
    const before = await found(root);
    store.fate = ({ kind }) => (kind === "replace" ? { fault: { kind: "conflict" } } : undefined);
    expect(await root.replace(before, grown)).toMatchObject({ status: "failed", error: { code: "InputOutput" } });
  });

  it("is replaced by one of two that have read the same", async () => {
    const { root } = await created();
    const first = await found(root);
    const second = await found(root);
    expect((await root.replace(first, { ...empty, tailHint: 1 })).status).toBe("replaced");
    const lost = await root.replace(second, { ...empty, tailHint: 2 });
    expect(lost).toMatchObject({ status: "changed", found: { root: { tailHint: 1 } } });
  });

  it("tells one's own replace from others by its id when the answer was lost, also where it says the same as another", async () => {
    const { store, root } = await created();
    const before = await found(root);
    const lost = store.gate(({ kind }) => kind === "replace", "after");
    const mine = root.replace(before, { ...empty, tailHint: 1 });
    await lost.arrived;
    lost.open({ lose: true });
    const answer = await mine;
    expect(answer.status).toBe("replaced");

    const unsent = store.gate(({ kind }) => kind === "replace", "before");
    const beaten = root.replace(await found(root), { ...empty, tailHint: 2 });
    await unsent.arrived;
    expect((await root.replace(await found(root), { ...empty, tailHint: 2 })).status).toBe("replaced");
    unsent.open();
    expect((await beaten).status).toBe("changed");
  });

  it("is sent again while the one before is still there, and given up as failed in the end", async () => {
    const { store, root } = await created();
    const before = await found(root);
    let sent = 0;
    store.fate = ({ kind }) => (kind === "replace" && ++sent < 3 ? { fault: { kind: "unsent" } } : undefined);
    expect((await root.replace(before, { ...empty, tailHint: 1 })).status).toBe("replaced");
    store.fate = ({ kind }) => (kind === "replace" ? { fault: { kind: "unsent" } } : undefined);
    expect((await root.replace(await found(root), { ...empty, tailHint: 2 })).status).toBe("failed");
  });

  it("is not believed when half of it arrives", async () => {
    const { store, root } = await created();
    store.fate = () => ({ fault: { kind: "truncated" } });
    expect((await root.read()).status).toBe("failed");
  });
});
