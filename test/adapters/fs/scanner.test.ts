import { expect, it } from "vitest";
import type { FileHandle } from "../../../src/adapters/fs/file.ts";
import { FrameKind, frameBytes, writeFrame } from "../../../src/adapters/fs/frame.ts";
import { Scanner } from "../../../src/adapters/fs/scanner.ts";
import { nodeEnvironment } from "../../../src/platform/environment-node.ts";

const { crc32 } = nodeEnvironment;
/** How much the scanner searches at once. */
const SEARCH_BYTES = 1024 * 1024;

function frame(payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(frameBytes(payload.length));
  writeFrame(bytes, 0, FrameKind.commit, { writer: new Uint8Array(12), counter: 1, timestamp: 0, payload }, crc32);
  return bytes;
}

function fileOf(bytes: Uint8Array): FileHandle {
  const nothing = async (): Promise<void> => undefined;
  return {
    read: (target, position) => {
      const part = bytes.subarray(position, position + target.length);
      target.set(part);
      return part.length;
    },
    append: () => 0,
    status: () => ({ size: bytes.length, links: 1 }),
    identity: () => ({ device: 0n, inode: 0n }),
    syncData: nothing,
    sync: nothing,
    close: () => undefined,
  };
}

it("a marker is found wherever it lies across the bytes that are searched at once", () => {
  const torn = frame(new Uint8Array(4 * SEARCH_BYTES).fill(1));
  const next = frame(Uint8Array.of(7));
  for (let near = -10; near <= 10; near++) {
    for (const windows of [1, 2]) {
      const length = windows * SEARCH_BYTES + near;
      const bytes = new Uint8Array(length + next.length);
      bytes.set(torn.subarray(0, length));
      bytes.set(next, length);
      const scanner = new Scanner(fileOf(bytes), bytes.length, 4096, crc32);
      expect(scanner.scan(0)).toEqual({ found: "piece", verdict: "stump", end: length });
      expect(scanner.scan(length)).toMatchObject({ found: "frame", end: bytes.length });
    }
  }
});

it("a piece is what the file holds at the second reading, not what was read before", () => {
  const whole = frame(Uint8Array.of(7));
  const bytes = new Uint8Array(whole.length + 100);
  bytes.set(whole);
  // Full length, wrong contents: damage, if it stays so.
  bytes[48] ^= 1;
  bytes.fill(9, whole.length);
  const file = fileOf(bytes);
  let reads = 0;
  const settling: FileHandle = {
    ...file,
    read: (target, position) => {
      if (++reads === 2) bytes[48] ^= 1;
      return file.read(target, position);
    },
  };
  const scanner = new Scanner(settling, bytes.length, 4096, crc32);
  expect(scanner.scan(0)).toMatchObject({ found: "frame", end: whole.length });
});
