import { type FileHandle, readAt } from "./file.ts";
import { isTrailerOf, TRAILER_BYTES } from "./frame.ts";

/** A frame that was read or written: where it ends, and what tells it from another one there. */
export interface KnownFrame {
  readonly end: number;
  readonly fingerprint: number;
}

/** So long after a look at the last frame, writes behind it take it for unchanged. */
const LOOK_MS = 1;

/**
 * The frame of a file that was read or written last, the header at first. If it is there no more, something else was written over what was read, as by who
 * copies another file into this one: docs/decisions/0063.
 */
export class LastFrame {
  readonly #monotonic: () => number;
  #frame: KnownFrame = { end: 0, fingerprint: 0 };
  /** The one that was looked at last, while own frames were written behind it without a look. */
  #lookedAt: KnownFrame | undefined;
  /** monotonic() of that look. */
  #lastLook = -Infinity;

  constructor(monotonic: () => number) {
    this.#monotonic = monotonic;
  }

  /** Where it ends. */
  get end(): number {
    return this.#frame.end;
  }

  /** Of another file, at which nobody has looked yet. */
  enter(header: KnownFrame): void {
    this.#frame = header;
    this.#lookedAt = undefined;
    this.#lastLook = -Infinity;
  }

  /** This frame comes behind it. */
  pass(frame: KnownFrame): void {
    this.#frame = frame;
  }

  /** False if it is not there any more, nor the one that was looked at before it. */
  isUntouched(file: FileHandle): boolean {
    if (this.#lookedAt !== undefined && !isThere(this.#lookedAt, file)) return false;
    if (!isThere(this.#frame, file)) return false;
    this.#lookedAt = undefined;
    this.#lastLook = this.#monotonic();
    return true;
  }

  /** The same for who reads on right behind an own write: what was written without a look is left to the next look. */
  isUntouchedAtRead(file: FileHandle): boolean {
    return this.#lookedAt === undefined ? this.isUntouched(file) : isThere(this.#frame, file);
  }

  /**
   * The same for who has just written, and found the file as long as it should be, which others may have made it. Whoever writes often looks now and
   * then, and keeps in mind what was looked at last.
   */
  isUntouchedBeforeWrite(file: FileHandle): boolean {
    try {
      if (this.#monotonic() - this.#lastLook >= LOOK_MS) return this.isUntouched(file);
      this.#lookedAt ??= this.#frame;
      return true;
    } catch {
      // It was written. Reading on meets the same failure, or finds it.
      return false;
    }
  }
}

/** All of it: others may have written behind what a cut has left of it. */
function isThere({ end, fingerprint }: KnownFrame, file: FileHandle): boolean {
  return isTrailerOf(readAt(file, end - TRAILER_BYTES, TRAILER_BYTES), fingerprint);
}
