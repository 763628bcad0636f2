import { equalBytes } from "../../core/bytes.ts";
import type { Environment } from "../../core/environment.ts";
import { KVError } from "../../core/errors.ts";
import { ROOT_KEY } from "./layout.ts";
import type { Ambiguous, Conflict, ObjectStore, Told } from "./object-store.ts";
import { decodeRoot, encodeRoot, type Root, WRITE_ID_BYTES } from "./root.ts";
import { readWhole } from "./whole-reads.ts";

/** A root as the store gave it. */
export interface FoundRoot extends Told {
  readonly status: "found";
  readonly root: Root;
  readonly writeId: Uint8Array;
  /** What a replace of exactly this root carries. */
  readonly etag: string;
}

/** `failed`: the store did not tell. */
export type RootAnswer =
  FoundRoot | (Told & { readonly status: "absent" }) | (Told & { readonly status: "failed"; readonly error: KVError });

/**
 * `changed`: somebody else's root is in place, perhaps upon one's own: `found` is the newest. `denied`: the credential may not replace it.
 * `failed`: what became of it is not known, and it may still come to pass; as it names the root that it replaces, it never undoes anything.
 */
export type RootReplaceAnswer =
  | { readonly status: "replaced"; readonly found: FoundRoot }
  | { readonly status: "changed"; readonly found: FoundRoot }
  | { readonly status: "absent" }
  | { readonly status: "denied" }
  | { readonly status: "failed"; readonly error: KVError };

/** How often the same replace is sent while the root stays what it was. */
const SENDS_MAX = 3;

/** Reads, creates and replaces the one object that changes. */
export class RootObject {
  readonly #store: ObjectStore;
  readonly #environment: Environment;

  /** `store`: reads through it may be repeated (`retryReads`), writes must not be. */
  constructor(store: ObjectStore, environment: Environment) {
    this.#store = store;
    this.#environment = environment;
  }

  /** Throws what `decodeRoot` throws: a root that is there and cannot be used. */
  read(): Promise<RootAnswer> {
    return readWhole(this.#store, this.#environment, () => this.#readOnce());
  }

  /** That of a ledger that was there. Throws what keeps it from being read, and `LedgerMissing`. */
  async present(): Promise<FoundRoot> {
    const answer = await this.read();
    if (answer.status === "found") return answer;
    if (answer.status === "failed") throw answer.error;
    throw new KVError("LedgerMissing", `The root of ${this.#store.name} is gone: the ledger was deleted`);
  }

  async #readOnce(): Promise<RootAnswer> {
    const answer = await this.#store.get(ROOT_KEY);
    const { time } = answer;
    if (answer.status === "absent") return { status: "absent", time };
    if (answer.status === "beyond") return { status: "failed", time, error: this.#inconsistent() };
    if (answer.status !== "found") return { status: "failed", time, error: answer.error };
    const { bytes, size, etag } = answer;
    if (bytes.length !== size) {
      const message = `Only ${bytes.length} of ${size} bytes of the root of ${this.#store.name} arrived`;
      return { status: "failed", time, error: new KVError("InputOutput", message) };
    }
    const decoded = decodeRoot(bytes, this.#environment.crc32, this.#store.name);
    return { status: "found", ...decoded, etag, time };
  }

  /** Writes the first root of a ledger. `exists`: there is one already, to be read. */
  async create(
    root: Root,
  ): Promise<{ readonly status: "created" | "exists" } | { readonly status: "failed"; readonly error: KVError }> {
    const writeId = this.#environment.randomBytes(WRITE_ID_BYTES);
    const bytes = encodeRoot({ root, writeId }, this.#environment.crc32);
    let error: KVError | undefined;
    for (let sent = 0; sent < SENDS_MAX; sent++) {
      const answer = await this.#store.create(ROOT_KEY, bytes);
      if (answer.status === "created") return { status: "created" };
      if (answer.status === "denied" || answer.status === "refused") return { status: "failed", error: answer.error };
      const now = await this.read();
      if (now.status === "found") return { status: equalBytes(now.writeId, writeId) ? "created" : "exists" };
      if (now.status === "failed") return { status: "failed", error: now.error };
      error = answer.status === "exists" ? undefined : notDone(answer, this.#store.name);
      // What may still arrive is not sent again: the same ledger could come to be twice, one after the other.
      if (answer.status === "ambiguous") break;
    }
    return { status: "failed", error: error ?? this.#inconsistent() };
  }

  /** Puts `next` in the place of exactly the root that was `found`. Whatever the store says but "done": the root itself decides. */
  async replace(found: FoundRoot, next: Root): Promise<RootReplaceAnswer> {
    const writeId = this.#environment.randomBytes(WRITE_ID_BYTES);
    const bytes = encodeRoot({ root: next, writeId }, this.#environment.crc32);
    let error: KVError | undefined;
    for (let sent = 0; sent < SENDS_MAX; sent++) {
      const answer = await this.#store.replace(ROOT_KEY, bytes, found.etag);
      if (answer.status === "replaced" && answer.etag !== undefined) {
        // The answer's time may be that at which the request came, when this root was not in force yet.
        const own: FoundRoot = { status: "found", root: next, writeId, etag: answer.etag, time: undefined };
        return { status: "replaced", found: own };
      }
      const now = await this.read();
      if (now.status === "absent") return { status: "absent" };
      if (now.status === "failed") return { status: "failed", error: now.error };
      if (equalBytes(now.writeId, writeId)) return { status: "replaced", found: now };
      // No write of a root is like another: what was not there as the bytes were sent cannot come back.
      if (!equalBytes(now.writeId, found.writeId)) return { status: "changed", found: now };
      if (answer.status === "denied") return { status: "denied" };
      if (answer.status === "refused") return { status: "failed", error: answer.error };
      error =
        answer.status === "replaced" || answer.status === "changed" ? undefined : notDone(answer, this.#store.name);
    }
    return { status: "failed", error: error ?? this.#inconsistent() };
  }

  #inconsistent(): KVError {
    return new KVError("StoreInconsistent", `${this.#store.name} contradicts itself about the root`);
  }
}

function notDone(answer: Conflict | Ambiguous, name: string): KVError {
  if (answer.status === "ambiguous") return answer.error;
  return new KVError("InputOutput", `${name} lets nobody write the root`);
}
