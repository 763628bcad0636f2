import type { ObjectStore, StoreRequest, Told } from "./object-store.ts";

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

  const count = async <A extends Told & { readonly status: string }>(
    request: StoreRequest,
    ask: () => Promise<A>,
  ): Promise<A> => {
    requests[request.kind]++;
    bytesSent += request.bytes?.length ?? 0;
    const answer = await ask();
    if (FAILURES.has(answer.status)) failures[request.kind]++;
    observe(request, answer.status);
    return answer;
  };

  return {
    name: store.name,
    capabilities: store.capabilities,
    counts: () => ({ requests: { ...requests }, failures: { ...failures }, bytesSent, bytesReceived }),
    get: async (key, range) => {
      const answer = await count({ kind: "get", keys: [key], range }, () => store.get(key, range));
      if (answer.status === "found") bytesReceived += answer.bytes.length;
      return answer;
    },
    create: (key, bytes) => count({ kind: "create", keys: [key], bytes }, () => store.create(key, bytes)),
    replace: (key, bytes, etag) =>
      count({ kind: "replace", keys: [key], bytes }, () => store.replace(key, bytes, etag)),
    list: (prefix, options) => count({ kind: "list", keys: [prefix] }, () => store.list(prefix, options)),
    delete: (keys) => count({ kind: "delete", keys }, () => store.delete(keys)),
  };
}
