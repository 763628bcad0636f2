import type { ObjectStore, StoreRequest } from "./object-store.ts";
import { layeredStore } from "./store-layer.ts";

/** What was asked of a store so far. */
export interface StoreCounts {
  /** Requests of each kind, whatever came of them. */
  readonly requests: Readonly<Record<StoreRequest["kind"], number>>;
  /** Requests of each kind that the store gave no good answer to: unavailable, ambiguous, denied, refused. */
  readonly failures: Readonly<Record<StoreRequest["kind"], number>>;
  /** Bytes of objects that were sent, also in vain, and that were read. */
  readonly bytesSent: number;
  readonly bytesReceived: number;
}

export interface CountingStore extends ObjectStore {
  /** The figures of now. Later requests do not change what was handed out. */
  counts(): StoreCounts;
}

const NONE: StoreCounts["requests"] = { get: 0, create: 0, replace: 0, list: 0, delete: 0 };
const FAILURES: ReadonlySet<string> = new Set(["unavailable", "ambiguous", "denied", "refused"]);

/**
 * Counts what goes through to a store. As one call is one request, these are the requests that somebody is billed for, if it lies right on the
 * store, below whatever repeats. `observe` is told of every answer.
 */
export function countingStore(
  store: ObjectStore,
  observe: (request: StoreRequest, status: string) => void = () => undefined,
): CountingStore {
  const requests = { ...NONE };
  const failures = { ...NONE };
  let bytesSent = 0;
  let bytesReceived = 0;

  const counted = layeredStore(store, async (ask, request) => {
    requests[request.kind]++;
    bytesSent += request.bytes?.length ?? 0;
    const answer = await ask();
    if (FAILURES.has(answer.status)) failures[request.kind]++;
    if (answer.status === "found") bytesReceived += answer.bytes.length;
    observe(request, answer.status);
    return answer;
  });

  return {
    ...counted,
    counts: () => ({ requests: { ...requests }, failures: { ...failures }, bytesSent, bytesReceived }),
  };
}
