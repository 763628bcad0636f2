import type { Environment } from "../../core/environment.ts";
import { KVError } from "../../core/errors.ts";
import type { GetAnswer, ObjectStore, StoreRequest } from "./object-store.ts";
import { pause } from "./site.ts";
import { layeredStore, type StoreAnswer } from "./store-layer.ts";

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

  return layeredStore(store, async (ask, request) => {
    for (let tries = 1; ; tries++) {
      const answer = whole(await ask(), request, store.name);
      const isWrite = request.kind === "create" || request.kind === "replace";
      if (isWrite || answer.status !== "unavailable" || tries >= triesMax) return answer;
      await pause(environment, waitMs * 2 ** (tries - 1) * (0.5 + environment.random()));
    }
  });
}

/** Half of an object may arrive, and look like all of it. */
function whole<A extends StoreAnswer>(answer: A, { keys, range }: StoreRequest, name: string): A {
  if (answer.status !== "found") return answer;
  const { bytes, size, time } = answer;
  const expected = range === undefined ? size : Math.min(range.length, size - range.from);
  if (bytes.length === expected) return answer;
  const message = `${bytes.length} of ${expected} bytes of ${keys[0]} in ${name} have arrived`;
  // More than that is no accident.
  const isTooMuch = bytes.length > expected;
  const failed: GetAnswer = isTooMuch
    ? { status: "refused", error: new KVError("StoreUnsuitable", message), time }
    : { status: "unavailable", error: new KVError("InputOutput", message), time };
  // What is found is the answer to a `get`.
  return failed as A;
}
