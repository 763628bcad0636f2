import type { ObjectStore } from "../../src/adapters/object/object-store.ts";
import { s3FetchStore } from "../../src/adapters/s3-fetch/index.ts";
import { s3Store } from "../../src/adapters/s3/index.ts";
import { freshPrefix, type S3Server } from "./s3-server.ts";

/** One fresh folder over three clients of both kinds, each with connections of its own. */
export function s3Connections({
  bucket,
  endpoint,
  region,
  credentials,
  tellsTime,
  quotedEtags,
}: S3Server): ObjectStore[] {
  const options = { bucket, prefix: freshPrefix(), endpoint, region, credentials, tellsTime, quotedEtags };
  return [s3Store(options), s3Store(options), s3FetchStore(options)];
}
