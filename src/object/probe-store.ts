import type { ObjectStore } from "../adapters/object/object-store.ts";
import type { ProbeOptions, ProbeReport } from "../adapters/object/probe.ts";
import { probeStoreIn } from "../adapters/object/probe-store.ts";
import { webEnvironment } from "../platform/environment.ts";

/**
 * Finds out whether a store does what an object ledger with several writers rests on: one winner of racing creates and of racing replaces, no
 * stale replace, no stale read, parts as asked for, and a clear answer for what is not there. What fails on the way is tried again some times. Writes below
 * `probe-<random>/`, and deletes it in the end, as far as it may. With the defaults that takes some 2,400 requests. Rejects for nothing that the store does.
 *
 * @throws InvalidArgumentError `InvalidArgument` for a store that is none, `InvalidOption`.
 */
export async function probeStore(store: ObjectStore, options?: ProbeOptions): Promise<ProbeReport> {
  return probeStoreIn(webEnvironment, store, options);
}
