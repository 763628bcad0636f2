import { equalBytes } from "../../core/bytes.ts";
import { KVError } from "../../core/errors.ts";
import { slotKey } from "./layout.ts";
import type { CreateAnswer } from "./object-store.ts";
import type { Batch } from "./settle.ts";
import type { Site } from "./site.ts";

/**
 * Writes a slot on a store that overwrites whatever is there. There may be one writer, who looks before each write whether it still is the only one, and
 * afterwards whether its bytes are there. A second one is found out then; what the two have written meanwhile may be lost.
 */
export async function createAlone(
  site: Site,
  batch: Batch,
  context: {
    /** The slot before, which is one's own or was read. */
    readonly before: { readonly slot: number; readonly hash: Uint8Array } | undefined;
    /** An earlier attempt may have written these bytes. */
    readonly mayBeWritten: boolean;
  },
): Promise<CreateAnswer> {
  const { store, nonce, name, environment } = site;
  const { before, mayBeWritten } = context;
  if (before !== undefined) {
    const own = await store.get(slotKey(nonce, before.slot));
    if (own.status === "unavailable") return { status: "conflict", time: own.time };
    if (own.status === "denied" || own.status === "refused") return own;
    const isOwn = own.status === "found" && equalBytes(await environment.sha256(own.bytes), before.hash);
    if (!isOwn) throw second(name, before.slot, mayBeWritten);
  }
  const key = slotKey(nonce, batch.slot);
  const there = await store.get(key);
  if (there.status === "unavailable") return { status: "conflict", time: there.time };
  // Whether there is anything is not known: this store would write over it.
  if (there.status === "denied" || there.status === "refused") return there;
  if (there.status === "found") {
    if (!equalBytes(there.bytes, batch.bytes)) throw second(name, batch.slot, mayBeWritten);
    return { status: "created", etag: there.etag, time: there.time };
  }
  const answer = await store.create(key, batch.bytes);
  if (answer.status !== "created") return answer;
  const after = await store.get(key);
  if (after.status === "found" && equalBytes(after.bytes, batch.bytes)) return { ...answer, time: after.time };
  if ("error" in after) return { status: "ambiguous", error: after.error, time: after.time };
  throw second(name, batch.slot, true);
}

function second(name: string, slot: number, mayBeWritten: boolean): KVError {
  return new KVError("SecondWriterDetected", `Somebody else has written slot ${slot} of ${name}`, {
    outcome: mayBeWritten ? "unknown" : "not committed",
  });
}
