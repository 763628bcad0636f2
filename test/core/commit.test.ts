import { describe, expect, test } from "vitest";
import { CommitBuilder } from "../../src/core/commit-builder.ts";
import { decodeCommit, ItemKind } from "../../src/core/commit.ts";
import { encodeKey } from "../../src/core/key.ts";
import { decodeValue } from "../../src/core/value.ts";
import { KVError } from "../../src/core/errors.ts";
import { MalformedBytes } from "../../src/core/bytes.ts";
import { nodeEnvironment } from "../../src/platform/environment-node.ts";
import { Draw, drawPart } from "../support/random.ts";

/** A commit with everything that there is. */
function full(): CommitBuilder {
  const builder = new CommitBuilder(nodeEnvironment, 1e6);
  const key = (name: string): string => encodeKey([name]);
  builder.set(key("a"), { deep: [1] }, 0);
  builder.set(key("b"), 1.5, 1000);
  builder.set(key("c"), 2n ** 70n, 0);
  builder.delete(key("d"));
  builder.combine(ItemKind.sum, key("e"), -3, 0);
  builder.combine(ItemKind.min, key("f"), 5n, 0.5);
  builder.combine(ItemKind.max, key("g"), Infinity, 1e12);
  builder.purge(86_400_000, [
    { key: key("h"), version: 5 },
    { key: key("i"), version: Number.MAX_SAFE_INTEGER },
  ]);
  builder.check({ key: key("a"), version: 0 });
  builder.check({ key: key("z"), version: 2 ** 40 });
  return builder;
}

describe("commits as bytes", () => {
  test("read as what was written, and the values lie where it says", () => {
    const { payload, commit } = full().finish();
    expect(decodeCommit(payload)).toEqual(commit);
    const [set] = commit.operations;
    const from = set.valueOffset + 4;
    const bytes = payload.subarray(from, from + set.valueLength);
    expect(decodeValue(bytes)).toEqual({ deep: [1] });
    const stored = new DataView(payload.buffer, payload.byteOffset).getUint32(set.valueOffset, true);
    expect(stored).toBe(nodeEnvironment.crc32(bytes));
  });

  test("read as what was written, whatever the keys", () => {
    const draw = new Draw(4);
    for (let i = 0; i < 100; i++) {
      const builder = new CommitBuilder(nodeEnvironment, 1e6);
      for (let n = draw.below(20); n >= 0; n--) {
        const key = encodeKey(draw.many(1 + draw.below(3), () => drawPart(draw)));
        if (draw.chance(0.3)) builder.check({ key, version: draw.below(2 ** 31) });
        if (draw.chance(0.5)) builder.set(key, "x".repeat(draw.below(300)), draw.chance(0.5) ? 0 : 1 + draw.below(1e6));
        else builder.delete(key);
      }
      const { payload, commit } = builder.finish();
      expect(decodeCommit(payload)).toEqual(commit);
    }
  });

  test.each([
    ["an unknown kind", [8, 0]],
    ["a flag that a delete does not have", [0x10 | ItemKind.delete, 0]],
    ["a flag that nobody knows", [0x80 | ItemKind.set, 0]],
    ["the kind 0", [0]],
  ])("with %s are of a newer format, never guessed at", (_, bytes) => {
    expect(() => decodeCommit(Uint8Array.from(bytes))).toThrow(expect.objectContaining({ code: "UnsupportedFormat" }));
  });

  test.each([
    ["a check behind an operation", [ItemKind.delete, 0, ItemKind.check, 0, 0]],
    ["a key that does not end", [ItemKind.delete, 200, 1]],
    ["a length with needless bytes", [ItemKind.delete, 0x80, 0x00]],
    ["an operand that is no number", [ItemKind.sum, 0, 1, 0xf6]],
    ["an operand that is NaN", [ItemKind.sum, 0, 9, 0xfb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0]],
    ["a time to live of zero", [0x10 | ItemKind.set, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]],
  ])("with %s are damaged", (_, bytes) => {
    expect(() => decodeCommit(Uint8Array.from(bytes))).toThrow(expect.objectContaining({ code: "LedgerDamaged" }));
  });

  test("cut or changed anywhere are a commit or a typed error", () => {
    const { payload } = full().finish();
    const attempt = (bytes: Uint8Array): void => {
      try {
        decodeCommit(bytes);
      } catch (error) {
        expect(error instanceof KVError || error instanceof MalformedBytes).toBe(true);
        expect(error).not.toBeInstanceOf(RangeError);
      }
    };
    for (let at = 0; at < payload.length; at++) {
      attempt(payload.slice(0, at));
      for (let bit = 0; bit < 8; bit++) {
        const changed = payload.slice();
        changed[at] ^= 1 << bit;
        attempt(changed);
      }
    }
  });
});
