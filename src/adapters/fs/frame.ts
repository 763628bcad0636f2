import { equalBytes, readU32 } from "../../core/bytes.ts";
import { checksumWithin } from "../../core/crc32.ts";
import type { CommitRecord, PassedCommit } from "../../core/ledger.ts";
import { findMask, indexOfMarker, isMarkerAt, MARKER, xorMask } from "../../core/mask.ts";

/**
 * Frames: the records of a ledger file. docs/FORMAT.md gives the bytes and the reasons. Encoding and decoding are pure.
 */

// Frames begin with it.
export { MARKER } from "../../core/mask.ts";

export const FrameKind = { header: 1, commit: 2, seal: 3, drop: 4 } as const;

/** Bytes before and behind the payload. */
export const HEADER_BYTES = 48;
export const TRAILER_BYTES = 5;
export const FRAME_BYTES_MAX = 65 * 1024 * 1024;
export const PAYLOAD_BYTES_MAX = FRAME_BYTES_MAX - HEADER_BYTES - TRAILER_BYTES;

const MASK_AT = 8;
const KIND_AT = 12;
const LENGTH_AT = 13;
const WRITER_AT = 17;
const WRITER_BYTES = 12;
const COUNTER_AT = 29;
const TIMESTAMP_AT = 35;
const HEADER_CHECKSUM_AT = 43;
const HEADER_END_AT = 47;
const HEADER_END = 0xa5;
const FRAME_END = 0x5a;

type Crc32 = (bytes: Uint8Array, seed?: number) => number;

export interface FrameHeader extends Omit<CommitRecord, "payload"> {
  readonly kind: number;
  readonly payloadBytes: number;
  /** 0 for nearly all frames. */
  readonly mask: number;
}

/** The bytes of a whole frame with a payload of this size. */
export function frameBytes(payloadBytes: number): number {
  return HEADER_BYTES + payloadBytes + TRAILER_BYTES;
}

const double = new DataView(new ArrayBuffer(8));
const doubleBytes = new Uint8Array(double.buffer);

/** Writes a frame at `at` in `target`, which has room for it, and returns its end. */
export function writeFrame(target: Uint8Array, at: number, kind: number, record: CommitRecord, crc32: Crc32): number {
  const end = fillFrame(target, at, kind, record, crc32);
  // The marker itself apart, no byte before the mask can begin one.
  if (indexOfMarker(target.subarray(at + MASK_AT, end), 0) >= 0)
    applyGoodMask(target.subarray(at, end), record.payload.length);
  return end;
}

/** Writes frames of commits one behind the other, from the beginning of `target`, which they fill. Returns where each begins. */
export function writeFrames(target: Uint8Array, commits: readonly CommitRecord[], crc32: Crc32): number[] {
  const starts: number[] = [];
  let end = 0;
  for (const commit of commits) {
    starts.push(end);
    const start = end;
    end = fillFrame(target, start, FrameKind.commit, commit, crc32);
    // Their own markers are completed when others have been looked for, in all of them at once: a search costs more to begin than a frame is long.
    target[start] = 0;
  }
  let i = 0;
  for (let at = indexOfMarker(target, 0); at >= 0; at = indexOfMarker(target, at + 1)) {
    while (i + 1 < starts.length && starts[i + 1] <= at) i++;
    const { payload } = commits[i];
    applyGoodMask(target.subarray(starts[i], starts[i] + frameBytes(payload.length)), payload.length);
  }
  for (const start of starts) target[start] = MARKER[0];
  return starts;
}

function fillFrame(target: Uint8Array, at: number, kind: number, record: CommitRecord, crc32: Crc32): number {
  const { writer, counter, timestamp, payload } = record;
  const trailer = at + HEADER_BYTES + payload.length;
  const end = trailer + TRAILER_BYTES;
  // A few bytes are copied quicker one by one than by a call.
  for (let i = 0; i < MASK_AT; i++) target[at + i] = MARKER[i];
  writeU32(target, at + MASK_AT, 0);
  target[at + KIND_AT] = kind;
  writeU32(target, at + LENGTH_AT, payload.length);
  for (let i = 0; i < WRITER_BYTES; i++) target[at + WRITER_AT + i] = writer[i];
  writeU32(target, at + COUNTER_AT, counter >>> 0);
  const counterHigh = Math.floor(counter / 2 ** 32);
  target[at + COUNTER_AT + 4] = counterHigh;
  target[at + COUNTER_AT + 5] = counterHigh >>> 8;
  double.setFloat64(0, timestamp, true);
  for (let i = 0; i < 8; i++) target[at + TIMESTAMP_AT + i] = doubleBytes[i];
  const headerChecksum = checksumWithin(crc32, target, at + KIND_AT, at + HEADER_CHECKSUM_AT);
  writeU32(target, at + HEADER_CHECKSUM_AT, headerChecksum);
  target[at + HEADER_END_AT] = HEADER_END;
  target.set(payload, at + HEADER_BYTES);
  // The frame's checksum covers what the header's does and goes on from there.
  writeU32(target, trailer, checksumWithin(crc32, target, at + HEADER_CHECKSUM_AT, trailer, headerChecksum));
  target[trailer + 4] = FRAME_END;
  return end;
}

function writeU32(target: Uint8Array, at: number, value: number): void {
  target[at] = value;
  target[at + 1] = value >>> 8;
  target[at + 2] = value >>> 16;
  target[at + 3] = value >>> 24;
}

/** The header of a frame that begins at `at`, or undefined if none does or its checksum fails. */
export function readHeader(bytes: Uint8Array, at: number, crc32: Crc32): FrameHeader | undefined {
  if (bytes.length - at < HEADER_BYTES || !isMarkerAt(bytes, at)) return undefined;
  const mask = readU32(bytes, at + MASK_AT);
  let header = bytes;
  let from = at;
  if (mask !== 0) {
    header = bytes.slice(at, at + HEADER_BYTES);
    from = 0;
    xorMask(header, KIND_AT, HEADER_END_AT, KIND_AT, mask);
  }
  if (!isHeaderWhole(header, from, crc32)) return undefined;
  return {
    kind: header[from + KIND_AT],
    payloadBytes: readU32(header, from + LENGTH_AT),
    writer: writerAt(header, from),
    counter: counterAt(header, from),
    timestamp: timestampAt(header, from),
    mask,
  };
}

/**
 * Passes the frame at `at` if it is a commit's, whole and not masked, as nearly all are: tells of it in `commit`, but for its place in the ledger, and returns
 * its length. Otherwise 0. What else may stand there is for `readHeader` to say.
 */
export function passCommit(bytes: Uint8Array, at: number, commit: PassedCommit, crc32: Crc32): number {
  if (bytes.length - at < HEADER_BYTES || !isMarkerAt(bytes, at) || readU32(bytes, at + MASK_AT) !== 0) return 0;
  if (bytes[at + KIND_AT] !== FrameKind.commit || !isHeaderWhole(bytes, at, crc32)) return 0;
  const from = at + HEADER_BYTES;
  const trailer = from + readU32(bytes, at + LENGTH_AT);
  if (trailer + TRAILER_BYTES > bytes.length || !isWhole(bytes, at, trailer, crc32)) return 0;
  commit.writer = writerAt(bytes, at);
  commit.counter = counterAt(bytes, at);
  commit.timestamp = timestampAt(bytes, at);
  commit.bytes = bytes;
  commit.from = from;
  commit.to = trailer;
  return trailer + TRAILER_BYTES - at;
}

/** Of a header without mask, whose marker was looked at. */
function isHeaderWhole(bytes: Uint8Array, at: number, crc32: Crc32): boolean {
  if (bytes[at + HEADER_END_AT] !== HEADER_END) return false;
  const checksum = checksumWithin(crc32, bytes, at + KIND_AT, at + HEADER_CHECKSUM_AT);
  return checksum === readU32(bytes, at + HEADER_CHECKSUM_AT);
}

/** Of a frame without mask, whose header is whole. */
function isWhole(bytes: Uint8Array, at: number, trailer: number, crc32: Crc32): boolean {
  if (bytes[trailer + 4] !== FRAME_END) return false;
  // That of the header has been found right: from there it goes on.
  const checksum = readU32(bytes, at + HEADER_CHECKSUM_AT);
  return checksumWithin(crc32, bytes, at + HEADER_CHECKSUM_AT, trailer, checksum) === readU32(bytes, trailer);
}

function counterAt(bytes: Uint8Array, at: number): number {
  const high = bytes[at + COUNTER_AT + 4] | (bytes[at + COUNTER_AT + 5] << 8);
  return readU32(bytes, at + COUNTER_AT) + high * 2 ** 32;
}

function timestampAt(bytes: Uint8Array, at: number): number {
  for (let i = 0; i < doubleBytes.length; i++) doubleBytes[i] = bytes[at + TIMESTAMP_AT + i];
  return double.getFloat64(0, true);
}

let lastWriter = new Uint8Array(WRITER_BYTES);

/** Frames of one writer often follow each other: they share it. */
function writerAt(bytes: Uint8Array, at: number): Uint8Array {
  const from = at + WRITER_AT;
  for (let i = 0; i < WRITER_BYTES; i++)
    if (bytes[from + i] !== lastWriter[i]) return (lastWriter = bytes.slice(from, from + WRITER_BYTES));
  return lastWriter;
}

/**
 * The payload of the frame at `at`, whose header is given and whose bytes are all there; undefined if its checksum fails. A view, unless
 * the frame is masked.
 */
export function readPayload(bytes: Uint8Array, at: number, header: FrameHeader, crc32: Crc32): Uint8Array | undefined {
  const trailer = HEADER_BYTES + header.payloadBytes;
  let frame = bytes;
  let from = at;
  if (header.mask !== 0) {
    frame = bytes.slice(at, at + trailer + TRAILER_BYTES);
    from = 0;
    xorMask(frame, KIND_AT, HEADER_END_AT, KIND_AT, header.mask);
    xorMask(frame, HEADER_BYTES, trailer + 4, HEADER_BYTES, header.mask);
  }
  if (!isWhole(frame, from, from + trailer, crc32)) return undefined;
  return frame.subarray(from + HEADER_BYTES, from + trailer);
}

/** True for headers of the same frame: a writer numbers its commits. */
export function isSameFrame(a: FrameHeader, b: FrameHeader): boolean {
  const isSameCommit = equalBytes(a.writer, b.writer) && a.counter === b.counter && a.timestamp === b.timestamp;
  return isSameCommit && a.kind === b.kind && a.payloadBytes === b.payloadBytes && a.mask === b.mask;
}

/** Undoes the mask on bytes that begin `offset` bytes into a frame. Not for its end bytes, which are stored as they are. */
export function unmask(bytes: Uint8Array, offset: number, mask: number): void {
  xorMask(bytes, 0, bytes.length, offset, mask);
}

/** The checksum of the frame that ends at `end`, as it is stored: enough to tell whether a frame is still the one that was read, and all of it there. */
export function fingerprint(bytes: Uint8Array, end: number): number {
  return readU32(bytes, end - TRAILER_BYTES);
}

/** True if these are the last bytes of the frame with that fingerprint. */
export function isTrailerOf(bytes: Uint8Array, frame: number): boolean {
  return bytes.length === TRAILER_BYTES && bytes[4] === FRAME_END && fingerprint(bytes, TRAILER_BYTES) === frame;
}

/** Masks a frame in which the marker occurs. */
function applyGoodMask(frame: Uint8Array, payloadBytes: number): void {
  const trailer = HEADER_BYTES + payloadBytes;
  const data = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  let mask = 0;
  const change = (difference: number): void => {
    xorMask(frame, KIND_AT, HEADER_END_AT, KIND_AT, difference);
    xorMask(frame, HEADER_BYTES, trailer + 4, HEADER_BYTES, difference);
    mask = (mask ^ difference) >>> 0;
    data.setUint32(MASK_AT, mask, true);
  };
  findMask(change, () => indexOfMarker(frame, 1) < 0);
}
