export { unstorageStore, type UnstorageStoreOptions } from "./store.ts";
