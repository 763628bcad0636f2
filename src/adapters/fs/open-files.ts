import { readU32 } from "../../core/bytes.ts";
import { KVError } from "../../core/errors.ts";
import type { LedgerOpenOptions } from "../../core/ledger.ts";
import { fromSystem } from "./errors.ts";
import { type FileHandle, readAt } from "./file.ts";
import { HEADER_BYTES, unmask } from "./frame.ts";
import type { Generation } from "./generation.ts";
import { OpenFile } from "./open-file.ts";
import type { ValuePages } from "./value-pages.ts";

/** Added to the place of a value that lies in a masked frame: whoever reads it has to look for the mask. */
const MASKED = 2 ** 52;

/** Where the payload of a commit lies, for `readValue`: an address, and whether its frame is masked. */
export function payloadPlace(version: number, mask: number): number {
  return version + HEADER_BYTES + (mask === 0 ? 0 : MASKED);
}

/** The files of a session that are open: the present generation's, and earlier ones as long as somebody reads what they saw there. */
export class OpenFiles {
  readonly #path: string;
  readonly #cache: LedgerOpenOptions["cache"];
  /** The present one last. */
  #files: OpenFile[] = [];
  /** Where the last value was read, if it was given as it lies there. */
  #lastRead: ValuePages | undefined;

  /** `path` is for messages. */
  constructor(path: string, cache: LedgerOpenOptions["cache"]) {
    this.#path = path;
    this.#cache = cache;
  }

  get current(): OpenFile | undefined {
    return this.#files[this.#files.length - 1];
  }

  /** Makes a generation's file the present one. */
  enter(file: FileHandle, generation: Generation): OpenFile {
    this.current?.release();
    const entered = new OpenFile(file, generation, this.#cache);
    this.#files = [...this.#files.filter((each) => each.isOpen), entered];
    return entered;
  }

  /**
   * A value of the commit of this version. Behind `readTo`, the address up to which the present file was read and judged, somebody may still be
   * writing. `again`: not as it was read before.
   *
   * @throws KVError `LedgerDamaged`, or what the system says.
   */
  readValue(version: number, place: number, length: number, readTo: number, again: boolean): Uint8Array {
    const masked = place >= MASKED;
    const address = masked ? place - MASKED : place;
    const open = this.#fileOf(version);
    if (open === undefined) throw this.#unreadable(address, length);
    const { file, values, generation } = open;
    try {
      const settledUpTo = open === this.current ? readTo - generation.delta : Infinity;
      if (again) values.forget(address - generation.delta, length);
      this.#lastRead = masked ? undefined : values;
      const bytes = values.read(address - generation.delta, length, settledUpTo);
      if (bytes.length < length) throw this.#unreadable(address, length);
      if (!masked) return bytes;
      const unmasked = bytes.slice();
      unmask(unmasked, address - version, readU32(readAt(file, version - generation.delta, HEADER_BYTES), 8));
      return unmasked;
    } catch (error) {
      throw fromSystem(error, `A value of ${this.#path} cannot be read`);
    }
  }

  /** See `LedgerSession`. */
  get isKnownWhole(): boolean {
    return this.#lastRead !== undefined && this.#lastRead.isMarked;
  }

  noteWhole(): void {
    this.#lastRead?.mark();
  }

  #fileOf(version: number): OpenFile | undefined {
    const { current } = this;
    if (current !== undefined && version >= current.generation.header.base) return current;
    return this.#files.findLast(({ isOpen, generation: { header } }) => {
      // Behind a torn second copy of the header, the first generation's frames begin before its base.
      return isOpen && (version >= header.base || header.generation === 1);
    });
  }

  #unreadable(address: number, length: number): KVError {
    const ranges = [{ from: address, to: address + length }];
    return new KVError("LedgerDamaged", `${this.#path} holds no ${length} bytes at address ${address}`, { ranges });
  }
}
