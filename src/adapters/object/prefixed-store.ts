import type { ObjectStore } from "./object-store.ts";

/** A folder of a store, as a store. `prefix` is one that `parsePrefix` has accepted. */
export function prefixedStore(store: ObjectStore, prefix: string): ObjectStore {
  const folder = `${prefix}/`;
  return {
    name: `${store.name}/${prefix}`,
    capabilities: store.capabilities,
    get: (key, range) => store.get(folder + key, range),
    create: (key, bytes) => store.create(folder + key, bytes),
    replace: (key, bytes, etag) => store.replace(folder + key, bytes, etag),
    list: async (start, options = {}) => {
      const { after } = options;
      const answer = await store.list(folder + start, {
        ...options,
        ...(after === undefined ? {} : { after: folder + after }),
      });
      if (answer.status !== "listed") return answer;
      return { ...answer, objects: answer.objects.map((each) => ({ ...each, key: each.key.slice(folder.length) })) };
    },
    delete: (keys) => store.delete(keys.map((key) => folder + key)),
  };
}
