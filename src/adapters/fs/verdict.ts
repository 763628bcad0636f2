import { MARKER } from "../../core/mask.ts";
import { HEADER_BYTES } from "./frame.ts";

/**
 * What bytes are that hold no whole frame. Every replica must come to the same verdict from the same bytes, whenever it looks: the
 * verdict depends on nothing but the piece. A piece lies between two markers, or between a marker and the end of the file.
 */
export type Verdict = "wait" | "stump" | "lost" | "damage";

export interface Piece {
  readonly bytes: number;
  /** Without the zeros at its end. */
  readonly contentBytes: number;
  /** Nothing lies behind it. */
  readonly isLast: boolean;
  /** The first bytes, at least as many as a frame's header, or all there are. */
  readonly beginning: Uint8Array;
  /** What its header, if it has a valid one, says that the whole frame should have. */
  readonly declaredBytes: number | undefined;
}

export function judge({ bytes, contentBytes, isLast, beginning, declaredBytes }: Piece): Verdict {
  // Another process may still be writing it.
  if (isLast && (bytes < HEADER_BYTES || (declaredBytes !== undefined && bytes < declaredBytes))) return "wait";
  if (contentBytes === 0) return "lost";
  // A writer died or ran out of space here, and told nobody that it was in.
  if (contentBytes < HEADER_BYTES && agreesWithMarker(beginning, contentBytes)) return "stump";
  if (declaredBytes === undefined) return "damage";
  if (bytes < declaredBytes) return "stump";
  // Whole in length, its end never reached the disk.
  if (contentBytes < declaredBytes) return "lost";
  return "damage";
}

/**
 * How many bytes at the end of `tail` are the beginning of a marker, and not all of it. A piece that would be damage may end in the stump of a
 * second writer that died, or is still writing, within its marker, with zeros behind it after a power failure: it is cut before these bytes
 * and judged anew, as one that is not the last. `tail`: the last bytes that are no zeros.
 */
export function markerBytesAtEnd(tail: Uint8Array): number {
  // The marker's first byte occurs nowhere else in it: only its last occurrence can begin one.
  const bytes = tail.length - tail.lastIndexOf(MARKER[0]);
  if (bytes > tail.length || bytes >= MARKER.length) return 0;
  return agreesWithMarker(tail.subarray(tail.length - bytes), bytes) ? bytes : 0;
}

/** True if the first bytes are those of a marker, as far as they go. */
export function agreesWithMarker(beginning: Uint8Array, bytes: number): boolean {
  for (let i = 0; i < Math.min(bytes, MARKER.length); i++) if (beginning[i] !== MARKER[i]) return false;
  return true;
}
