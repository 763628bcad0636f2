import type {
  CreateAnswer,
  DeleteAnswer,
  GetAnswer,
  ListAnswer,
  ObjectStore,
  ReplaceAnswer,
  StoreRequest,
} from "./object-store.ts";

/** What any request is answered with. */
export type StoreAnswer = GetAnswer | CreateAnswer | ReplaceAnswer | ListAnswer | DeleteAnswer;

/** What a layer makes of one request to the store below it: it asks, or asks again, and answers. */
export type StoreLayer = <A extends StoreAnswer>(ask: () => Promise<A>, request: StoreRequest) => Promise<A>;

/** A store all of whose requests pass through a layer. */
export function layeredStore(store: ObjectStore, layer: StoreLayer): ObjectStore {
  return {
    name: store.name,
    capabilities: store.capabilities,
    get: (key, range) => layer(() => store.get(key, range), { kind: "get", keys: [key], range }),
    create: (key, bytes) => layer(() => store.create(key, bytes), { kind: "create", keys: [key], bytes }),
    replace: (key, bytes, etag) =>
      layer(() => store.replace(key, bytes, etag), { kind: "replace", keys: [key], bytes }),
    list: (prefix, options) => layer(() => store.list(prefix, options), { kind: "list", keys: [prefix] }),
    delete: (keys) => layer(() => store.delete(keys), { kind: "delete", keys }),
  };
}
