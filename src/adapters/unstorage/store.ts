import type { Storage } from "unstorage";
import { KVError } from "../../core/errors.ts";
import { knownOptions, wrongOption } from "../../core/given-options.ts";
import { contentTag } from "../object/memory-store.ts";
import { fullKey, fullPrefix, parsePrefix } from "../object/names.ts";
import {
  assertKeys,
  assertRange,
  type ListedObject,
  listLimit,
  type ObjectStore,
  type StoreCapabilities,
} from "../object/object-store.ts";

/** Which storage, and where in it. */
export interface UnstorageStoreOptions {
  /** The storage, whatever driver it has. It stays its owner's. */
  readonly storage: Pick<Storage, "getItemRaw" | "setItemRaw" | "removeItem" | "getKeys" | "getMeta">;
  /** A folder within it, for one ledger alone: segments with `/` between them, of which unstorage makes colons. */
  readonly prefix: string;
}

/**
 * A storage of unstorage as an object store. No driver tells whether a key was there before it was set, and setters return nothing: nothing here is
 * decided by the store, so that a ledger on it has one writer (`writers: "single"`). Some drivers write over an item bit by bit: who reads it meanwhile may
 * find a part, which the ledger's checksums find out.
 *
 * @throws InvalidArgumentError `InvalidOption`.
 */
export function unstorageStore(options: UnstorageStoreOptions): ObjectStore {
  return makeUnstorageStore(options, "unstorageStore");
}

/** The same, for a call that is called otherwise. */
export function makeUnstorageStore(given: unknown, context: string): ObjectStore {
  const options = knownOptions(given, ["storage", "prefix"], context);
  const storage = options.storage as UnstorageStoreOptions["storage"];
  if (CALLS.some((name) => typeof (storage as typeof storage | null | undefined)?.[name] !== "function")) {
    throw wrongOption(context, "storage", "a storage of unstorage", storage);
  }
  const folder = parsePrefix(options.prefix, context);
  const name = `unstorage ${folder}`;
  /** With unstorage's own separator, so that no name is rewritten. */
  const item = (key: string): string => fullKey(folder, key).replaceAll("/", ":");
  const failed = (what: string, cause: unknown): KVError =>
    new KVError("InputOutput", `${name}: ${what} failed: ${String(cause)}`, { cause });

  const set = async (key: string, bytes: Uint8Array): Promise<string> => {
    // Drivers in memory keep what they are given.
    const copy = bytes.slice();
    await storage.setItemRaw(item(key), copy);
    return contentTag(copy);
  };

  return {
    name,
    capabilities: CAPABILITIES,

    async get(key, range) {
      if (range !== undefined) assertRange(range);
      const named = item(key);
      try {
        const all = bytesOf(await storage.getItemRaw<unknown>(named));
        if (all === undefined) return { status: "absent", time: undefined };
        if (range !== undefined && range.from >= all.length) return { status: "beyond", time: undefined };
        const bytes = range === undefined ? all.slice() : all.slice(range.from, range.from + range.length);
        const told = { lastModified: undefined, time: undefined };
        return { status: "found", bytes, size: all.length, etag: contentTag(all), ...told };
      } catch (error) {
        return { status: "unavailable", error: failed(`get ${key}`, error), time: undefined };
      }
    },

    async create(key, bytes) {
      const named = item(key);
      try {
        return { status: "created", etag: await set(key, bytes), time: undefined };
      } catch (error) {
        return { status: "ambiguous", error: failed(`put ${named}`, error), time: undefined };
      }
    },

    async replace(key, bytes) {
      const named = item(key);
      try {
        return { status: "replaced", etag: await set(key, bytes), time: undefined };
      } catch (error) {
        return { status: "ambiguous", error: failed(`put ${named}`, error), time: undefined };
      }
    },

    async list(start, listOptions = {}) {
      const from = fullPrefix(folder, start);
      const after = fullPrefix(folder, listOptions.after ?? "");
      const limit = listLimit(listOptions);
      try {
        const all = await storage.getKeys(from.slice(0, from.lastIndexOf("/")).replaceAll("/", ":"));
        const keys = all
          .map((key) => key.replaceAll(":", "/"))
          .filter((key) => key.startsWith(from) && key > after)
          .toSorted();
        const objects = await Promise.all(keys.slice(0, limit).map((key) => listed(key)));
        return {
          status: "listed",
          objects: objects.filter((each) => each !== undefined),
          more: keys.length > limit,
          time: undefined,
        };
      } catch (error) {
        return { status: "unavailable", error: failed(`list ${start}`, error), time: undefined };
      }
    },

    async delete(keys) {
      assertKeys(keys, CAPABILITIES);
      const items = keys.map(item);
      try {
        await Promise.all(items.map((key) => storage.removeItem(key)));
        return { status: "deleted", time: undefined };
      } catch (error) {
        return { status: "unavailable", error: failed(`delete ${keys.join(", ")}`, error), time: undefined };
      }
    },
  };

  /** With its size, which many drivers tell only of what is read. Undefined if it has gone meanwhile. */
  async function listed(full: string): Promise<ListedObject | undefined> {
    const key = full.replaceAll("/", ":");
    const { size } = await storage.getMeta(key, { nativeOnly: true });
    const told = typeof size === "number" ? size : bytesOf(await storage.getItemRaw<unknown>(key))?.length;
    return told === undefined ? undefined : { key: full.slice(folder.length + 1), size: told, lastModified: undefined };
  }
}

/** What is asked of a storage. */
const CALLS = ["getItemRaw", "setItemRaw", "removeItem", "getKeys", "getMeta"] as const;

const CAPABILITIES: StoreCapabilities = {
  create: false,
  replace: false,
  time: false,
  parallel: 8,
  deleteKeysMax: 100,
};

/** Drivers give back what they have in the form that they like. */
function bytesOf(value: unknown): Uint8Array | undefined {
  if (value === null || value === undefined) return undefined;
  if (value instanceof Uint8Array) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  throw new TypeError(`this driver gives back raw items as ${typeof value}, not as bytes`);
}
