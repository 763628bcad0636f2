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

/** True if the first bytes are those of a marker, as far as they go. */
export function agreesWithMarker(beginning: Uint8Array, bytes: number): boolean {
  for (let i = 0; i < Math.min(bytes, MARKER.length); i++) if (beginning[i] !== MARKER[i]) return false;
  return true;
}
