import { KVError, type KVErrorCode } from "../../core/errors.ts";
import { knownOptions, wrongOption } from "../../core/given-options.ts";
import { Deadline, DeadlinePassed } from "../object/deadline.ts";
import { fullKey, fullPrefix, parsePrefix } from "../object/names.ts";
import {
  assertKeys,
  assertRange,
  type ByteRange,
  type CreateAnswer,
  type DeleteAnswer,
  type GetAnswer,
  type ListAnswer,
  LIST_LIMIT_MAX,
  listLimit,
  type ListOptions,
  type ObjectStore,
  type ReplaceAnswer,
  type StoreCapabilities,
} from "../object/object-store.ts";
import { parseParallel, parseRequestTimeout } from "../object/store-options.ts";
import type { R2BucketBinding } from "./bucket.ts";

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
const UNAUTHORIZED = [10002, 10003, 10018, 10035, 10042];
const NO_SUCH_BUCKET = 10006;
const RANGE = 10039;
const TOO_OFTEN = 10058;

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
      const failure = this.#failure(error, `get ${key}`, "unavailable");
      const mayBeBeyond = range !== undefined && failure.status === "unavailable";
      if (!mayBeBeyond || !(await this.#isBeyond(error, full, range.from))) return failure;
      return { status: "beyond", time: undefined };
    } finally {
      deadline.clear();
    }
  }

  /**
   * Whether a read failed because its range begins behind the end. Of one that begins right at the end the binding says nothing but that it failed,
   * so that the size has to be asked for: the one call that may make two requests.
   */
  async #isBeyond(error: unknown, full: string, from: number): Promise<boolean> {
    if (codeOf(error) === RANGE) return true;
    if (error instanceof DeadlinePassed) return false;
    try {
      const head = await this.#inTime(() => this.#bucket.head(full), 0);
      return head !== null && from >= head.size;
    } catch {
      // The first failure is the one to tell.
      return false;
    }
  }

  create(key: string, bytes: Uint8Array): Promise<CreateAnswer> {
    return this.#put(key, bytes, { condition: { "if-none-match": "*" }, done: "created", refused: "exists" });
  }

  replace(key: string, bytes: Uint8Array, etag: string): Promise<ReplaceAnswer> {
    return this.#put(key, bytes, { condition: { "if-match": etag }, done: "replaced", refused: "changed" });
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
      return this.#failure(error, `list ${prefix}`, "unavailable");
    }
  }

  async delete(keys: readonly string[]): Promise<DeleteAnswer> {
    assertKeys(keys, this.capabilities);
    const full = keys.map((key) => fullKey(this.#prefix, key));
    try {
      await this.#inTime(() => this.#bucket.delete(full), 0);
      return { status: "deleted", time: undefined };
    } catch (error) {
      return this.#failure(error, `delete ${keys[0]}`, "unavailable");
    }
  }

  /** `done`: what is answered if the condition holds, and `refused` if it does not. */
  async #put<Done extends string, No extends string>(
    key: string,
    bytes: Uint8Array,
    {
      condition,
      done,
      refused,
    }: { readonly condition: Record<string, string>; readonly done: Done; readonly refused: No },
  ): Promise<PutAnswer<Done, No> | Failure<"ambiguous">> {
    const full = fullKey(this.#prefix, key);
    const options = { onlyIf: new Headers(condition), httpMetadata: { cacheControl: "no-store" } };
    try {
      const object = await this.#inTime(() => this.#bucket.put(full, bytes, options), bytes.length);
      if (object === null) return { status: refused, time: undefined };
      return { status: done, etag: object.httpEtag, time: undefined };
    } catch (error) {
      if (codeOf(error) === TOO_OFTEN) return { status: "conflict", time: undefined };
      return this.#failure(error, `put ${key}`, "ambiguous");
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

  /** What an error says; `otherwise` where that is nothing for certain. */
  #failure<Otherwise extends "unavailable" | "ambiguous">(
    cause: unknown,
    what: string,
    otherwise: Otherwise,
  ): Failure<Otherwise> {
    const number = codeOf(cause);
    const reason = cause instanceof Error ? cause.message : String(cause);
    const failed = <Status extends string>(status: Status, code: KVErrorCode): Failed<Status> => {
      const error = new KVError(code, `${what} in ${this.name} failed: ${reason}`, { cause });
      return { status, error, time: undefined };
    };
    if (UNAUTHORIZED.includes(number)) return failed("denied", "AccessDenied");
    return number === NO_SUCH_BUCKET ? failed("refused", "LedgerMissing") : failed(otherwise, "InputOutput");
  }
}

interface Failed<Status extends string> {
  readonly status: Status;
  readonly error: KVError;
  readonly time: undefined;
}

type Failure<Otherwise extends string> = Failed<"denied"> | Failed<"refused"> | Failed<Otherwise>;

type PutAnswer<Done extends string, No extends string> =
  | { readonly status: Done; readonly etag: string; readonly time: undefined }
  | { readonly status: No | "conflict"; readonly time: undefined };

function codeOf(error: unknown): number {
  return Number(/\((\d+)\)$/.exec(error instanceof Error ? error.message : "")?.[1]);
}
