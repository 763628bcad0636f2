import { KVError } from "../../core/errors.ts";
import type { ByteCache, LedgerCommit, LedgerOpenOptions } from "../../core/ledger.ts";
import type { MaybePromise } from "../../core/environment.ts";
import type { Confirmation } from "./confirmation.ts";
import { commitAt, placesOf, slotOfVersion, whereabouts } from "./place.ts";
import type { Site } from "./site.ts";
import { damagedSlot, decodeSlot, type Hole, payloadOf, type ReadCommit } from "./slot.ts";
import { readSlot, slotName } from "./slot-reader.ts";
import { readStaged } from "./staged.ts";

/** Objects that are kept where the engine gives no room for them, in bytes. */
const OWN_BYTES_MAX = 4 * 1024 * 1024;

/** Reads values of commits that no checkpoint covers yet: out of slots, which were read as a rule a short while ago, and out of staged objects. */
export class ValueReader {
  readonly #site: Site;
  readonly #confirmation: Confirmation;
  readonly #slots: KeptBytes;
  readonly #gone: () => void;

  /** `gone` is told that something is not there any more that this state needs. */
  constructor(
    site: Site,
    options: {
      readonly confirmation: Confirmation;
      readonly cache: LedgerOpenOptions["cache"];
      readonly gone: () => void;
    },
  ) {
    this.#site = site;
    this.#confirmation = options.confirmation;
    this.#slots = new KeptBytes(options.cache);
    this.#gone = options.gone;
  }

  /** The object of a slot was read or written: its values are likely to be asked for. */
  keep(slot: number, bytes: Uint8Array): void {
    this.#slots.keep(slot, bytes);
  }

  read(version: number, place: number, length: number, again: boolean): MaybePromise<Uint8Array> {
    const slot = slotOfVersion(version);
    const where = whereabouts(place);
    const kept = again ? undefined : this.#slots.get(slot);
    if (kept === undefined || where.kind === "virtual") return this.#arriving(slot, where, length, again);
    return this.#inline(kept, slot, where.from, length);
  }

  /** The whole payload of a commit that was handed up with holes. */
  async complete({ version, place, payload }: LedgerCommit): Promise<Uint8Array> {
    const slot = slotOfVersion(version);
    const bytes = await this.#object(slot, false);
    const index = version % 65_536;
    const commits = this.#commits(slot, bytes);
    if (index >= commits.length || placesOf(slot, commits)[index] !== place) throw this.#missing(slot, place);
    const whole = payload.slice();
    await Promise.all(
      commits[index].holes.map(async (hole) => {
        whole.set(await this.#staged(slot, hole, { offset: 0, length: hole.length }), hole.offset);
      }),
    );
    return whole;
  }

  release(): void {
    this.#slots.release();
  }

  async #arriving(
    slot: number,
    where: ReturnType<typeof whereabouts>,
    length: number,
    again: boolean,
  ): Promise<Uint8Array> {
    const bytes = await this.#object(slot, again);
    if (where.kind === "inline") return this.#inline(bytes, slot, where.from, length);
    const found = commitAt(this.#commits(slot, bytes), where.offset);
    if (found === undefined) throw this.#missing(slot, where.offset);
    return await this.#within(slot, bytes, found.commit, { offset: found.within, length });
  }

  #inline(bytes: Uint8Array, slot: number, from: number, length: number): Uint8Array {
    if (from + length > bytes.length) throw this.#missing(slot, from);
    return this.#slots.isShared ? bytes.subarray(from, from + length) : bytes.slice(from, from + length);
  }

  /** Bytes of a payload with holes: as a rule a checksum, and behind it a value that lies in a hole. */
  async #within(
    slot: number,
    bytes: Uint8Array,
    commit: ReadCommit,
    part: { readonly offset: number; readonly length: number },
  ): Promise<Uint8Array> {
    const { offset, length } = part;
    if (offset + length > commit.length) throw this.#missing(slot, offset);
    const result = payloadOf(bytes, commit).slice(offset, offset + length);
    for (const hole of commit.holes) {
      const from = Math.max(offset, hole.offset);
      const to = Math.min(offset + length, hole.offset + hole.length);
      if (from >= to) continue;
      result.set(await this.#staged(slot, hole, { offset: from - hole.offset, length: to - from }), from - offset);
    }
    return result;
  }

  async #staged(
    slot: number,
    hole: Hole,
    part: { readonly offset: number; readonly length: number },
  ): Promise<Uint8Array> {
    const answer = await readStaged(this.#site, hole, part);
    if (answer.status === "found") return answer.bytes;
    throw await this.#goneOrDamaged(slot, answer.why);
  }

  async #object(slot: number, again: boolean): Promise<Uint8Array> {
    const kept = again ? undefined : this.#slots.get(slot);
    if (kept !== undefined) return kept;
    const read = await readSlot(this.#site, slot);
    if (read.status === "absent") throw await this.#goneOrDamaged(slot, "it is not there");
    this.#slots.keep(slot, read.bytes);
    return read.bytes;
  }

  #commits(slot: number, bytes: Uint8Array): readonly ReadCommit[] {
    const { environment, nonce } = this.#site;
    const context = { crc32: environment.crc32, name: slotName(this.#site, slot) };
    return decodeSlot(bytes, { nonce, slot }, context).commits;
  }

  /** What is not there was deleted, if the root, asked now, says that it may be. */
  async #goneOrDamaged(slot: number, why: string): Promise<KVError> {
    const standing = await this.#confirmation.ask(slot, this.#site.nonce);
    if (standing === "final") return damagedSlot(slotName(this.#site, slot), slot, why);
    this.#gone();
    return new KVError("SnapshotExpired", `${slotName(this.#site, slot)} is no longer kept: this state is too old`);
  }

  #missing(slot: number, place: number): KVError {
    return damagedSlot(slotName(this.#site, slot), slot, `it has no such bytes at ${place}`);
  }
}

/** Objects in the engine's cache; or, without one, the latest few. */
class KeptBytes {
  readonly #cache: ByteCache | undefined;
  readonly #own = new Map<number, Uint8Array>();
  #ownBytes = 0;

  constructor(cache: LedgerOpenOptions["cache"]) {
    this.#cache = cache?.(() => undefined);
  }

  /** What is kept may be handed out: the receiver knows that. */
  get isShared(): boolean {
    return this.#cache !== undefined;
  }

  get(slot: number): Uint8Array | undefined {
    return this.#cache === undefined ? this.#own.get(slot) : this.#cache.get(slot);
  }

  keep(slot: number, bytes: Uint8Array): void {
    if (this.#cache !== undefined) {
      // The bytes are none of the cache's buffers, which it uses again: whoever has a view of them keeps it.
      this.#cache.set(slot, bytes, bytes.length);
      return;
    }
    if (this.#own.has(slot)) return;
    this.#own.set(slot, bytes);
    this.#ownBytes += bytes.length;
    for (const [oldest, old] of this.#own) {
      if (this.#ownBytes <= OWN_BYTES_MAX || oldest === slot) break;
      this.#own.delete(oldest);
      this.#ownBytes -= old.length;
    }
  }

  release(): void {
    this.#cache?.clear();
    this.#own.clear();
    this.#ownBytes = 0;
  }
}
