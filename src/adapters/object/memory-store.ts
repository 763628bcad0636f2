import { knownOptions, wrongOption } from "../../core/given-options.ts";
import {
  assertKeys,
  assertRange,
  LIST_LIMIT_MAX,
  listLimit,
  type ListedObject,
  type ObjectStore,
  type StoreCapabilities,
} from "./object-store.ts";
import { fullKey, fullPrefix } from "./names.ts";

/** What the store is called, and whether it tells time. */
export interface MemoryStoreOptions {
  /** Default "memory". */
  readonly name?: string | undefined;
  /** The store's clock, in ms since the epoch. Without one the store tells no time. */
  readonly now?: (() => number) | undefined;
}

interface StoredObject {
  readonly bytes: Uint8Array;
  readonly etag: string;
  readonly lastModified: number | undefined;
}

const SECOND = 1000;
/** Keys here have no prefix; the rules for names are the same. */
const PREFIX = "memory";

/**
 * The reference: what a store has to do, in the fewest words. It answers at once and never fails. As with HTTP, times are told in whole seconds,
 * and as with S3, equal contents have equal etags.
 *
 * @throws InvalidArgumentError `InvalidOption`.
 */
export function memoryStore(options?: MemoryStoreOptions): ObjectStore {
  const { name, now } = parse(options);
  const objects = new Map<string, StoredObject>();
  const capabilities: StoreCapabilities = {
    create: true,
    replace: true,
    time: now !== undefined,
    parallel: 16,
    deleteKeysMax: LIST_LIMIT_MAX,
  };
  const clock = (): number | undefined => (now === undefined ? undefined : Math.floor(now() / SECOND) * SECOND);

  const put = (key: string, bytes: Uint8Array, time: number | undefined): string => {
    const etag = contentTag(bytes);
    objects.set(key, { bytes: bytes.slice(), etag, lastModified: time });
    return etag;
  };

  return {
    name,
    capabilities,

    async get(key, range) {
      if (range !== undefined) assertRange(range);
      const object = objects.get(fullKey(PREFIX, key));
      const time = clock();
      if (object === undefined) return { status: "absent", time };
      const { bytes, etag, lastModified } = object;
      if (range === undefined) {
        return { status: "found", bytes: bytes.slice(), size: bytes.length, etag, lastModified, time };
      }
      if (range.from >= bytes.length) return { status: "beyond", time };
      const part = bytes.slice(range.from, range.from + range.length);
      return { status: "found", bytes: part, size: bytes.length, etag, lastModified, time };
    },

    async create(key, bytes) {
      const full = fullKey(PREFIX, key);
      const time = clock();
      if (objects.has(full)) return { status: "exists", time };
      return { status: "created", etag: put(full, bytes, time), time };
    },

    async replace(key, bytes, etag) {
      const full = fullKey(PREFIX, key);
      const time = clock();
      if (objects.get(full)?.etag !== etag) return { status: "changed", time };
      return { status: "replaced", etag: put(full, bytes, time), time };
    },

    async list(prefix, listOptions = {}) {
      const start = fullPrefix(PREFIX, prefix);
      const after = fullPrefix(PREFIX, listOptions.after ?? "");
      const limit = listLimit(listOptions);
      // Names have no character beyond ASCII, so that the order of strings is the order of bytes.
      const keys = [...objects.keys()].filter((key) => key.startsWith(start) && key > after).toSorted();
      const listed = keys.slice(0, limit).map((key): ListedObject => {
        const { bytes, lastModified } = objects.get(key) as StoredObject;
        return { key: key.slice(PREFIX.length + 1), size: bytes.length, lastModified };
      });
      return { status: "listed", objects: listed, more: keys.length > limit, time: clock() };
    },

    async delete(keys) {
      assertKeys(keys, capabilities);
      for (const key of keys.map((each) => fullKey(PREFIX, each))) objects.delete(key);
      return { status: "deleted", time: clock() };
    },
  };
}

function parse(given: unknown): { readonly name: string; readonly now: MemoryStoreOptions["now"] } {
  const context = "memoryStore";
  const { name = "memory", now } = knownOptions(given, ["name", "now"], context);
  if (typeof name !== "string") throw wrongOption(context, "name", "a text", name);
  if (now !== undefined && typeof now !== "function") throw wrongOption(context, "now", "a function", now);
  return { name, now: now as MemoryStoreOptions["now"] };
}

/** Two FNV-1a hashes (http://www.isthe.com/chongo/tech/comp/fnv/), of which the second begins elsewhere, and the length. */
export function contentTag(bytes: Uint8Array): string {
  let first = 0x811c9dc5;
  let second = 0x01234567;
  for (const byte of bytes) {
    first = Math.imul(first ^ byte, 0x01000193);
    second = Math.imul(second ^ byte, 0x01000193);
  }
  const hex = [first, second].map((hash) => (hash >>> 0).toString(16).padStart(8, "0")).join("");
  return `"${hex}-${bytes.length}"`;
}
