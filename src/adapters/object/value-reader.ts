import { KVError } from "../../core/errors.ts";
import type { ByteCache, LedgerCommit, LedgerOpenOptions } from "../../core/ledger.ts";
import type { MaybePromise } from "../../core/environment.ts";
import type { Confirmation } from "./confirmation.ts";
import { SLOT_VERSIONS } from "./layout.ts";
import { commitAt, inlineFrom, placesOf, slotOfVersion } from "./place.ts";
import type { Site } from "./site.ts";
import { damagedSlot, decodeSlot, type Hole, payloadOf, type ReadCommit } from "./slot.ts";
import { readSlot, slotName } from "./slot-reader.ts";
import { readStaged } from "./staged.ts";

/** Reads values of commits that no checkpoint covers yet: out of slots, which were read as a rule a short while ago, and out of staged objects. */
export class ValueReader {
  readonly #site: Site;
  readonly #confirmation: Confirmation;
  /** Objects of slots, as long as there is room. What is kept may be handed out: the receiver knows that. */
  readonly #slots: ByteCache | undefined;
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
    // The bytes are none of the cache's buffers, which it uses again: whoever has a view of them keeps it.
    this.#slots = options.cache?.(() => undefined);
    this.#gone = options.gone;
  }

  /** The object of a slot was read or written: its values are likely to be asked for. */
  keep(slot: number, bytes: Uint8Array): void {
    this.#slots?.set(slot, bytes, bytes.length);
  }

  read(version: number, place: number, length: number, again: boolean): MaybePromise<Uint8Array> {
    const slot = slotOfVersion(version);
    const from = inlineFrom(place);
    const kept = again ? undefined : this.#slots?.get(slot);
    if (kept === undefined || from === undefined) return this.#arriving(slot, place, length, again);
    return this.#inline(kept, slot, from, length);
  }

  /** The whole payload of a commit that was handed up with holes. */
  async complete({ version, place }: LedgerCommit): Promise<Uint8Array> {
    const slot = slotOfVersion(version);
    const bytes = await this.#object(slot, false);
    const index = version % SLOT_VERSIONS;
    const commits = this.#commits(slot, bytes);
    if (index >= commits.length || placesOf(slot, commits)[index] !== place) throw this.#missing(slot, place);
    return await this.#within(slot, bytes, commits[index], { offset: 0, length: commits[index].length });
  }

  release(): void {
    this.#slots?.clear();
  }

  async #arriving(slot: number, place: number, length: number, again: boolean): Promise<Uint8Array> {
    const bytes = await this.#object(slot, again);
    const from = inlineFrom(place);
    if (from !== undefined) return this.#inline(bytes, slot, from, length);
    const found = commitAt(this.#commits(slot, bytes), place);
    if (found === undefined) throw this.#missing(slot, place);
    return await this.#within(slot, bytes, found.commit, { offset: found.within, length });
  }

  #inline(bytes: Uint8Array, slot: number, from: number, length: number): Uint8Array {
    if (from + length > bytes.length) throw this.#missing(slot, from);
    return bytes.subarray(from, from + length);
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
    await Promise.all(
      commit.holes.map(async (hole) => {
        const from = Math.max(offset, hole.offset);
        const to = Math.min(offset + length, hole.offset + hole.length);
        if (from >= to) return;
        result.set(await this.#staged(slot, hole, { offset: from - hole.offset, length: to - from }), from - offset);
      }),
    );
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
    const kept = again ? undefined : this.#slots?.get(slot);
    if (kept !== undefined) return kept;
    const read = await readSlot(this.#site, slot);
    if (read.status === "absent") throw await this.#goneOrDamaged(slot, "it is not there");
    this.keep(slot, read.bytes);
    return read.bytes;
  }

  #commits(slot: number, bytes: Uint8Array): readonly ReadCommit[] {
    const { environment, nonce } = this.#site;
    const context = { crc32: environment.crc32, name: slotName(this.#site, slot) };
    return decodeSlot(bytes, { nonce, slot }, context).commits;
  }

  /** What is not there was deleted, if the root, asked now, says that it may be. */
  async #goneOrDamaged(slot: number, why: string): Promise<KVError> {
    const standing = await this.#confirmation.ask(slot);
    if (standing === "final") return damagedSlot(slotName(this.#site, slot), slot, why);
    this.#gone();
    return new KVError("SnapshotExpired", `${slotName(this.#site, slot)} is no longer kept: this state is too old`);
  }

  #missing(slot: number, place: number): KVError {
    return damagedSlot(slotName(this.#site, slot), slot, `it has no such bytes at ${place}`);
  }
}
