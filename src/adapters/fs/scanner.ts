import type { Environment } from "../../core/environment.ts";
import { indexOfMarker, MARKER } from "../../core/mask.ts";
import type { PassedCommit } from "../../core/ledger.ts";
import { type ReadableFile, readAt } from "./file.ts";
import {
  fingerprint as fingerprintOf,
  FRAME_BYTES_MAX,
  type FrameHeader,
  frameBytes,
  HEADER_BYTES,
  passCommit,
  readHeader,
  readPayload,
} from "./frame.ts";
import { payloadPlace } from "./open-files.ts";
import { judge, markerBytesAtEnd, type Verdict } from "./verdict.ts";

/** What lies at an offset of a ledger file. */
export type Scanned =
  | {
      readonly found: "frame";
      readonly header: FrameHeader;
      readonly payload: Uint8Array;
      readonly end: number;
      /** Tells this frame from another at the same offset. */
      readonly fingerprint: number;
    }
  /** No frame: a piece to be skipped. */
  | { readonly found: "piece"; readonly verdict: Exclude<Verdict, "wait">; readonly end: number }
  /** Nothing yet, or not all of it. */
  | { readonly found: "nothing" };

/** Commits that were passed: where the last one ends, and what identifies it. */
export interface Passed {
  readonly end: number;
  readonly fingerprint: number;
}

interface Judged {
  readonly verdict: Verdict;
  readonly end: number;
}

const SEARCH_BYTES = 1024 * 1024;
const NOTHING: Scanned = { found: "nothing" };

/**
 * Reads frames of a file from given offsets, in windows of about `windowBytes`. A window's memory is never used again: payloads may be
 * views of it.
 */
export class Scanner {
  readonly #file: ReadableFile;
  readonly #size: number;
  readonly #windowBytes: number;
  readonly #crc32: Environment["crc32"];
  #window: Uint8Array = new Uint8Array(0);
  #windowAt = 0;
  /** The commit that is being passed. Its numbers are no small integers to begin with, so that they are kept as they will be. */
  readonly #passing: PassedCommit = {
    version: NaN,
    place: NaN,
    writer: this.#window,
    counter: 0,
    timestamp: NaN,
    bytes: this.#window,
    from: 0,
    to: 0,
  };

  /** `size`: where reading ends, whatever is appended meanwhile. */
  constructor(file: ReadableFile, size: number, windowBytes: number, crc32: Environment["crc32"]) {
    this.#file = file;
    this.#size = size;
    this.#windowBytes = windowBytes;
    this.#crc32 = crc32;
  }

  scan(offset: number): Scanned {
    if (offset >= this.#size) return NOTHING;
    const frame = this.#frame(offset, this.#size);
    if (frame !== undefined) return frame;
    const first = this.#judge(offset, this.#size);
    if (first.verdict === "wait") return NOTHING;
    // A verdict is for ever: the bytes are read a second time before it stands.
    this.#window = new Uint8Array(0);
    const size = this.#file.status().size;
    const second = this.#frame(offset, size);
    if (second !== undefined) return second;
    const again = this.#judge(offset, size);
    if (again.verdict === "wait" || again.verdict !== first.verdict || again.end !== first.end) return NOTHING;
    return { found: "piece", verdict: again.verdict, end: again.end };
  }

  /**
   * Hands commits to `take` from `offset` on, as long as it takes them, they lie one behind the other, and less than `bytes` were passed. `delta`: from offsets
   * to addresses. Undefined if none was taken.
   */
  passCommits(
    offset: number,
    bytes: number,
    delta: number,
    take: (commit: PassedCommit) => boolean,
  ): Passed | undefined {
    const commit = this.#passing;
    const crc32 = this.#crc32;
    let end = offset;
    let fingerprint = 0;
    while (end - offset < bytes && this.#reaches(end)) {
      const at = end - this.#windowAt;
      const length = passCommit(this.#window, at, commit, crc32);
      if (length === 0) {
        // The window may end within the frame.
        if (at === 0 || !this.#readOn(end)) break;
        continue;
      }
      commit.version = end + delta;
      commit.place = payloadPlace(commit.version, 0);
      if (!take(commit)) break;
      fingerprint = fingerprintOf(this.#window, at + length);
      end += length;
    }
    return end === offset ? undefined : { end, fingerprint };
  }

  /** False if nothing of what lies there is in the window, and there is nothing more to be read. */
  #reaches(offset: number): boolean {
    const at = offset - this.#windowAt;
    return (at >= 0 && at < this.#window.length) || this.#readOn(offset);
  }

  /** Another window, that begins there. False if there is none. */
  #readOn(offset: number): boolean {
    const left = Math.min(HEADER_BYTES, this.#size - offset);
    if (left <= 0) return false;
    try {
      this.#window = this.#readWindow(offset, left, this.#size);
    } catch {
      // Whoever scans what lies there meets the same failure, and tells of it.
      return false;
    }
    this.#windowAt = offset;
    return this.#window.length > 0;
  }

  #frame(offset: number, size: number): Scanned | undefined {
    const at = this.#locate(offset, Math.min(HEADER_BYTES, size - offset), size);
    const header = readHeader(this.#window, at, this.#crc32);
    if (header === undefined) return undefined;
    const length = frameBytes(header.payloadBytes);
    // The length is trusted, for the header's checksum held; still nothing larger than a frame is ever allocated.
    if (length > FRAME_BYTES_MAX || offset + length > size) return undefined;
    // Where the window is another one now, it may be shorter than asked for, if the file was cut.
    const from = this.#locate(offset, length, size);
    const payload = readPayload(this.#window, from, header, this.#crc32);
    if (payload === undefined) return undefined;
    const fingerprint = fingerprintOf(this.#window, from + length);
    return { found: "frame", header, payload, end: offset + length, fingerprint };
  }

  #judge(offset: number, size: number): Judged {
    for (let limit = size; ;) {
      const { end, contentEnd } = this.#pieceFrom(offset, limit);
      const beginning = this.#bytes(offset, Math.min(HEADER_BYTES, limit - offset), size);
      const header = readHeader(beginning, 0, this.#crc32);
      const verdict = judge({
        bytes: end - offset,
        contentBytes: contentEnd - offset,
        isLast: end === size,
        beginning,
        declaredBytes: header === undefined ? undefined : frameBytes(header.payloadBytes),
      });
      if (verdict !== "damage") return { verdict, end };
      const tailBytes = Math.min(MARKER.length - 1, contentEnd - offset);
      const cut = markerBytesAtEnd(readAt(this.#file, contentEnd - tailBytes, tailBytes));
      if (cut === 0) return { verdict, end };
      limit = contentEnd - cut;
    }
  }

  /** The piece that begins at `offset`: up to the next marker, or to the end. */
  #pieceFrom(offset: number, size: number): { readonly end: number; readonly contentEnd: number } {
    let contentEnd = offset;
    for (let at = offset; at < size;) {
      // A marker may lie across two readings: the next one begins a little before the end of this one.
      const bytes = readAt(this.#file, at, Math.min(SEARCH_BYTES, size - at));
      const marker = indexOfMarker(bytes, at === offset ? 1 : 0);
      const to = marker < 0 ? bytes.length : marker;
      for (let i = to - 1; i >= 0; i--) {
        if (bytes[i] === 0) continue;
        contentEnd = Math.max(contentEnd, at + i + 1);
        break;
      }
      if (marker >= 0) return { end: at + marker, contentEnd };
      if (at + bytes.length >= size || bytes.length < MARKER.length) break;
      at += bytes.length - (MARKER.length - 1);
    }
    return { end: size, contentEnd };
  }

  /** `length` bytes at `offset`, which lie before `size`; fewer if the file was cut meanwhile. */
  #bytes(offset: number, length: number, size: number): Uint8Array {
    const from = this.#locate(offset, length, size);
    return this.#window.subarray(from, from + length);
  }

  /** Where these bytes begin in the window. */
  #locate(offset: number, length: number, size: number): number {
    const from = offset - this.#windowAt;
    if (from >= 0 && from + length <= this.#window.length) return from;
    this.#window = this.#readWindow(offset, length, size);
    this.#windowAt = offset;
    return 0;
  }

  #readWindow(offset: number, length: number, size: number): Uint8Array {
    const ahead = Math.min(Math.max(length, this.#windowBytes), size - offset);
    try {
      return readAt(this.#file, offset, ahead);
    } catch (error) {
      // A block further on cannot be read: what was asked for perhaps can.
      if (ahead === length) throw error;
      return readAt(this.#file, offset, length);
    }
  }
}
