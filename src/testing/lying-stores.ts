import type { Environment } from "../core/environment.ts";
import { KVError } from "../core/errors.ts";
import type { ProbedProperty } from "../adapters/object/probe.ts";
import type { Found, GetAnswer, ListAnswer, ObjectStore } from "../adapters/object/object-store.ts";

/** A store that does not do what it declares, in one way. */
export interface LyingStore {
  readonly name: string;
  /** The property that `probeStore` must find missing. */
  readonly breaks: ProbedProperty;
  /** The case of the conformance suite that must notice. */
  readonly failsCase: string;
  readonly make: (store: ObjectStore, environment: Environment) => ObjectStore;
}

/** One store for each lie that stores are known to tell. They stand on a store that does not lie. */
export const lyingStores: readonly LyingStore[] = [
  {
    name: "lets the last writer win a create",
    breaks: "create",
    failsCase: "a second create is told that the object exists, and changes nothing",
    make: (store) => altered(store, { create: (key, bytes) => overwrite(store, key, bytes) }),
  },
  {
    name: "looks first and writes then when it creates",
    breaks: "create",
    failsCase: "of racing creates one wins, and everybody reads its bytes",
    make: (store, environment) =>
      altered(store, {
        create: async (key, bytes) => {
          const before = await store.get(key);
          if (before.status === "found") return { status: "exists", time: before.time };
          await pause(environment);
          return await overwrite(store, key, bytes);
        },
      }),
  },
  {
    name: "tells everybody who creates that it was they",
    breaks: "create",
    failsCase: "a second create is told that the object exists, and changes nothing",
    make: (store) =>
      altered(store, {
        create: async (key, bytes) => {
          const answer = await store.create(key, bytes);
          return answer.status === "exists" ? { status: "created", etag: undefined, time: answer.time } : answer;
        },
      }),
  },
  {
    name: "replaces without comparing",
    breaks: "replace",
    failsCase: "a replace with an etag of the past changes nothing",
    make: (store) => altered(store, { replace: (key, bytes) => overwriteReplacing(store, key, bytes) }),
  },
  {
    name: "compares first and writes then when it replaces",
    breaks: "replace",
    failsCase: "of racing replaces at most one wins, and everybody reads its bytes",
    make: (store, environment) =>
      altered(store, {
        replace: async (key, bytes, etag) => {
          const before = await store.get(key);
          if (before.status !== "found" || before.etag !== etag) return { status: "changed", time: before.time };
          await pause(environment);
          return await overwriteReplacing(store, key, bytes);
        },
      }),
  },
  {
    name: "reads from a cache what was replaced meanwhile",
    breaks: "read-after-write",
    failsCase: "what was just written is read at once, also where its absence was read before",
    make: (store) => {
      const cache = new Map<string, Found>();
      return altered(store, {
        get: async (key, range) => {
          const cached = cache.get(key);
          if (cached !== undefined && range === undefined) return { ...cached, bytes: cached.bytes.slice() };
          const answer = await store.get(key, range);
          if (answer.status === "found" && range === undefined) {
            cache.set(key, { ...answer, bytes: answer.bytes.slice() });
          }
          return answer;
        },
        // What was deleted is at least forgotten.
        delete: async (keys) => {
          for (const key of keys) cache.delete(key);
          return await store.delete(keys);
        },
      });
    },
  },
  {
    name: "remembers that an object was not there",
    breaks: "read-after-write",
    failsCase: "what was just written is read at once, also where its absence was read before",
    make: (store) => {
      const absent = new Map<string, GetAnswer>();
      return altered(store, {
        get: async (key, range) => {
          const remembered = absent.get(key);
          if (remembered !== undefined) return remembered;
          const answer = await store.get(key, range);
          if (answer.status === "absent") absent.set(key, answer);
          return answer;
        },
      });
    },
  },
  {
    name: "gives whole objects for their parts",
    breaks: "range",
    failsCase: "parts are read as asked for, and cut at the end",
    make: (store) => altered(store, { get: (key) => store.get(key) }),
  },
  {
    name: "denies what is not there",
    breaks: "absent",
    failsCase: "an object that is not there is absent",
    make: (store) =>
      altered(store, {
        get: async (key, range) => {
          const answer = await store.get(key, range);
          if (answer.status !== "absent") return answer;
          return { status: "denied", error: new KVError("AccessDenied", "403"), time: answer.time };
        },
      }),
  },
  {
    name: "lists what was there before the last write",
    breaks: "list",
    failsCase: "a list shows what was just written and deleted",
    make: (store) => {
      const before = new Map<string, ListAnswer>();
      return altered(store, {
        list: async (prefix, options) => {
          const question = JSON.stringify([prefix, options]);
          const old = before.get(question);
          const answer = await store.list(prefix, options);
          before.set(question, answer);
          return old ?? answer;
        },
      });
    },
  },
  {
    name: "still reads what was deleted",
    breaks: "delete",
    failsCase: "a deleted object is gone, and may be created again",
    make: (store) =>
      altered(store, { delete: async () => ({ status: "deleted", time: (await store.get("nothing")).time }) }),
  },
];

function altered(store: ObjectStore, methods: Partial<ObjectStore>): ObjectStore {
  return {
    name: store.name,
    capabilities: store.capabilities,
    get: (key, range) => store.get(key, range),
    create: (key, bytes) => store.create(key, bytes),
    replace: (key, bytes, etag) => store.replace(key, bytes, etag),
    list: (prefix, options) => store.list(prefix, options),
    delete: (keys) => store.delete(keys),
    ...methods,
  };
}

/** Writes whatever is there. */
async function overwrite(store: ObjectStore, key: string, bytes: Uint8Array): ReturnType<ObjectStore["create"]> {
  await store.delete([key]);
  return await store.create(key, bytes);
}

async function overwriteReplacing(
  store: ObjectStore,
  key: string,
  bytes: Uint8Array,
): ReturnType<ObjectStore["replace"]> {
  const answer = await overwrite(store, key, bytes);
  if (answer.status === "created") return { status: "replaced", etag: answer.etag, time: answer.time };
  return { status: "changed", time: answer.time };
}

/** Lets others come in between. */
function pause(environment: Environment): Promise<void> {
  return new Promise((resolve) => environment.macrotask(resolve));
}
