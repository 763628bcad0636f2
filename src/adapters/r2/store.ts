import { KVError } from "../../core/errors.ts";
import { knownOptions, wrongOption } from "../../core/given-options.ts";
import { Deadline, DeadlinePassed } from "../object/deadline.ts";
import { fullKey, fullPrefix, parsePrefix } from "../object/names.ts";
import {
  type Ambiguous,
  assertKeys,
  assertRange,
  type ByteRange,
  type Conflict,
  type CreateAnswer,
  type DeleteAnswer,
  type Denied,
  type GetAnswer,
  type ListAnswer,
  LIST_LIMIT_MAX,
  listLimit,
  type ListOptions,
  type ObjectStore,
  type Refused,
  type ReplaceAnswer,
  type StoreCapabilities,
  type Unavailable,
} from "../object/object-store.ts";
import { parseParallel, parseRequestTimeout } from "../object/store-options.ts";
import type { R2BucketBinding, R2ObjectHead } from "./bucket.ts";

/** The bucket, and where in it. */
export interface R2StoreOptions {
  /** The binding, as `env` has it. */
  readonly bucket: R2BucketBinding;
  /** The folder of the database in the bucket: segments of letters, digits, `_`, `.` and `-` with `/` between them, at most 512 bytes. */
  readonly prefix: string;
  /** How long a request may take, in ms, without the time for its bytes at 2 Mbit/s. Default 10,000. */
  readonly requestTimeoutMs?: number | undefined;
  /** How many requests at once are of use. Default 6, the number of connections that a Worker has. */
  readonly parallel?: number | undefined;
}

/**
 * A folder of an R2 bucket behind the binding of a Worker. It tells no time. Asks nothing yet.
 *
 * @throws InvalidArgumentError `InvalidOption`.
 */
export function r2Store(options: R2StoreOptions): ObjectStore {
  return makeR2Store(options, "r2Store");
}

/** The same, for a call that is called otherwise. */
export function makeR2Store(given: unknown, context: string): ObjectStore {
  const options = knownOptions(given, ["bucket", "prefix", "requestTimeoutMs", "parallel"], context);
  const bucket = options.bucket as Partial<R2BucketBinding> | undefined | null;
  // A KV namespace has `get` and `put` too.
  if (typeof bucket?.head !== "function" || typeof bucket.put !== "function") {
    throw wrongOption(context, "bucket", "the binding of an R2 bucket", bucket);
  }
  return new R2Store({
    bucket: bucket as R2BucketBinding,
    prefix: parsePrefix(options.prefix, context),
    requestTimeoutMs: parseRequestTimeout(options.requestTimeoutMs, context),
    parallel: parseParallel(options.parallel, 6, context),
  });
}

/** Numbers at the end of the messages of errors (https://developers.cloudflare.com/r2/api/error-codes/). */
const CODES = {
  unauthorized: new Set([10002, 10003, 10018, 10035, 10042]),
  noSuchBucket: new Set([10006]),
  range: new Set([10039]),
  tooOften: new Set([10058]),
};

/** With the defaults. */
type Given<Options> = { readonly [Name in keyof Options]-?: NonNullable<Options[Name]> };

class R2Store implements ObjectStore {
  readonly name: string;
  readonly capabilities: StoreCapabilities;
  readonly #bucket: R2BucketBinding;
  readonly #prefix: string;
  readonly #requestTimeoutMs: number;

  constructor({ bucket, prefix, requestTimeoutMs, parallel }: Given<R2StoreOptions>) {
    this.name = `r2:${prefix}`;
    this.#bucket = bucket;
    this.#prefix = prefix;
    this.#requestTimeoutMs = requestTimeoutMs;
    this.capabilities = { create: true, replace: true, time: false, parallel, deleteKeysMax: LIST_LIMIT_MAX };
  }

  async get(key: string, range?: ByteRange): Promise<GetAnswer> {
    if (range !== undefined) assertRange(range);
    const full = fullKey(this.#prefix, key);
    const options = range === undefined ? {} : { range: { offset: range.from, length: range.length } };
    const deadline = new Deadline(this.#requestTimeoutMs, 0);
    try {
      const object = await deadline.race(this.#bucket.get(full, options));
      if (object === null) return { status: "absent", time: undefined };
      const from = range?.from ?? 0;
      const expected = Math.min(range?.length ?? Infinity, object.size - from);
      if (range !== undefined && expected <= 0) return { status: "beyond", time: undefined };
      deadline.extend(expected);
      const bytes = new Uint8Array(await deadline.race(object.arrayBuffer()));
      if (bytes.length !== expected) throw new Error(`${bytes.length} bytes of ${expected} have arrived`);
      const { size, httpEtag, uploaded } = object;
      return { status: "found", bytes, size, etag: httpEtag, lastModified: uploaded.getTime(), time: undefined };
    } catch (error) {
      if (range !== undefined && (await this.#isBeyond(error, full, range.from))) {
        return { status: "beyond", time: undefined };
      }
      return this.#readFailure(error, `get ${key}`);
    } finally {
      deadline.clear();
    }
  }

  /**
   * Whether a read failed because its range begins behind the end. Of one that begins right at the end the binding says nothing but that it failed,
   * so that the size has to be asked for: the one call that may make two requests.
   */
  async #isBeyond(error: unknown, full: string, from: number): Promise<boolean> {
    if (CODES.range.has(codeOf(error))) return true;
    if (error instanceof DeadlinePassed || this.#certainFailure(error, "") !== undefined) return false;
    try {
      const head = await this.#inTime(() => this.#bucket.head(full), 0);
      return head !== null && from >= head.size;
    } catch {
      // The first failure is the one to tell.
      return false;
    }
  }

  async create(key: string, bytes: Uint8Array): Promise<CreateAnswer> {
    const answer = await this.#put(key, bytes, { "if-none-match": "*" });
    if (answer === null) return { status: "exists", time: undefined };
    return "httpEtag" in answer ? { status: "created", etag: answer.httpEtag, time: undefined } : answer;
  }

  async replace(key: string, bytes: Uint8Array, etag: string): Promise<ReplaceAnswer> {
    const answer = await this.#put(key, bytes, { "if-match": etag });
    if (answer === null) return { status: "changed", time: undefined };
    return "httpEtag" in answer ? { status: "replaced", etag: answer.httpEtag, time: undefined } : answer;
  }

  async list(prefix: string, options: ListOptions = {}): Promise<ListAnswer> {
    const question = {
      prefix: fullPrefix(this.#prefix, prefix),
      limit: listLimit(options),
      ...(options.after === undefined ? {} : { startAfter: fullPrefix(this.#prefix, options.after) }),
    };
    try {
      const { objects, truncated } = await this.#inTime(() => this.#bucket.list(question), 0);
      const listed = objects.map(({ key, size, uploaded }) => ({
        key: key.slice(this.#prefix.length + 1),
        size,
        lastModified: uploaded.getTime(),
      }));
      return { status: "listed", objects: listed, more: truncated && listed.length > 0, time: undefined };
    } catch (error) {
      return this.#readFailure(error, `list ${prefix}`);
    }
  }

  async delete(keys: readonly string[]): Promise<DeleteAnswer> {
    assertKeys(keys, this.capabilities);
    const full = keys.map((key) => fullKey(this.#prefix, key));
    try {
      await this.#inTime(() => this.#bucket.delete(full), 0);
      return { status: "deleted", time: undefined };
    } catch (error) {
      return this.#readFailure(error, `delete ${keys[0]}`);
    }
  }

  /** Null where the condition does not hold. */
  async #put(
    key: string,
    bytes: Uint8Array,
    condition: Readonly<Record<string, string>>,
  ): Promise<R2ObjectHead | null | Ambiguous | Conflict | Denied | Refused> {
    const full = fullKey(this.#prefix, key);
    const options = { onlyIf: new Headers(condition), httpMetadata: { cacheControl: "no-store" } };
    try {
      return await this.#inTime(() => this.#bucket.put(full, bytes, options), bytes.length);
    } catch (error) {
      if (CODES.tooOften.has(codeOf(error))) return { status: "conflict", time: undefined };
      const failure = this.#certainFailure(error, `put ${key}`);
      return (
        failure ?? { status: "ambiguous", error: this.#error("InputOutput", `put ${key}`, error), time: undefined }
      );
    }
  }

  async #inTime<T>(ask: () => Promise<T>, bytes: number): Promise<T> {
    const deadline = new Deadline(this.#requestTimeoutMs, bytes);
    try {
      return await deadline.race(ask());
    } finally {
      deadline.clear();
    }
  }

  #readFailure(error: unknown, what: string): Unavailable | Denied | Refused {
    const failure = this.#certainFailure(error, what);
    return failure ?? { status: "unavailable", error: this.#error("InputOutput", what, error), time: undefined };
  }

  #certainFailure(error: unknown, what: string): Denied | Refused | undefined {
    const code = codeOf(error);
    if (CODES.unauthorized.has(code)) {
      return { status: "denied", error: this.#error("AccessDenied", what, error), time: undefined };
    }
    if (CODES.noSuchBucket.has(code)) {
      return { status: "refused", error: this.#error("LedgerMissing", what, error), time: undefined };
    }
    return undefined;
  }

  #error(code: "InputOutput" | "AccessDenied" | "LedgerMissing", what: string, cause: unknown): KVError {
    const message = cause instanceof Error ? cause.message : String(cause);
    return new KVError(code, `${what} in ${this.name} failed: ${message}`, { cause });
  }
}

function codeOf(error: unknown): number {
  return Number(/\((\d+)\)$/.exec(error instanceof Error ? error.message : "")?.[1]);
}
