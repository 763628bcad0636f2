/**
 * What is used of the binding of an R2 bucket (https://developers.cloudflare.com/r2/api/workers/workers-api-reference/), in types of our own: nobody needs
 * Cloudflare's to use this package, and a binding typed by those fits.
 */
export interface R2BucketBinding {
  /** Reads an object, or so many bytes of it; null if there is none. */
  get(
    key: string,
    options?: { readonly range?: { readonly offset: number; readonly length: number } },
  ): Promise<R2ObjectBody | null>;
  /** What is told of an object; null if there is none. */
  head(key: string): Promise<R2ObjectHead | null>;
  /** Writes an object, under a condition as in HTTP; null where that does not hold. */
  put(
    key: string,
    value: Uint8Array,
    options: { readonly onlyIf?: Headers; readonly httpMetadata: { readonly cacheControl: string } },
  ): Promise<R2ObjectHead | null>;
  /** What is told of the objects whose keys begin with `prefix`, at most 1,000, in the order of the bytes of their keys. */
  list(options: {
    readonly prefix: string;
    readonly limit: number;
    readonly startAfter?: string;
  }): Promise<{ readonly objects: readonly R2ObjectHead[]; readonly truncated: boolean }>;
  /** Deletes up to 1,000 objects, whether they are there or not. */
  delete(keys: string[]): Promise<void>;
}

/** What the binding tells of an object. */
export interface R2ObjectHead {
  /** Within the bucket. */
  readonly key: string;
  /** In bytes. */
  readonly size: number;
  /** As in HTTP, with quotes. */
  readonly httpEtag: string;
  /** When it was written. */
  readonly uploaded: Date;
}

/** An object that was read. */
export interface R2ObjectBody extends R2ObjectHead {
  /** What was asked for of it. */
  arrayBuffer(): Promise<ArrayBuffer>;
}
