import { MalformedBytes, toHex } from "../../core/bytes.ts";
import type { Environment } from "../../core/environment.ts";
import { KVError } from "../../core/errors.ts";
import { indexOfMarker, MARKER } from "../../core/mask.ts";
import { type ReadableFile, readAt } from "./file.ts";
import { FrameKind, frameBytes, fingerprint, readHeader, readPayload, writeFrame } from "./frame.ts";
import { decodeGenerationHeader, encodeGenerationHeader, FORMAT, type GenerationHeader, ID_BYTES } from "./payloads.ts";
import { agreesWithMarker, judge, markerBytesAtEnd } from "./verdict.ts";

/** A whole header lies within so many bytes from the start, or there is none. */
const SEARCH_BYTES = 64 * 1024;
/** Holds both copies of a header. */
const BEGINNING_BYTES = 1024;

/** One generation of a ledger file, opened: its header, and how logical addresses lie in it. */
export interface Generation {
  readonly header: GenerationHeader;
  /** Logical address minus offset. */
  readonly delta: number;
  /** The clock of whoever wrote the header, ms since the epoch. */
  readonly startedAt: number;
  /** Offset behind which frames are looked for. */
  readonly start: number;
  /** The header frame that serves: where it ends and what identifies it. */
  readonly headerFrame: { readonly end: number; readonly fingerprint: number };
  /** Where the second copy of the header should be; empty if the copy that serves is the second. */
  readonly copyFrom: number;
  readonly copyTo: number;
  /** The first copy is damaged: its offsets. */
  readonly damagedCopy: { readonly from: number; readonly to: number } | undefined;
}

/** What a file begins with. */
export type Beginning =
  | { readonly is: "ledger"; readonly generation: Generation }
  /** Nothing, or stumps of headers: a ledger can be created here. */
  | { readonly is: "blank" }
  /** Begins as a ledger does, and no header in it is whole. */
  | { readonly is: "damaged" }
  /** Nothing but zeros, or zeros in front of frames: what a power failure may leave of a ledger that was about to be made, or anybody's file. */
  | { readonly is: "zeroed" }
  | { readonly is: "foreign"; readonly beginning: Uint8Array };

/**
 * Looks for the header: the first whole one wins that is at the beginning of a file. Throws `UnsupportedFormat` for a newer format.
 */
export function readBeginning(file: ReadableFile, name: string, crc32: Environment["crc32"]): Beginning {
  // As a rule the file begins with it, and nothing has to be searched.
  const beginning = readAt(file, 0, BEGINNING_BYTES);
  const isThere = headerFrame(beginning, 0, crc32) !== undefined;
  const bytes = isThere ? beginning : readAt(file, 0, SEARCH_BYTES + BEGINNING_BYTES);
  for (let at = indexOfMarker(bytes, 0); at >= 0 && at < SEARCH_BYTES; at = indexOfMarker(bytes, at + 1)) {
    const frame = headerFrame(bytes, at, crc32);
    if (frame === undefined) continue;
    const { payload, timestamp } = frame;
    const length = frameBytes(payload.length);
    // Stumps of headers that never became whole may lie before it; what else lies there must be the first copy, and nothing but it.
    const isSecondCopy = !holdsOnlyHeaderStumps(bytes.subarray(0, at), crc32, false);
    // Otherwise it is a ledger within something else, an archive for example, which is not ours to write to.
    if (isSecondCopy && (at < length || !holdsOnlyHeaderStumps(bytes.subarray(0, at - length), crc32, false))) continue;
    const header = decodeHeader(payload, name);
    const start = header.runBytes === 0 ? at + length : Math.max(at + length, header.framesAt);
    return {
      is: "ledger",
      generation: {
        header,
        delta: header.base - header.framesAt,
        startedAt: timestamp,
        start,
        headerFrame: { end: at + length, fingerprint: fingerprint(bytes, at + length) },
        copyFrom: at + length,
        copyTo: isSecondCopy ? at + length : at + 2 * length,
        damagedCopy: isSecondCopy ? { from: at - length, to: at } : undefined,
      },
    };
  }
  if (bytes.length < SEARCH_BYTES && holdsOnlyHeaderStumps(bytes, crc32, true)) return { is: "blank" };
  if (agreesWithMarker(bytes, bytes.length)) return { is: "damaged" };
  const marker = indexOfMarker(bytes, 0);
  const isSeen = marker >= 0 || bytes.length < SEARCH_BYTES;
  if (isSeen && contentBytes(marker < 0 ? bytes : bytes.subarray(0, marker)) === 0) return { is: "zeroed" };
  return { is: "foreign", beginning: bytes.subarray(0, 64) };
}

function headerFrame(
  bytes: Uint8Array,
  at: number,
  crc32: Environment["crc32"],
): { readonly payload: Uint8Array; readonly timestamp: number } | undefined {
  const header = readHeader(bytes, at, crc32);
  if (header?.kind !== FrameKind.header || at + frameBytes(header.payloadBytes) > bytes.length) return undefined;
  const payload = readPayload(bytes, at, header, crc32);
  return payload === undefined ? undefined : { payload, timestamp: header.timestamp };
}

function decodeHeader(payload: Uint8Array, name: string): GenerationHeader {
  let header: GenerationHeader;
  try {
    header = decodeGenerationHeader(payload);
  } catch (error) {
    if (!(error instanceof MalformedBytes)) throw error;
    throw new KVError("UnsupportedFormat", `${name} has a header of an unknown form`, { cause: error });
  }
  if (header.format !== FORMAT) {
    throw new KVError(
      "UnsupportedFormat",
      `${name} has format ${header.format}; this version of foliokv knows format ${FORMAT}`,
    );
  }
  return header;
}

/** True if, cut at every marker, the bytes are nothing but beginnings of header frames. `toTheEnd`: nothing lies behind them. */
function holdsOnlyHeaderStumps(bytes: Uint8Array, crc32: Environment["crc32"], toTheEnd: boolean): boolean {
  for (let at = 0; at < bytes.length;) {
    const marker = indexOfMarker(bytes, at + 1);
    let end = marker < 0 ? bytes.length : marker;
    while (!isHeaderStump(bytes.subarray(at, end), crc32, toTheEnd && end === bytes.length)) {
      const contentEnd = at + contentBytes(bytes.subarray(at, end));
      const cut = markerBytesAtEnd(bytes.subarray(Math.max(at, contentEnd - MARKER.length + 1), contentEnd));
      if (cut === 0) return false;
      end = contentEnd - cut;
    }
    at = end;
  }
  return true;
}

function isHeaderStump(piece: Uint8Array, crc32: Environment["crc32"], isLast: boolean): boolean {
  const header = readHeader(piece, 0, crc32);
  if (header !== undefined && header.kind !== FrameKind.header) return false;
  const content = contentBytes(piece);
  // As many zeros as creators had appended: the power failed before they were durable.
  if (content === 0 && piece.length > 0) return piece.length % (2 * frameBytes(headerPayloadBytes)) === 0;
  const verdict = judge({
    bytes: piece.length,
    contentBytes: content,
    isLast,
    beginning: piece,
    declaredBytes: header === undefined ? undefined : frameBytes(header.payloadBytes),
  });
  return verdict === "stump" || (verdict === "wait" && agreesWithMarker(piece, piece.length));
}

/** Without the zeros at the end. */
function contentBytes(piece: Uint8Array): number {
  let content = piece.length;
  while (content > 0 && piece[content - 1] === 0) content--;
  return content;
}

/** The first generation of a new ledger: both copies of its header, to be appended in one write. */
export function encodeNewLedger(environment: Environment): Uint8Array {
  const both = 2 * frameBytes(headerPayloadBytes);
  return encodeHeaderPair(
    {
      format: FORMAT,
      ledgerId: toHex(environment.randomBytes(ID_BYTES)),
      generation: 1,
      nonce: toHex(environment.randomBytes(ID_BYTES)),
      base: both,
      framesAt: both,
      runAt: 0,
      runBytes: 0,
      runChecksum: 0,
    },
    environment,
  );
}

/** A header, twice. */
export function encodeHeaderPair(header: GenerationHeader, environment: Environment): Uint8Array {
  const payload = encodeGenerationHeader(header);
  const record = { writer: environment.randomBytes(12), counter: 0, timestamp: environment.now(), payload };
  const pair = new Uint8Array(2 * frameBytes(payload.length));
  const second = writeFrame(pair, 0, FrameKind.header, record, environment.crc32);
  writeFrame(pair, second, FrameKind.header, record, environment.crc32);
  return pair;
}

/** Bytes of a header frame's payload in this format. */
export const headerPayloadBytes = 2 + ID_BYTES + 8 + ID_BYTES + 8 * 4 + 4;
