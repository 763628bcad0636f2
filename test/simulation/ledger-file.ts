import { crc32 } from "node:zlib";

/**
 * A plain reader of one ledger file, written from the format's description and sharing nothing with the code under test: it takes a whole file,
 * slowly and simply, and says what everybody must find in it.
 */

const MARKER = Buffer.from("fc666f6c696f6b76", "hex");
export const HEADER_BYTES = 48;
const TRAILER_BYTES = 5;

export interface Frame {
  /** Logical. */
  readonly address: number;
  readonly kind: number;
  readonly writer: string;
  readonly counter: number;
  readonly timestamp: number;
  readonly payload: Buffer;
}

/** Bytes that are no frame, in logical addresses. */
export interface Piece {
  readonly from: number;
  readonly to: number;
  readonly verdict: "stump" | "lost" | "damage";
}

export interface GenerationHeader {
  readonly ledgerId: string;
  readonly generation: number;
  readonly nonce: string;
  readonly base: number;
  readonly framesAt: number;
  readonly runBytes: number;
}

export interface Seal {
  readonly nonce: string;
  readonly siblingNonce: string;
  readonly base: number;
  readonly framesAt: number;
}

export class LedgerFile {
  readonly bytes: Buffer;
  header: GenerationHeader | undefined;
  /** Logical address minus offset. */
  delta = 0;
  /** Up to the seal. */
  readonly frames: Frame[] = [];
  /** Pieces behind the header, without the last one if it may still be in the writing. */
  readonly pieces: Piece[] = [];
  /** The seal that ends it, and its address. */
  seal: Seal | undefined;
  sealedAt: number | undefined;
  readonly bad: string[] = [];

  constructor(file: Uint8Array) {
    this.bytes = Buffer.from(file);
    const dropped = new Set<string>();
    let at = 0;
    while (at < this.bytes.length && this.seal === undefined) {
      const frame = frameAt(this.bytes, at);
      if (frame === undefined) {
        at = this.#piece(at);
        continue;
      }
      const end = at + HEADER_BYTES + frame.payload.length + TRAILER_BYTES;
      if (this.header === undefined) {
        if (frame.kind !== 1) this.bad.push(`a frame at ${at} before any header`);
        at = frame.kind === 1 ? Math.max(end, this.#begin(frame)) : end;
        continue;
      }
      if (frame.kind === 2) this.frames.push({ ...frame, address: at + this.delta });
      else if (frame.kind === 3) this.#seal(frame, at, dropped);
      else if (frame.kind === 4) dropped.add(frame.payload.toString("hex"));
      else if (frame.kind !== 1) this.bad.push(`a frame of kind ${frame.kind} at ${at}`);
      at = end;
    }
    while (at < this.bytes.length && this.seal !== undefined) at = this.#behindSeal(at, this.seal);
  }

  /** Nothing counts there but a seal that replaces the one before it, because the sibling which that names was lost. */
  #behindSeal(at: number, { siblingNonce }: Seal): number {
    const frame = frameAt(this.bytes, at);
    if (frame === undefined) {
      const marker = this.bytes.indexOf(MARKER, at + 1);
      return marker < 0 ? this.bytes.length : marker;
    }
    const seal = frame.kind === 3 ? this.#sealIn(frame) : undefined;
    if (seal?.nonce === siblingNonce) this.seal = seal;
    return at + HEADER_BYTES + frame.payload.length + TRAILER_BYTES;
  }

  /** Returns where frames begin. */
  #begin({ payload }: Frame): number {
    const number = (at: number): number => payload.readUInt32LE(at) + payload.readUInt32LE(at + 4) * 2 ** 32;
    this.header = {
      ledgerId: payload.toString("hex", 2, 18),
      generation: number(18),
      nonce: payload.toString("hex", 26, 42),
      base: number(42),
      framesAt: number(50),
      runBytes: number(66),
    };
    this.delta = this.header.base - this.header.framesAt;
    return this.header.generation > 1 ? this.header.framesAt : 0;
  }

  #seal(frame: Frame, at: number, dropped: ReadonlySet<string>): void {
    const seal = this.#sealIn(frame);
    if (seal === undefined || seal.nonce !== this.header?.nonce || dropped.has(seal.siblingNonce)) return;
    this.seal = seal;
    this.sealedAt = at + this.delta;
  }

  /** Undefined if it names what cannot be the next generation. */
  #sealIn({ payload }: Frame): Seal | undefined {
    const number = (offset: number): number =>
      payload.readUInt32LE(offset) + payload.readUInt32LE(offset + 4) * 2 ** 32;
    const name = payload.toString("utf8", 58, 58 + payload.readUInt16LE(56));
    if (this.header === undefined || !name.includes(`.${this.header.generation + 1}-`)) return undefined;
    return {
      nonce: payload.toString("hex", 0, 16),
      siblingNonce: payload.toString("hex", 16, 32),
      base: number(32),
      framesAt: number(40),
    };
  }

  /** Takes a piece without a frame into account, and returns where it ends. */
  #piece(at: number): number {
    const { bytes } = this;
    const marker = bytes.indexOf(MARKER, at + 1);
    let end = marker < 0 ? bytes.length : marker;
    const declared = declaredLength(bytes, at, end);
    // Too little to tell: for all that anybody knows, it is still being written.
    if (marker < 0 && (end - at < HEADER_BYTES || (declared !== undefined && end - at < declared))) return end;
    let verdict = verdictOn(bytes, at, end);
    while (verdict === "damage") {
      let content = end;
      while (content > at && bytes[content - 1] === 0) content--;
      const cut = [1, 2, 3, 4, 5, 6, 7].find((count) =>
        bytes.subarray(Math.max(at + 1, content - count), content).equals(MARKER.subarray(0, count)),
      );
      if (cut === undefined) break;
      end = content - cut;
      verdict = verdictOn(bytes, at, end);
    }
    if (this.header !== undefined) this.pieces.push({ from: at + this.delta, to: end + this.delta, verdict });
    return end;
  }
}

function verdictOn(bytes: Buffer, at: number, end: number): Piece["verdict"] {
  const piece = bytes.subarray(at, end);
  let content = piece.length;
  while (content > 0 && piece[content - 1] === 0) content--;
  if (content === 0) return "lost";
  const agrees = piece.subarray(0, Math.min(8, content)).equals(MARKER.subarray(0, Math.min(8, content)));
  if (content < HEADER_BYTES && agrees) return "stump";
  const declared = declaredLength(bytes, at, end);
  if (declared === undefined) return "damage";
  if (piece.length < declared) return "stump";
  return content < declared ? "lost" : "damage";
}

function unmasked(bytes: Buffer, at: number, from: number, to: number): Buffer {
  const mask = bytes.subarray(at + 8, at + 12);
  if (mask.readUInt32LE() === 0) return bytes.subarray(at + from, at + to);
  const plain = Buffer.from(bytes.subarray(at + from, at + to));
  for (let i = 0; i < plain.length; i++) plain[i] ^= mask[(from + i) % 4];
  return plain;
}

function headerAt(bytes: Buffer, at: number): Buffer | undefined {
  if (bytes.length - at < HEADER_BYTES || !bytes.subarray(at, at + 8).equals(MARKER) || bytes[at + 47] !== 0xa5)
    return undefined;
  const fields = unmasked(bytes, at, 12, 47);
  return crc32(fields.subarray(0, 31)) === fields.readUInt32LE(31) ? fields : undefined;
}

function declaredLength(bytes: Buffer, at: number, end: number): number | undefined {
  const fields = headerAt(bytes.subarray(0, end), at);
  return fields === undefined ? undefined : HEADER_BYTES + fields.readUInt32LE(1) + TRAILER_BYTES;
}

/** The frame at an offset, which stands in for its address. */
function frameAt(bytes: Buffer, at: number): Frame | undefined {
  const fields = headerAt(bytes, at);
  if (fields === undefined) return undefined;
  const length = fields.readUInt32LE(1);
  const end = HEADER_BYTES + length + TRAILER_BYTES;
  if (at + end > bytes.length || bytes[at + end - 1] !== 0x5a) return undefined;
  const rest = unmasked(bytes, at, HEADER_BYTES, end - 1);
  const checksum = crc32(rest.subarray(0, length), crc32(Buffer.concat([fields, Buffer.of(0xa5)])));
  if (checksum !== rest.readUInt32LE(length)) return undefined;
  return {
    address: at,
    kind: fields[0],
    writer: fields.subarray(5, 17).toString("hex"),
    counter: fields.readUIntLE(17, 6),
    timestamp: fields.readDoubleLE(23),
    payload: rest.subarray(0, length),
  };
}

/** The header of a file, if a whole one stands anywhere in it. */
export function headerOf(file: Uint8Array): GenerationHeader | undefined {
  const bytes = Buffer.from(file);
  for (let at = bytes.indexOf(MARKER); at >= 0; at = bytes.indexOf(MARKER, at + 1)) {
    const frame = frameAt(bytes, at);
    const end = at + HEADER_BYTES + (frame?.payload.length ?? 0) + TRAILER_BYTES;
    if (frame?.kind === 1) return new LedgerFile(bytes.subarray(at, end)).header;
  }
  return undefined;
}

/** A whole frame, for who writes without the code under test. Only for payloads that hold no marker. */
export function encodeFrame(writer: Uint8Array, counter: number, timestamp: number, payload: Uint8Array): Uint8Array {
  const frame = Buffer.alloc(HEADER_BYTES + payload.length + TRAILER_BYTES);
  MARKER.copy(frame);
  frame[12] = 2;
  frame.writeUInt32LE(payload.length, 13);
  frame.set(writer, 17);
  frame.writeUIntLE(counter, 29, 6);
  frame.writeDoubleLE(timestamp, 35);
  frame.writeUInt32LE(crc32(frame.subarray(12, 43)), 43);
  frame[47] = 0xa5;
  frame.set(payload, HEADER_BYTES);
  frame.writeUInt32LE(crc32(frame.subarray(12, HEADER_BYTES + payload.length)), HEADER_BYTES + payload.length);
  frame[frame.length - 1] = 0x5a;
  return frame;
}
