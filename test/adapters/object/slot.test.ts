import { describe, expect, test } from "vitest";
import {
  decodeSlot,
  encodeSlot,
  payloadOf,
  type Slot,
  SLOT_HEAD_BYTES,
  type SlotCommit,
} from "../../../src/adapters/object/slot.ts";
import { nodeEnvironment } from "../../../src/platform/environment-node.ts";

const { crc32 } = nodeEnvironment;
const nonce = "0123456789abcdef0123456789abcdef";
const context = { crc32, name: "log/7" };

function slotOf(commits: readonly SlotCommit[]): Slot<SlotCommit> {
  return {
    nonce,
    slot: 7,
    predecessor: new Uint8Array(32).fill(1),
    author: new Uint8Array(12).fill(2),
    batchId: new Uint8Array(16).fill(3),
    commits,
  };
}

const plain: SlotCommit = { counter: 5, timestamp: 1.5, payload: Uint8Array.of(1, 2, 3), holes: [] };
const withHole: SlotCommit = {
  counter: 2 ** 48 - 1,
  timestamp: -1,
  payload: Uint8Array.of(1, 2, 3, 4, 5, 6),
  holes: [
    { offset: 1, length: 2, staged: { slot: 6, random: "00112233445566ff" } },
    { offset: 4, length: 2, staged: { slot: 7, random: "ff112233445566ff" } },
  ],
};

describe("a slot", () => {
  test("comes back as it was written, with zeros for what lies elsewhere", () => {
    const { bytes, froms } = encodeSlot(slotOf([plain, withHole]), crc32);
    const slot = decodeSlot(bytes, { nonce, slot: 7 }, context);
    expect(slot).toMatchObject({ ...slotOf([]), commits: [{ counter: 5 }, { counter: 2 ** 48 - 1 }] });
    expect(slot.commits.map(({ from }) => from)).toEqual(froms);
    expect(slot.commits.map((commit) => [...payloadOf(bytes, commit)])).toEqual([
      [1, 2, 3],
      [1, 0, 0, 4, 0, 0],
    ]);
    expect(slot.commits[1].holes).toEqual(withHole.holes);
  });

  const code = (changed: Uint8Array): unknown => {
    try {
      return decodeSlot(changed, { nonce, slot: 7 }, context);
    } catch (error) {
      return (error as { code?: string }).code;
    }
  };

  test("of which any bit is wrong, or any bytes are missing, is damaged", () => {
    const { bytes } = encodeSlot(slotOf([plain, withHole]), crc32);
    for (let at = 0; at < bytes.length; at++) {
      const flipped = bytes.slice();
      flipped[at] ^= 1;
      expect([at, code(flipped)]).toEqual([at, "LedgerDamaged"]);
      expect(code(bytes.subarray(0, at))).toBe("LedgerDamaged");
    }
    expect(code(Uint8Array.of(...bytes, 0))).toBe("LedgerDamaged");
  });

  test("is of a newer format only if its checksum holds", () => {
    const { bytes } = encodeSlot(slotOf([plain]), crc32);
    const newer = bytes.slice();
    newer[8] = 2;
    new DataView(newer.buffer).setUint32(newer.length - 4, crc32(newer.subarray(0, -4)), true);
    expect(code(newer)).toBe("UnsupportedFormat");
  });

  test("that says what no slot may say is damaged, however well its checksum holds", () => {
    const { bytes } = encodeSlot(slotOf([plain]), crc32);
    const countAt = SLOT_HEAD_BYTES - 4;
    const signed = (body: readonly number[]): Uint8Array => {
      const changed = Uint8Array.of(...body, 0, 0, 0, 0);
      new DataView(changed.buffer).setUint32(body.length, crc32(changed.subarray(0, -4)), true);
      return changed;
    };
    const body = [...bytes.subarray(0, -4)];
    expect(code(signed(body))).toMatchObject({ commits: [{ counter: 5 }] });
    expect(code(signed([...body, 0]))).toBe("LedgerDamaged");
    expect(code(signed(body.with(countAt, 2)))).toBe("LedgerDamaged");
    expect(code(signed(body.with(countAt, 0).slice(0, SLOT_HEAD_BYTES)))).toBe("LedgerDamaged");
    // The first byte of the commit is its counter, then comes its time: no number.
    expect(code(signed(body.with(SLOT_HEAD_BYTES + 7, 0xf8).with(SLOT_HEAD_BYTES + 8, 0x7f)))).toBe("LedgerDamaged");
  });

  test("that belongs to another place or another incarnation is damaged, and says whose versions those are", () => {
    const { bytes } = encodeSlot(slotOf([plain]), crc32);
    expect(() => decodeSlot(bytes, { nonce, slot: 8 }, context)).toThrow(
      expect.objectContaining({ code: "LedgerDamaged", ranges: [{ from: 8 * 65_536, to: 9 * 65_536 }] }),
    );
    expect(() => decodeSlot(bytes, { nonce: nonce.replace("0", "f"), slot: 7 }, context)).toThrow(
      expect.objectContaining({ code: "LedgerDamaged" }),
    );
  });

  test("may refer to a staged value of up to 64 slots before, and to none of later ones", () => {
    const refersTo = (slot: number): void => {
      const holes = [{ offset: 0, length: 3, staged: { slot, random: "00112233445566ff" } }];
      const { bytes } = encodeSlot({ ...slotOf([{ ...plain, holes }]), slot: 100 }, crc32);
      decodeSlot(bytes, { nonce, slot: 100 }, context);
    };
    refersTo(36);
    refersTo(100);
    expect(() => refersTo(35)).toThrow(expect.objectContaining({ code: "LedgerDamaged" }));
    expect(() => refersTo(101)).toThrow(expect.objectContaining({ code: "LedgerDamaged" }));
  });
});
