export { s3FetchStore, type S3Credentials, type S3FetchStoreOptions } from "./store.ts";
