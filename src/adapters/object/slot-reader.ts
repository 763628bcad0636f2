import { slotKey } from "./layout.ts";
import { KVError } from "../../core/errors.ts";
import type { Told } from "./object-store.ts";
import type { Site } from "./site.ts";
import { decodeSlot, type Slot } from "./slot.ts";
import { readWhole } from "./whole-reads.ts";

/** A slot as it was read. */
export interface ReadSlot extends Told {
  readonly status: "found";
  readonly slot: Slot;
  /** The whole object. */
  readonly bytes: Uint8Array;
  readonly hash: Uint8Array;
  readonly lastModified: number | undefined;
}

export type SlotAnswer = ReadSlot | (Told & { readonly status: "absent" });

/**
 * Reads one slot. Throws what keeps it from being read; `LedgerDamaged`, which names it, if its bytes are wrong a second time; `AccessDenied` if the
 * credential may not read it.
 */
export async function readSlot(site: Site, slot: number): Promise<SlotAnswer> {
  const { store, environment, nonce } = site;
  const key = slotKey(nonce, slot);
  const name = slotName(site, slot);
  return await readWhole(store, environment, async () => {
    const answer = await store.get(key);
    const { time } = answer;
    if (answer.status === "absent") return { status: "absent", time };
    if (answer.status === "beyond") throw new KVError("StoreInconsistent", `${store.name} has no bytes of ${name}`);
    if (answer.status !== "found") throw answer.error;
    const { bytes, lastModified } = answer;
    const decoded = decodeSlot(bytes, { nonce, slot }, { crc32: environment.crc32, name });
    return { status: "found", slot: decoded, bytes, hash: await environment.sha256(bytes), lastModified, time };
  });
}

/** A slot in messages: somebody may have to look for it in the bucket. */
export function slotName({ name, nonce }: Pick<Site, "name" | "nonce">, slot: number): string {
  return `${slotKey(nonce, slot)} of ${name}`;
}
