import { InvalidArgumentError } from "../../core/errors.ts";
import { parsePrefix } from "./names.ts";
import type { StoreCapabilities } from "./object-store.ts";

/** What every store over S3's HTTP interface can be told, whichever client sends the requests. */
export interface S3CommonOptions {
  readonly bucket: string;
  /** The folder of the database in the bucket: segments of letters, digits, `_`, `.` and `-` with `/` between them, at most 512 bytes. */
  readonly prefix: string;
  /** How long a request may take, in ms, without the time for its bytes at 2 Mbit/s. Default 10,000. */
  readonly requestTimeoutMs?: number | undefined;
  /** How many requests at once are of use. Default 16. */
  readonly parallel?: number | undefined;
  /**
   * False for a store that knows no conditional writes: the conditions are not sent, and the store declares neither `create` nor `replace`. Default
   * true.
   */
  readonly conditionalWrites?: boolean | undefined;
  /** False for a store whose answers have no `Date`, or where it is the one of a proxy in between. Default true. */
  readonly tellsTime?: boolean | undefined;
}

export interface S3Settings {
  readonly bucket: string;
  readonly prefix: string;
  readonly requestTimeoutMs: number;
  readonly conditionalWrites: boolean;
  readonly capabilities: StoreCapabilities;
}

const COMMON = ["bucket", "prefix", "requestTimeoutMs", "parallel", "conditionalWrites", "tellsTime"];

/** Checks the options that all have in common, and that there are none but these and `others`. Throws `InvalidOption`. */
export function parseS3Options(options: S3CommonOptions, others: readonly string[]): S3Settings {
  const known = [...COMMON, ...others];
  for (const name of Object.keys(options)) {
    if (!known.includes(name)) throw invalid(name, `is not known; there are ${known.join(", ")}`);
  }
  const { bucket, requestTimeoutMs = 10_000, parallel = 16, conditionalWrites = true, tellsTime = true } = options;
  if (typeof bucket !== "string" || !/^[A-Za-z0-9._-]{1,255}$/.test(bucket)) {
    throw invalid("bucket", `must be the name of a bucket; got ${JSON.stringify(bucket)}`);
  }
  if (!(requestTimeoutMs > 0 && requestTimeoutMs < 2 ** 31)) {
    throw invalid("requestTimeoutMs", `must be a number of ms above 0; got ${requestTimeoutMs}`);
  }
  if (!(Number.isSafeInteger(parallel) && parallel >= 1)) {
    throw invalid("parallel", `must be a whole number from 1 on; got ${parallel}`);
  }
  for (const [name, value] of Object.entries({ conditionalWrites, tellsTime })) {
    if (typeof value !== "boolean") throw invalid(name, `must be true or false; got ${String(value)}`);
  }
  return {
    bucket,
    prefix: parsePrefix(options.prefix),
    requestTimeoutMs,
    conditionalWrites,
    // One key a delete: the request for several wants a checksum that not every store agrees on, and deletes cost nothing.
    capabilities: {
      create: conditionalWrites,
      replace: conditionalWrites,
      time: tellsTime,
      parallel,
      deleteKeysMax: 1,
    },
  };
}

/** Throws `InvalidOption` for what is no address of a store. */
export function checkEndpoint(endpoint: unknown): void {
  if (typeof endpoint === "string" && /^https?:\/\/[^?#]+$/.test(endpoint)) return;
  throw invalid("endpoint", `must be an http or https address; got ${JSON.stringify(endpoint)}`);
}

/** For an option that cannot be used. */
export function invalid(option: string, rule: string): InvalidArgumentError {
  return new InvalidArgumentError("InvalidOption", `${option} ${rule}`);
}
