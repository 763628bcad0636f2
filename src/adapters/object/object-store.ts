import { InvalidArgumentError, type KVError } from "../../core/errors.ts";

/**
 * A place that keeps objects under names: what an object ledger needs of S3, R2 and their like, and no more.
 *
 * Every call makes one request, never two: nothing is repeated by the store or below it, since a repeated write would be told that its own first
 * try is in the way. Who wants a read repeated puts `retryReads` on top. A call rejects only for what its caller did wrong
 * (`InvalidArgumentError`); whatever the store or the network did is an answer, and the answers are plain data.
 *
 * Duties of an implementor:
 * - `create` and `replace` are decided by the store itself, atomically, also against racing requests of others, where `capabilities` says so;
 * - a `get` or `list` sees every write that was answered before it was asked, whoever wrote and whoever asks;
 * - a write whose fate is not certain is `ambiguous`, and never anything else;
 * - no answer comes from a cache: requests say `no-store`, and one that carries a nonzero `Age` is refused as `StoreInconsistent`;
 * - `bytes` that are handed down stay the caller's and are not changed; the caller leaves them as they are until the promise has settled.
 *   `bytes` that are handed up are the caller's.
 */
export interface ObjectStore {
  /** What the store is called in messages. Never holds a secret. */
  readonly name: string;
  /** What it is able to. */
  readonly capabilities: StoreCapabilities;
  /** Reads an object, or the part of it that lies in `range`. */
  get(key: string, range?: ByteRange): Promise<GetAnswer>;
  /** Writes an object only if there is none. Without the capability it writes whatever is there. */
  create(key: string, bytes: Uint8Array): Promise<CreateAnswer>;
  /** Writes an object only if the present one has this etag. Without the capability it writes whatever is there. */
  replace(key: string, bytes: Uint8Array, etag: string): Promise<ReplaceAnswer>;
  /** One page of the objects whose keys begin with `prefix`, in the order of their UTF-8 bytes. */
  list(prefix: string, options?: ListOptions): Promise<ListAnswer>;
  /** Deletes up to `capabilities.deleteKeysMax` objects. One that is not there counts as deleted. */
  delete(keys: readonly string[]): Promise<DeleteAnswer>;
}

/** What a store declares to be able to. Whether that is true, `probeStore` finds out. */
export interface StoreCapabilities {
  /** `create` has one winner. */
  readonly create: boolean;
  /** `replace` compares and swaps. */
  readonly replace: boolean;
  /** Answers carry the store's time. One that does not, nevertheless, is to be taken as told by a store without time. */
  readonly time: boolean;
  /** How many requests at once are of use. */
  readonly parallel: number;
  /** How many keys one `delete` takes. */
  readonly deleteKeysMax: number;
}

/** A part of an object, in bytes from its beginning. What lies beyond its end is left out. */
export interface ByteRange {
  /** From 0. */
  readonly from: number;
  /** At least 1. */
  readonly length: number;
}

/** Which part of a list. */
export interface ListOptions {
  /** Only keys behind this one. It need not exist. */
  readonly after?: string;
  /** At most so many objects, from 1 to 1,000. Default 1,000. */
  readonly limit?: number;
}

/** What every answer may tell. */
export interface Told {
  /**
   * The store's clock when it answered, in ms since the epoch, often in whole seconds: an HTTP answer's `Date`. Undefined if the store did not
   * tell, or did not answer at all.
   */
  readonly time: number | undefined;
}

/** The store could not be asked, or did not answer well: no route, a timeout, a cut connection, half a body, 5xx, too many requests. Asking again may help. */
export interface Unavailable extends Told {
  readonly status: "unavailable";
  /** What happened. */
  readonly error: KVError;
}

/** Whether the write landed, or is going to, is not certain. Only reading the object decides. */
export interface Ambiguous extends Told {
  readonly status: "ambiguous";
  /** What kept it from being known. */
  readonly error: KVError;
}

/** The credential does not allow it (401, 403). Nothing was done. `error` is `AccessDenied`. */
export interface Denied extends Told {
  readonly status: "denied";
  /** `AccessDenied`. */
  readonly error: KVError;
}

/**
 * The store does not do such a thing, and asking again changes nothing. Nothing was done. `error` tells why: `LedgerMissing` (no such bucket),
 * `InvalidOption` (a wrong region or name), `StoreUnsuitable` (no conditional writes), `StoreInconsistent` (an answer from a cache), `InputOutput`.
 */
export interface Refused extends Told {
  readonly status: "refused";
  /** Why, and what to do. */
  readonly error: KVError;
}

/** The object is there. */
export interface Found extends Told {
  readonly status: "found";
  /** The object, or what lies of it in the range that was asked for. */
  readonly bytes: Uint8Array;
  /** Of the whole object. */
  readonly size: number;
  /** For `replace`. Equal contents may have equal etags, also with others in between. */
  readonly etag: string;
  /** When it was written, in ms since the epoch, by the store's clock; undefined if it does not tell. */
  readonly lastModified: number | undefined;
}

/** There is no such object. */
export interface Absent extends Told {
  readonly status: "absent";
}

/** The range begins at or behind the end of the object. */
export interface Beyond extends Told {
  readonly status: "beyond";
}

/** It was written. */
export interface Created extends Told {
  readonly status: "created";
  /** Of what was written; undefined if the store does not tell. */
  readonly etag: string | undefined;
}

/** There is an object. Whose, is not certain: below an HTTP client somebody may have sent the same request twice. */
export interface Exists extends Told {
  readonly status: "exists";
}

/** It was written. */
export interface Replaced extends Told {
  readonly status: "replaced";
  /** Of what was written; undefined if the store does not tell. */
  readonly etag: string | undefined;
}

/** The present object has another etag, or there is none. It may be one's own all the same, as with `Exists`. */
export interface Changed extends Told {
  readonly status: "changed";
}

/** Others were writing the same object, or did so too often. This request wrote nothing. */
export interface Conflict extends Told {
  readonly status: "conflict";
}

/** A page. */
export interface Listed extends Told {
  readonly status: "listed";
  /** In the order of the UTF-8 bytes of their keys. */
  readonly objects: readonly ListedObject[];
  /** There is more behind the last one. Never true when there are no objects. */
  readonly more: boolean;
}

/** What a list tells of an object. */
export interface ListedObject {
  /** Within the store. */
  readonly key: string;
  /** In bytes. */
  readonly size: number;
  /** When it was written, in ms since the epoch, by the store's clock; undefined if it does not tell. */
  readonly lastModified: number | undefined;
}

/** None of the objects is there any more. */
export interface Deleted extends Told {
  readonly status: "deleted";
}

/** What a `get` comes to. */
export type GetAnswer = Found | Absent | Beyond | Unavailable | Denied | Refused;
/** What a `create` comes to. */
export type CreateAnswer = Created | Exists | Conflict | Ambiguous | Denied | Refused;
/** What a `replace` comes to. */
export type ReplaceAnswer = Replaced | Changed | Conflict | Ambiguous | Denied | Refused;
/** What a `list` comes to. */
export type ListAnswer = Listed | Unavailable | Denied | Refused;
/** After anything but `Deleted` some of the objects may be gone. Deleting again is harmless. */
export type DeleteAnswer = Deleted | Unavailable | Denied | Refused;

/** One request to a store, as layers around a store see it. */
export interface StoreRequest {
  /** Which call. */
  readonly kind: "get" | "create" | "replace" | "list" | "delete";
  /** One key, several of a `delete`, the prefix of a `list`. */
  readonly keys: readonly string[];
  /** Of a `get` of a part. */
  readonly range?: ByteRange | undefined;
  /** What is to be written. */
  readonly bytes?: Uint8Array;
}

export const LIST_LIMIT_MAX = 1000;

/** Refuses a range that no store can be asked for. */
export function assertRange(range: ByteRange): void {
  const { from, length } = range;
  if (Number.isSafeInteger(from) && Number.isSafeInteger(length) && from >= 0 && length >= 1) return;
  throw new InvalidArgumentError("InvalidArgument", `A range of ${length} bytes from ${from} on cannot be read`);
}

/** Refuses a number of keys that one `delete` does not take. */
export function assertKeys(keys: readonly string[], capabilities: StoreCapabilities): void {
  if (keys.length >= 1 && keys.length <= capabilities.deleteKeysMax) return;
  const limit = capabilities.deleteKeysMax;
  throw new InvalidArgumentError("InvalidArgument", `A delete takes from 1 to ${limit} keys, not ${keys.length}`);
}

/** How many objects a list is to give at most. */
export function listLimit(options: ListOptions): number {
  const limit = options.limit ?? LIST_LIMIT_MAX;
  if (Number.isSafeInteger(limit) && limit >= 1 && limit <= LIST_LIMIT_MAX) return limit;
  throw new InvalidArgumentError("InvalidArgument", `A list gives from 1 to ${LIST_LIMIT_MAX} objects, not ${limit}`);
}
