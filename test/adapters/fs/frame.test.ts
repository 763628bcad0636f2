import { describe, expect, it } from "vitest";
import {
  FrameKind,
  frameBytes,
  MARKER,
  readHeader,
  readPayload,
  writeFrame,
  writeFrames,
} from "../../../src/adapters/fs/frame.ts";
import type { CommitRecord } from "../../../src/core/ledger.ts";
import { nodeEnvironment } from "../../../src/platform/environment-node.ts";
import { randomSource } from "../../support/random.ts";

const { crc32 } = nodeEnvironment;

/** Payloads in which markers, and bytes that could begin one, stand anywhere. */
function records(seed: number): CommitRecord[] {
  const random = randomSource(seed);
  const byte = (): number => (random() < 0.2 ? MARKER[0] : Math.floor(random() * 256));
  return Array.from({ length: 1 + Math.floor(random() * 6) }, (_, counter) => {
    const payload = Uint8Array.from({ length: Math.floor(random() * 60) }, byte);
    const places = random() < 0.5 ? 0 : 1 + Math.floor(random() * 2);
    for (let i = 0; i < places && payload.length >= MARKER.length; i++)
      payload.set(MARKER, Math.floor(random() * (payload.length - MARKER.length + 1)));
    return { writer: Uint8Array.from({ length: 12 }, byte), counter, timestamp: 1_700_000_000_000 + counter, payload };
  });
}

function markersIn(bytes: Uint8Array): number[] {
  const found: number[] = [];
  for (let at = 0; at + MARKER.length <= bytes.length; at++)
    if (MARKER.every((byte, i) => bytes[at + i] === byte)) found.push(at);
  return found;
}

describe("frames of several commits, written at once", () => {
  it("are those that are written one by one, with a marker at the start of each and nowhere else", () => {
    let masked = 0;
    for (let seed = 1; seed <= 500; seed++) {
      const commits = records(seed);
      const length = commits.reduce((sum, { payload }) => sum + frameBytes(payload.length), 0);
      const together = new Uint8Array(length).fill(MARKER[0]);
      const starts = writeFrames(together, commits, crc32);
      const oneByOne = new Uint8Array(length);
      let end = 0;
      for (const commit of commits) end = writeFrame(oneByOne, end, FrameKind.commit, commit, crc32);
      expect(together).toEqual(oneByOne);
      expect(markersIn(together)).toEqual(starts);
      starts.forEach((start, i) => {
        const header = readHeader(together, start, crc32);
        expect(header).toMatchObject({ counter: commits[i].counter, writer: commits[i].writer });
        if (header === undefined) return;
        if (header.mask !== 0) masked++;
        expect(readPayload(together, start, header, crc32)).toEqual(commits[i].payload);
      });
    }
    expect(masked).toBeGreaterThan(100);
  });
});
