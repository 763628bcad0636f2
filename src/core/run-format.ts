import { ByteReader, type ByteWriter, MalformedBytes, readU32 } from "./bytes.ts";
import { anyBytes, binaryString, listOf, recordOf, varint } from "./fields.ts";
import { findMask, indexOfMarker, xorMask } from "./mask.ts";

/**
 * The bytes of a run: pieces (blocks, index nodes, pages, sections, the footer) and value records, each masked and checked on its own, then the
 * tail. docs/FORMAT.md gives the layout. Encoding and decoding are pure.
 */

export type Crc32 = (bytes: Uint8Array, seed?: number) => number;

/** The format that is written, and the highest that is read. */
export const RUN_FORMAT = 1;

/** A run begins with this byte, and every piece, value record and the run itself end in the other: no marker reaches across a border. */
export const RUN_START = 0xa5;
const PIECE_END = 0x5a;

/** Mask and codec before the content of a piece; checksum and end byte behind it. */
export const PIECE_HEAD_BYTES = 5;
export const PIECE_TAIL_BYTES = 5;

/** Mask before a value, end byte behind it. */
export const RECORD_HEAD_BYTES = 4;
export const RECORD_BYTES = 5;

const CODEC_NONE = 0;

/** The run's last bytes: length of the footer, magic, end. */
const MAGIC = Uint8Array.of(0x66, 0x6f, 0x6c, 0x69, 0x6f, 0x72, 0x75, 0x6e);
export const TAIL_BYTES = 4 + 8 + 1;
/** Keeps the tail's length field from being a part of a marker. */
const FOOTER_BYTES_MAX = 2 ** 24 - 1;

// --- pieces ----------------------------------------------------------------------------------------------------------

/** Begins a piece and returns where. Its content is written next, then `endPiece`. */
export function beginPiece(writer: ByteWriter): number {
  const start = writer.length;
  writer.u32(0);
  writer.u8(CODEC_NONE);
  return start;
}

/** Completes the piece that began at `start`, and masks it if it has to be. Tells whether it had. */
export function endPiece(writer: ByteWriter, start: number, crc32: Crc32): boolean {
  writer.u32(crc32(writer.view(start + 4)));
  writer.u8(PIECE_END);
  return maskContent(writer.view(start));
}

/** Writes a whole piece and returns its length. */
export function writePiece(writer: ByteWriter, content: Uint8Array, crc32: Crc32): number {
  const start = beginPiece(writer);
  writer.bytes(content);
  endPiece(writer, start, crc32);
  return writer.length - start;
}

/**
 * Checks a whole piece and takes its mask off. Its content lies between head and tail of what is returned, which is the given bytes
 * themselves if they were not masked. Undefined for damage.
 */
export function openPiece(bytes: Uint8Array, crc32: Crc32): Uint8Array | undefined {
  const end = bytes.length - 1;
  if (bytes.length < PIECE_HEAD_BYTES + PIECE_TAIL_BYTES || bytes[end] !== PIECE_END) return undefined;
  const piece = unmasked(bytes);
  return crc32(piece.subarray(4, end - 4)) === readU32(piece, end - 4) ? piece : undefined;
}

/** True if this library can read the content of an opened piece. */
export function isCodecKnown(piece: Uint8Array): boolean {
  return piece[4] === CODEC_NONE;
}

/** Puts a value that has no place in a block into a record of its own. */
export function writeRecord(value: Uint8Array): Uint8Array {
  const record = new Uint8Array(value.length + RECORD_BYTES);
  record.set(value, RECORD_HEAD_BYTES);
  record[record.length - 1] = PIECE_END;
  maskContent(record);
  return record;
}

/** The value in a record. Undefined for damage. */
export function openRecord(bytes: Uint8Array, checksum: number, crc32: Crc32): Uint8Array | undefined {
  const end = bytes.length - 1;
  if (bytes.length < RECORD_BYTES || bytes[end] !== PIECE_END) return undefined;
  const value = unmasked(bytes).subarray(RECORD_HEAD_BYTES, end);
  return crc32(value) === checksum ? value : undefined;
}

/** Between the mask and the end byte. */
function maskContent(piece: Uint8Array): boolean {
  // No byte of a mask begins a marker, and the byte before it ends none.
  if (indexOfMarker(piece, 4) < 0) return false;
  const mask = findMask(
    (difference) => xorMask(piece, 4, piece.length - 1, 0, difference),
    () => indexOfMarker(piece, 4) < 0,
  );
  for (let i = 0; i < 4; i++) piece[i] = (mask >>> (i * 8)) & 0xff;
  return true;
}

function unmasked(piece: Uint8Array): Uint8Array {
  const mask = readU32(piece, 0);
  if (mask === 0) return piece;
  const copy = piece.slice();
  xorMask(copy, 4, copy.length - 1, 0, mask);
  return copy;
}

// --- footer and tail -------------------------------------------------------------------------------------------------

export const SectionId = { filter: 1, lookup: 2, voidVersions: 3, shapes: 4 } as const;

/** Where a piece lies in the run, and how long it is. */
export interface PiecePlace {
  readonly place: number;
  readonly length: number;
}

/** A part of a run that not all have. Readers skip those that they do not know: entries without them can be read. */
export interface Section extends PiecePlace {
  readonly id: number;
}

/** What a run says of itself. */
export interface RunInfo {
  readonly entries: number;
  /** How many of the entries are tombstones. */
  readonly tombstones: number;
  /** Empty in a run without entries. */
  readonly smallestKey: string;
  readonly largestKey: string;
  /** The run holds what the commits with versions from `base` on, up to `upto`, have left. */
  readonly base: number;
  readonly upto: number;
  /** Of all entries; 0 without any. */
  readonly highestVersion: number;
  /** Bytes that mean nothing to the run. */
  readonly extra: Uint8Array;
}

export interface Footer extends RunInfo {
  readonly blocks: number;
  /** Where the blocks (and the value records between them) end. */
  readonly blocksEnd: number;
  /** The top node of the index. */
  readonly top: PiecePlace;
  readonly sections: readonly Section[];
}

const PLACE = { place: varint, length: varint };
const FOOTER = recordOf<Footer>({
  entries: varint,
  tombstones: varint,
  base: varint,
  upto: varint,
  highestVersion: varint,
  blocks: varint,
  blocksEnd: varint,
  top: recordOf<PiecePlace>(PLACE),
  smallestKey: binaryString,
  largestKey: binaryString,
  extra: anyBytes,
  sections: listOf(recordOf<Section>({ id: varint, ...PLACE }), Infinity),
});

export function writeFooter(writer: ByteWriter, footer: Footer, crc32: Crc32): void {
  const start = beginPiece(writer);
  writer.u16(RUN_FORMAT);
  FOOTER.write(writer, footer);
  endPiece(writer, start, crc32);
  const length = writer.length - start;
  if (length > FOOTER_BYTES_MAX) throw new RangeError(`A footer of ${length} bytes is too long`);
  writer.u32(length);
  writer.bytes(MAGIC);
  writer.u8(PIECE_END);
}

/** Where the next tail begins, or something that looks like one; -1 if nothing does. */
export function indexOfTail(bytes: Uint8Array, from: number): number {
  for (let at = bytes.indexOf(MAGIC[0], from + 4); at >= 0; at = bytes.indexOf(MAGIC[0], at + 1)) {
    if (readTail(bytes.subarray(at - 4, at - 4 + TAIL_BYTES)) !== undefined) return at - 4;
  }
  return -1;
}

/** The length of the footer, which lies directly before the tail; undefined if the bytes are no tail of a run. */
export function readTail(tail: Uint8Array): number | undefined {
  if (tail.length !== TAIL_BYTES || tail[TAIL_BYTES - 1] !== PIECE_END) return undefined;
  for (let i = 0; i < MAGIC.length; i++) if (tail[4 + i] !== MAGIC[i]) return undefined;
  return readU32(tail, 0);
}

/** Reads an opened footer; the number of its format if that is unknown. Throws `MalformedBytes`. */
export function readFooter(piece: Uint8Array): Footer | number {
  const reader = contentOf(piece);
  const format = reader.u16();
  if (format !== RUN_FORMAT) return format;
  const footer = FOOTER.read(reader);
  if (reader.remaining !== 0) throw new MalformedBytes("a footer that is too long");
  return footer;
}

/** Reads the content of an opened piece. */
export function contentOf(piece: Uint8Array): ByteReader {
  return new ByteReader(piece.subarray(PIECE_HEAD_BYTES, piece.length - PIECE_TAIL_BYTES));
}
