import { type ByteReader, type ByteWriter, fromHex, MalformedBytes, toHex } from "../../core/bytes.ts";
import type { Environment } from "../../core/environment.ts";
import { KVError } from "../../core/errors.ts";
import { bytesOf, hexOf, recordOf } from "../../core/fields.ts";
import { NAME_RANDOM_BYTES, SLOT_MAX, SLOT_VERSIONS, STAGED_SLOTS_MAX, type StagedName } from "./layout.ts";
import { beginSealed, isSealed, openSealed, SEAL_BYTES, seal, SEALED_HEAD_BYTES } from "./sealed.ts";

/**
 * A slot: one batch of commits, as the bytes of one object. docs/FORMAT.md gives the layout. Encoding and decoding are pure.
 */

export const SLOT_FORMAT = 1;
/** What a batch of several commits may have, in bytes of its object. */
export const SLOT_BYTES_MAX: number = 1024 * 1024;
/** What a single commit may have without its staged values, in bytes of its object. */
export const LARGE_SLOT_BYTES_MAX: number = 8 * 1024 * 1024;
/** Commits of one batch. */
export const SLOT_COMMITS_MAX: number = SLOT_VERSIONS;
export const BATCH_ID_BYTES = 16;
export const AUTHOR_BYTES = 12;
export const HASH_BYTES = 32;

/** "folioslt" */
const MAGIC = Uint8Array.of(0x66, 0x6f, 0x6c, 0x69, 0x6f, 0x73, 0x6c, 0x74);
const NONCE_BYTES = 16;
/** Magic, format, nonce, slot, predecessor, author, batch id, count. */
export const SLOT_HEAD_BYTES: number =
  SEALED_HEAD_BYTES + NONCE_BYTES + 8 + HASH_BYTES + AUTHOR_BYTES + BATCH_ID_BYTES + 4;
/** A slot without any commit: head and checksum. */
export const SLOT_FRAME_BYTES: number = SLOT_HEAD_BYTES + SEAL_BYTES;
/** Counter, timestamp, length, number of holes: at most. */
const COMMIT_HEAD_BYTES_MAX = 8 + 8 + 8 + 8;
const HOLE_BYTES_MAX = 8 + 8 + 8 + NAME_RANDOM_BYTES;

/** What a commit of which nothing lies elsewhere may have in bytes, to fit into a slot of its own. */
export const PLAIN_PAYLOAD_BYTES_MAX: number = LARGE_SLOT_BYTES_MAX - SLOT_FRAME_BYTES - COMMIT_HEAD_BYTES_MAX;

/** Bytes of a payload that lie in an object of their own. */
export interface Hole {
  /** Within the payload. */
  readonly offset: number;
  readonly length: number;
  readonly staged: StagedName;
}

/** One commit of a batch, as it is written. Bytes of the payload that lie in a hole are not looked at. */
export interface SlotCommit {
  readonly counter: number;
  readonly timestamp: number;
  readonly payload: Uint8Array;
  /** In order, none empty, none touching the other's bytes. */
  readonly holes: readonly Hole[];
}

/** One commit of a batch, as it was read. */
export interface ReadCommit {
  readonly counter: number;
  readonly timestamp: number;
  /** Bytes of the whole payload, holes included. */
  readonly length: number;
  readonly holes: readonly Hole[];
  /** Where the bytes that are there begin in the slot's object. They follow each other. */
  readonly from: number;
}

export interface SlotHead {
  /** 32 hexadecimal digits. */
  readonly nonce: string;
  readonly slot: number;
  /** SHA-256 of the object of the slot before; zeros where there is none. */
  readonly predecessor: Uint8Array;
  /** The writer of all its commits. */
  readonly author: Uint8Array;
  /** Random, of this batch alone. */
  readonly batchId: Uint8Array;
}

export interface Slot<C = ReadCommit> extends SlotHead {
  /** At least one. */
  readonly commits: readonly C[];
}

const HEAD = recordOf<SlotHead>({
  nonce: hexOf(NONCE_BYTES),
  slot: { write: (writer, slot) => writer.uint53(slot), read: (reader) => reader.uint53() },
  predecessor: bytesOf(HASH_BYTES),
  author: bytesOf(AUTHOR_BYTES),
  batchId: bytesOf(BATCH_ID_BYTES),
});

/** An upper bound of what a commit adds to its slot, in bytes. */
export function encodedBytesMax(payload: Uint8Array, holes: readonly Pick<Hole, "length">[]): number {
  const staged = holes.reduce((bytes, { length }) => bytes + length, 0);
  return COMMIT_HEAD_BYTES_MAX + payload.length - staged + holes.length * HOLE_BYTES_MAX;
}

export function encodeSlot(
  slot: Slot<SlotCommit>,
  crc32: Environment["crc32"],
): { bytes: Uint8Array; froms: number[] } {
  const { commits } = slot;
  const room = commits.reduce((bytes, { payload, holes }) => bytes + encodedBytesMax(payload, holes), SLOT_FRAME_BYTES);
  const writer = beginSealed(MAGIC, SLOT_FORMAT, room);
  HEAD.write(writer, slot);
  writer.u32(commits.length);
  const froms = commits.map((commit) => writeCommit(writer, commit));
  return { bytes: seal(writer, crc32), froms };
}

function writeCommit(writer: ByteWriter, { counter, timestamp, payload, holes }: SlotCommit): number {
  writer.varint(counter);
  writer.f64(timestamp);
  writer.varint(payload.length);
  writer.varint(holes.length);
  let at = 0;
  for (const { offset, length, staged } of holes) {
    writer.varint(offset - at);
    writer.varint(length);
    writer.varint(staged.slot);
    writer.bytes(fromHex(staged.random));
    at = offset + length;
  }
  const from = writer.length;
  for (const [start, end] of inlineParts(payload.length, holes)) writer.bytes(payload.subarray(start, end));
  return from;
}

/** What of a payload lies in the slot, in order. */
function inlineParts(length: number, holes: readonly Hole[]): [number, number][] {
  const parts: [number, number][] = [];
  let at = 0;
  for (const hole of holes) {
    parts.push([at, hole.offset]);
    at = hole.offset + hole.length;
  }
  parts.push([at, length]);
  return parts;
}

/** The payload of a commit: a view, or with zeros for what lies in holes in an array of its own. */
export function payloadOf(bytes: Uint8Array, { from, length, holes }: ReadCommit): Uint8Array {
  if (holes.length === 0) return bytes.subarray(from, from + length);
  const payload = new Uint8Array(length);
  let at = from;
  for (const [start, end] of inlineParts(length, holes)) {
    payload.set(bytes.subarray(at, at + end - start), start);
    at += end - start;
  }
  return payload;
}

/**
 * Throws `LedgerDamaged` for an object that is not this slot, or not whole; `UnsupportedFormat` for a slot of a newer version. `name`: of the object, for
 * messages.
 */
export function decodeSlot(
  bytes: Uint8Array,
  expected: { readonly nonce: string; readonly slot: number },
  { crc32, name }: { readonly crc32: Environment["crc32"]; readonly name: string },
): Slot {
  try {
    if (!isSealed(bytes, MAGIC)) throw new MalformedBytes("it is no slot of a ledger");
    const reader = openSealed(bytes, { format: SLOT_FORMAT, name, crc32 });
    const head = HEAD.read(reader);
    const { nonce, slot } = head;
    if (nonce !== expected.nonce || slot !== expected.slot) throw new MalformedBytes("it belongs elsewhere");
    const count = reader.u32();
    if (count < 1 || count > SLOT_COMMITS_MAX) throw new MalformedBytes(`it has ${count} commits`);
    const commits: ReadCommit[] = [];
    for (let i = 0; i < count; i++) commits.push(readCommit(reader, slot));
    if (reader.remaining !== 0) throw new MalformedBytes("there are bytes behind its last commit");
    return { ...head, commits };
  } catch (error) {
    if (!(error instanceof MalformedBytes)) throw error;
    throw damagedSlot(name, expected.slot, error.message, error);
  }
}

/** The slot's versions are what is damaged. */
export function damagedSlot(name: string, slot: number, why: string, cause?: unknown): KVError {
  const ranges = [{ from: slot * SLOT_VERSIONS, to: (slot + 1) * SLOT_VERSIONS }];
  return new KVError("LedgerDamaged", `${name} is damaged: ${why}`, { ranges, cause });
}

function readCommit(reader: ByteReader, slot: number): ReadCommit {
  const counter = reader.varint();
  const timestamp = reader.f64();
  if (!Number.isFinite(timestamp)) throw new MalformedBytes("a timestamp that is none");
  const length = reader.varint();
  const holeCount = reader.varint();
  if (holeCount > reader.remaining) throw new MalformedBytes(`a commit with ${holeCount} staged values`);
  const holes: Hole[] = [];
  let at = 0;
  let inline = length;
  for (let i = 0; i < holeCount; i++) {
    const offset = at + reader.varint();
    const bytes = reader.varint();
    const staged = { slot: reader.varint(), random: toHex(reader.bytes(NAME_RANDOM_BYTES)) };
    if (bytes === 0 || offset + bytes > length) throw new MalformedBytes("a staged value beyond its commit");
    const isNear = staged.slot <= SLOT_MAX && slot <= staged.slot + STAGED_SLOTS_MAX && staged.slot <= slot;
    if (!isNear) throw new MalformedBytes(`a staged value of slot ${staged.slot}`);
    holes.push({ offset, length: bytes, staged });
    at = offset + bytes;
    inline -= bytes;
  }
  const from = reader.offset;
  reader.bytes(inline);
  return { counter, timestamp, length, holes, from };
}
