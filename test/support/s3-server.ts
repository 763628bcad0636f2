import { randomBytes } from "node:crypto";
import { Miniflare } from "miniflare";

/** A bucket on a server that speaks S3. */
export interface S3Server extends AsyncDisposable {
  readonly name: string;
  readonly endpoint: string;
  readonly region: string;
  readonly bucket: string;
  /** Its answers have a date. */
  readonly tellsTime: boolean;
  /** It knows an etag in quotes. */
  readonly quotedEtags: boolean;
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string };
}

/**
 * The server that S3_ENDPOINT, S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY and S3_BUCKET name (S3_REGION too, if it has several; S3_QUOTED_ETAGS=false, if it wants etags without quotes), or, without them,
 * Miniflare's S3 endpoint of R2, started for the purpose.
 */
export async function s3Server(): Promise<S3Server> {
  const { S3_ENDPOINT, S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY, S3_BUCKET, S3_REGION, S3_SERVER, S3_QUOTED_ETAGS } =
    process.env;
  if (S3_ENDPOINT === undefined) return await miniflareServer();
  if (S3_ACCESS_KEY_ID === undefined || S3_SECRET_ACCESS_KEY === undefined || S3_BUCKET === undefined) {
    throw new Error("S3_ENDPOINT goes with S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY and S3_BUCKET");
  }
  return {
    name: S3_SERVER ?? S3_ENDPOINT,
    endpoint: S3_ENDPOINT,
    region: S3_REGION ?? "us-east-1",
    bucket: S3_BUCKET,
    tellsTime: true,
    quotedEtags: S3_QUOTED_ETAGS !== "false",
    credentials: { accessKeyId: S3_ACCESS_KEY_ID, secretAccessKey: S3_SECRET_ACCESS_KEY },
    [Symbol.asyncDispose]: async () => undefined,
  };
}

async function miniflareServer(): Promise<S3Server> {
  const credentials = { accessKeyId: "key", secretAccessKey: "secret" };
  const miniflare = new Miniflare({
    modules: true,
    script: "export default { fetch: () => new Response('') };",
    compatibilityDate: "2026-01-01",
    r2Buckets: { BUCKET: { id: "bucket", s3Credentials: credentials } },
  });
  const url = await miniflare.ready;
  return {
    name: "Miniflare",
    endpoint: new URL("cdn-cgi/local/r2/s3", url).href,
    region: "auto",
    bucket: "bucket",
    tellsTime: false,
    quotedEtags: true,
    credentials,
    [Symbol.asyncDispose]: () => miniflare.dispose(),
  };
}

/** The name of a folder that nobody else uses. */
export function freshPrefix(): string {
  return `test/${randomBytes(8).toString("hex")}`;
}
