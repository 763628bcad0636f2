import type { Place, Version } from "../../core/ledger.ts";
import { SLOT_VERSIONS } from "./layout.ts";
import type { ReadCommit } from "./slot.ts";

/**
 * Versions and places of what lies in slots. A version is slot x 65,536 + place in the batch. The place of a payload says where its bytes begin in the
 * slot's object; one with staged values, whose bytes do not lie side by side, has addresses behind all those that an object can have.
 *
 * The slot is a part of a place only so that the places of different values differ; what slot it is, the version tells.
 */

/** Addresses of one slot. */
const SLOT_PLACES = 2 ** 29;
/** More bytes than a slot's object can have. */
const VIRTUAL_FROM = 2 ** 24;
const SLOTS = 2 ** 24;

export const versionOf = (slot: number, index: number): Version => slot * SLOT_VERSIONS + index;
export const slotOfVersion = (version: Version): number => Math.floor(version / SLOT_VERSIONS);

/** Bytes of payloads that one slot has addresses for. */
export const SLOT_PAYLOAD_BYTES_MAX: number = SLOT_PLACES - VIRTUAL_FROM;

/** The places of the commits of a slot, in order. */
export function placesOf(
  slot: number,
  commits: readonly Pick<ReadCommit, "from" | "length" | "holes">[],
): readonly Place[] {
  const base = (slot % SLOTS) * SLOT_PLACES;
  let virtual = VIRTUAL_FROM;
  return commits.map(({ from, length, holes }) => {
    if (holes.length === 0) return base + from;
    const place = base + virtual;
    virtual += length;
    return place;
  });
}

/** Where bytes at a place lie in the slot's object; undefined where a commit with staged values has them. */
export function inlineFrom(place: Place): number | undefined {
  const within = place % SLOT_PLACES;
  return within < VIRTUAL_FROM ? within : undefined;
}

/** The commit with staged values whose payload holds the bytes at a place, and where in it. */
export function commitAt(
  commits: readonly ReadCommit[],
  place: Place,
): { readonly commit: ReadCommit; readonly within: number } | undefined {
  const offset = (place % SLOT_PLACES) - VIRTUAL_FROM;
  let from = 0;
  for (const commit of commits) {
    if (commit.holes.length === 0) continue;
    if (offset < from + commit.length) return { commit, within: offset - from };
    from += commit.length;
  }
  return undefined;
}
