import type { Bucket, CreatedSlot } from "./bucket.ts";
import { SLOT_VERSIONS, type SlotCommit } from "./bucket-slot.ts";
import { Model } from "./model.ts";

/** What every replica must make of all slots that were ever created, whatever garbage collection has left of them. */
export class BucketModel extends Model {
  override readonly authorsResolve = true;

  /** `floors`: the slots with which a history may begin. */
  constructor(bucket: Bucket, slots: readonly CreatedSlot[], floors: Iterable<number>) {
    super([]);
    this.bases.push(...[...floors].map((slot) => slot * SLOT_VERSIONS));
    for (const { nonce, slot, decoded } of slots) {
      for (const [place, commit] of decoded.commits.entries()) {
        this.add({
          address: slot * SLOT_VERSIONS + place,
          writer: decoded.author,
          counter: commit.counter,
          timestamp: commit.timestamp,
          payload: payloadOf(commit, (name) => bucket.staged(nonce, name)),
        });
      }
    }
    const asked = this.commits.find(({ verdict }) => verdict !== "applied");
    if (asked !== undefined) this.bad.push(`the commit at ${asked.version} was written though it is void`);
  }
}

function payloadOf({ inline, holes }: SlotCommit, staged: (name: string) => Buffer | undefined): Buffer {
  const parts: Buffer[] = [];
  let at = 0;
  let end = 0;
  for (const hole of holes) {
    const value = staged(hole.name);
    if (value?.length !== hole.length) throw new Error(`${hole.name} is not what was referred to`);
    parts.push(inline.subarray(at, (at += hole.offset - end)), value);
    end = hole.offset + hole.length;
  }
  return Buffer.concat([...parts, inline.subarray(at)]);
}
