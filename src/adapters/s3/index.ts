export { s3Store, type S3StoreOptions } from "./store.ts";
