import { BATCH_ID_BYTES, HASH_BYTES } from "./slot.ts";

/** What is remembered of a slot that was read or written. */
export interface SlotFacts {
  readonly slot: number;
  /** SHA-256 of its object. */
  readonly hash: Uint8Array;
  readonly batchId: Uint8Array;
  /** Of its object. */
  readonly bytes: number;
  /** Of its last commit. */
  readonly lastVersion: number;
  /** By the store's clock; undefined where that is not told. */
  readonly lastModified: number | undefined;
}

/** Slots remembered at least, if there were so many: more than this nobody looks up. */
const SLOTS_MAX = 65_536;
const CHUNK_SLOTS = 128;
/** Numbers of one slot: bytes, last version, time; of a slot that is not there, zeros. */
const NUMBERS = 3;

/** Some slots side by side, in flat memory: as objects they would take ten times as much, and an isolate that lives for hours has little. */
class Chunk {
  readonly hashes = new Uint8Array(CHUNK_SLOTS * HASH_BYTES);
  readonly batchIds = new Uint8Array(CHUNK_SLOTS * BATCH_ID_BYTES);
  readonly numbers = new Float64Array(CHUNK_SLOTS * NUMBERS);
}

/** The slots behind the checkpoint, and that of the checkpoint itself, in order and without a gap. */
export class Tail {
  readonly #chunks = new Map<number, Chunk>();

  /** The next slot was read, or written. */
  add({ slot, hash, batchId, bytes, lastVersion, lastModified = NaN }: SlotFacts): void {
    const number = Math.floor(slot / CHUNK_SLOTS);
    const at = slot % CHUNK_SLOTS;
    let chunk = this.#chunks.get(number);
    if (chunk === undefined) this.#chunks.set(number, (chunk = new Chunk()));
    chunk.hashes.set(hash, at * HASH_BYTES);
    chunk.batchIds.set(batchId, at * BATCH_ID_BYTES);
    chunk.numbers.set([bytes, lastVersion, lastModified], at * NUMBERS);
    // The one that is being filled comes on top.
    if (this.#chunks.size <= SLOTS_MAX / CHUNK_SLOTS + 1) return;
    for (const oldest of this.#chunks.keys()) {
      this.#chunks.delete(oldest);
      break;
    }
  }

  get(slot: number): SlotFacts | undefined {
    const at = slot % CHUNK_SLOTS;
    const chunk = this.#chunks.get(Math.floor(slot / CHUNK_SLOTS));
    // No object is empty.
    if (chunk === undefined || chunk.numbers[at * NUMBERS] === 0) return undefined;
    const [bytes, lastVersion, lastModified] = chunk.numbers.subarray(at * NUMBERS, (at + 1) * NUMBERS);
    return {
      slot,
      hash: chunk.hashes.slice(at * HASH_BYTES, (at + 1) * HASH_BYTES),
      batchId: chunk.batchIds.slice(at * BATCH_ID_BYTES, (at + 1) * BATCH_ID_BYTES),
      bytes,
      lastVersion,
      lastModified: Number.isNaN(lastModified) ? undefined : lastModified,
    };
  }
}
