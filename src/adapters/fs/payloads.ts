import { ByteReader, ByteWriter, fromHex, MalformedBytes, toHex } from "../../core/bytes.ts";

/** Payloads of the frames that are the adapter's own: header, seal, drop. docs/FORMAT.md gives the bytes. */

/** The format that this code reads and writes. */
export const FORMAT = 1;

export const ID_BYTES = 16;

/** What the header of a generation says. */
export interface GenerationHeader {
  readonly format: number;
  /** Hex, as all names here. */
  readonly ledgerId: string;
  readonly generation: number;
  readonly nonce: string;
  /** Logical address from which on the generation holds frames. */
  readonly base: number;
  /** Offset in the file where those frames begin. `base - framesAt` is the generation's delta. */
  readonly framesAt: number;
  /** The snapshot run: offset in the file, bytes (0: there is none) and CRC-32. */
  readonly runAt: number;
  readonly runBytes: number;
  readonly runChecksum: number;
}

/** What a seal says: it ends the generation that it names, and names the next. */
export interface Seal {
  readonly nonce: string;
  readonly siblingNonce: string;
  readonly base: number;
  readonly framesAt: number;
  /** Address up to which the sibling's copies of the old frames are known to be durable. */
  readonly syncedMark: number;
  /** Name of the sibling's file, in the same directory. */
  readonly siblingName: string;
  /** What replicas know is not to be carried over: the next generation was repaired, and its state is read anew. */
  readonly reload: boolean;
}

const SEAL_RELOAD = 0x01;

export function encodeGenerationHeader(header: GenerationHeader): Uint8Array {
  const writer = new ByteWriter();
  writer.u16(header.format);
  writer.bytes(fromHex(header.ledgerId));
  writer.uint53(header.generation);
  writer.bytes(fromHex(header.nonce));
  writer.uint53(header.base);
  writer.uint53(header.framesAt);
  writer.uint53(header.runAt);
  writer.uint53(header.runBytes);
  writer.u32(header.runChecksum);
  return writer.take();
}

/** Decodes as much as every format has in common; throws `MalformedBytes`. Look at `format` before trusting the rest. */
export function decodeGenerationHeader(payload: Uint8Array): GenerationHeader {
  const reader = new ByteReader(payload);
  return {
    format: reader.u16(),
    ledgerId: toHex(reader.bytes(ID_BYTES)),
    generation: reader.uint53(),
    nonce: toHex(reader.bytes(ID_BYTES)),
    base: reader.uint53(),
    framesAt: reader.uint53(),
    runAt: reader.uint53(),
    runBytes: reader.uint53(),
    runChecksum: reader.u32(),
  };
}

export function encodeSeal(seal: Seal): Uint8Array {
  const writer = new ByteWriter();
  writer.bytes(fromHex(seal.nonce));
  writer.bytes(fromHex(seal.siblingNonce));
  writer.uint53(seal.base);
  writer.uint53(seal.framesAt);
  writer.uint53(seal.syncedMark);
  const name = new TextEncoder().encode(seal.siblingName);
  writer.u16(name.length);
  writer.bytes(name);
  writer.u8(seal.reload ? SEAL_RELOAD : 0);
  return writer.take();
}

export function decodeSeal(payload: Uint8Array): Seal {
  const reader = new ByteReader(payload);
  const nonce = toHex(reader.bytes(ID_BYTES));
  const siblingNonce = toHex(reader.bytes(ID_BYTES));
  const base = reader.uint53();
  const framesAt = reader.uint53();
  const syncedMark = reader.uint53();
  const siblingName = new TextDecoder().decode(reader.bytes(reader.u16()));
  const flags = reader.u8();
  if (reader.remaining > 0) throw new MalformedBytes("a seal with more than it should have");
  if ((flags & ~SEAL_RELOAD) !== 0) throw new MalformedBytes("a seal with unknown flags");
  return { nonce, siblingNonce, base, framesAt, syncedMark, siblingName, reload: (flags & SEAL_RELOAD) !== 0 };
}

/** A drop names a sibling that no seal further on may make the next generation. */
export function encodeDrop(siblingNonce: string): Uint8Array {
  return fromHex(siblingNonce);
}

export function decodeDrop(payload: Uint8Array): string {
  if (payload.length !== ID_BYTES) throw new MalformedBytes("a drop that is no name");
  return toHex(payload);
}

/**
 * True for the one form of name that a sibling of this generation can have. What the ledger's own file is called does not matter: a seal must
 * mean the same to those who opened the file through another name.
 */
export function isSiblingName(siblingName: string, generation: number): boolean {
  const match = /^[^/\\\0]+\.(\d+)-[0-9a-f]+$/.exec(siblingName);
  return match !== null && match[1] === String(generation + 1);
}
