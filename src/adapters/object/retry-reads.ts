import type { Environment } from "../../core/environment.ts";
import { KVError } from "../../core/errors.ts";
import type { ByteRange, GetAnswer, ObjectStore, Told } from "./object-store.ts";

export interface RetryReadsOptions {
  readonly environment: Environment;
  /** Requests for one call, at most. Default 4. */
  readonly triesMax?: number;
  /** The first wait, on average; each further one is twice as long. Default 50. */
  readonly waitMs?: number;
}

/**
 * Repeats what harms nobody when it is repeated: `get`, `list` and `delete`, while the store is unavailable, with waits in between. The last
 * answer is handed up. An answer with fewer bytes than it says is none, and one with more of no use. Writes go through as they are.
 */
export function retryReads(store: ObjectStore, options: RetryReadsOptions): ObjectStore {
  const { environment, triesMax = 4, waitMs = 50 } = options;

  const repeat = async <A extends Told & { readonly status: string }>(ask: () => Promise<A>): Promise<A> => {
    for (let tries = 1; ; tries++) {
      const answer = await ask();
      if (answer.status !== "unavailable" || tries >= triesMax) return answer;
      const ms = waitMs * 2 ** (tries - 1) * (0.5 + environment.random());
      await new Promise<void>((resolve) => environment.setTimer(resolve, ms, { ref: true }));
    }
  };

  return {
    name: store.name,
    capabilities: store.capabilities,
    get: (key, range) => repeat(async () => whole(await store.get(key, range), { key, range, name: store.name })),
    create: (key, bytes) => store.create(key, bytes),
    replace: (key, bytes, etag) => store.replace(key, bytes, etag),
    list: (prefix, listOptions) => repeat(() => store.list(prefix, listOptions)),
    delete: (keys) => repeat(() => store.delete(keys)),
  };
}

/** Half of an object may arrive, and look like all of it. */
function whole(
  answer: GetAnswer,
  asked: { readonly key: string; readonly range: ByteRange | undefined; readonly name: string },
): GetAnswer {
  if (answer.status !== "found") return answer;
  const { bytes, size, time } = answer;
  const { key, range, name } = asked;
  const expected = range === undefined ? size : Math.min(range.length, size - range.from);
  if (bytes.length === expected) return answer;
  const message = `${bytes.length} of ${expected} bytes of ${key} in ${name} have arrived`;
  // More than that is no accident.
  if (bytes.length > expected) return { status: "refused", error: new KVError("StoreUnsuitable", message), time };
  return { status: "unavailable", error: new KVError("InputOutput", message), time };
}
