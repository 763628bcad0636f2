/**
 * What is used of the binding of an R2 bucket (https://developers.cloudflare.com/r2/api/workers/workers-api-reference/), in types of our own: nobody needs
 * Cloudflare's to use this package, and a binding typed by those fits.
 */
export interface R2BucketBinding {
  get(
    key: string,
    options?: { readonly range?: { readonly offset: number; readonly length: number } },
  ): Promise<R2ObjectBody | null>;
  head(key: string): Promise<R2ObjectHead | null>;
  put(
    key: string,
    value: Uint8Array,
    options: { readonly onlyIf?: Headers; readonly httpMetadata: { readonly cacheControl: string } },
  ): Promise<R2ObjectHead | null>;
  list(options: {
    readonly prefix: string;
    readonly limit: number;
    readonly startAfter?: string;
  }): Promise<{ readonly objects: readonly R2ObjectHead[]; readonly truncated: boolean }>;
  delete(keys: string[]): Promise<void>;
}

/** What the binding tells of an object. */
export interface R2ObjectHead {
  readonly key: string;
  readonly size: number;
  /** As in HTTP, with quotes. */
  readonly httpEtag: string;
  readonly uploaded: Date;
}

/** An object that was read. */
export interface R2ObjectBody extends R2ObjectHead {
  arrayBuffer(): Promise<ArrayBuffer>;
}
