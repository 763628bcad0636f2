import { InvalidArgumentError } from "../../core/errors.ts";
import { wrongOption } from "../../core/given-options.ts";
import { parsePrefix } from "./names.ts";
import type { StoreCapabilities } from "./object-store.ts";
import { parseParallel, parseRequestTimeout } from "./store-options.ts";

/** What every store over S3's HTTP interface can be told, whichever client sends the requests. */
export interface S3CommonOptions {
  /** The name of the bucket, which has to be there already. */
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
  /**
   * False for a store that compares the `ETag` of a condition with its own without the quotes in which it gives it, as Ceph RGW does: then it is sent so.
   * Default true.
   */
  readonly quotedEtags?: boolean | undefined;
  /** False for a store whose answers have no `Date`, or where it is the one of a proxy in between. Default true. */
  readonly tellsTime?: boolean | undefined;
}

export interface S3Settings {
  readonly bucket: string;
  readonly prefix: string;
  readonly requestTimeoutMs: number;
  readonly conditionalWrites: boolean;
  readonly quotedEtags: boolean;
  readonly capabilities: StoreCapabilities;
}

/** Their names, for `knownOptions`. */
export const S3_OPTIONS = [
  "bucket",
  "prefix",
  "requestTimeoutMs",
  "parallel",
  "conditionalWrites",
  "quotedEtags",
  "tellsTime",
];

/** Checks the options that all have in common. `context` is the call, for messages. Throws `InvalidOption`. */
export function parseS3Options(options: Readonly<Record<string, unknown>>, context: string): S3Settings {
  const { bucket, prefix, requestTimeoutMs, parallel } = options;
  const { conditionalWrites = true, quotedEtags = true, tellsTime = true } = options;
  // Clients tidy paths up: a bucket called ".." would be what lies above it.
  if (typeof bucket !== "string" || !/^[A-Za-z0-9._-]{1,255}$/.test(bucket) || /^\.\.?$/.test(bucket)) {
    throw wrongOption(context, "bucket", "the name of a bucket", bucket);
  }
  const canCompare = parseBoolean(conditionalWrites, "conditionalWrites", context);
  return {
    bucket,
    prefix: parsePrefix(prefix, context),
    requestTimeoutMs: parseRequestTimeout(requestTimeoutMs, context),
    conditionalWrites: canCompare,
    quotedEtags: parseBoolean(quotedEtags, "quotedEtags", context),
    // One key a delete: the request for several wants a checksum that not every store agrees on, and deletes cost nothing.
    capabilities: {
      create: canCompare,
      replace: canCompare,
      time: parseBoolean(tellsTime, "tellsTime", context),
      parallel: parseParallel(parallel, 16, context),
      deleteKeysMax: 1,
    },
  };
}

/** An etag as it is told to the store in a condition. */
export function conditionEtag(etag: string, { quotedEtags }: S3Settings): string {
  return quotedEtags ? etag : etag.replaceAll('"', "");
}

/** Where a bucket is, as every client is told it. */
export interface S3Address {
  readonly endpoint: string | undefined;
  readonly region: string | undefined;
  readonly forcePathStyle: boolean | undefined;
}

/** Checks what leads to a bucket. Throws `InvalidOption`. */
export function parseS3Address(
  { endpoint, region, forcePathStyle }: { readonly [Name in keyof S3Address]?: unknown },
  context: string,
): S3Address {
  if (endpoint !== undefined && !isEndpoint(endpoint)) {
    const says = "an http or https address, without a query and without a user in it";
    // A password in it is none of a log's business.
    throw wrongOption(context, "endpoint", says, typeof endpoint === "string" ? hideUser(endpoint) : endpoint);
  }
  if (region !== undefined && !(typeof region === "string" && /^[\w.-]+$/.test(region))) {
    throw wrongOption(context, "region", "the name of a region", region);
  }
  return {
    endpoint,
    region,
    forcePathStyle: forcePathStyle === undefined ? undefined : parseBoolean(forcePathStyle, "forcePathStyle", context),
  };
}

/** A key that requests are signed with, if `credentials` is one; a function that gives one is left to be asked. Throws `InvalidOption`. */
export function checkCredentials(credentials: unknown, context: string): void {
  if (typeof credentials === "function") return;
  const { accessKeyId, secretAccessKey, sessionToken } = Object(credentials) as Record<string, unknown>;
  const isText = (value: unknown): boolean => typeof value === "string" && value !== "";
  const isToken = sessionToken === undefined || typeof sessionToken === "string";
  if (isText(accessKeyId) && isText(secretAccessKey) && isToken) return;
  // What was received may hold half a secret.
  const says = "an object with accessKeyId and secretAccessKey, or a function that gives one";
  throw new InvalidArgumentError("InvalidOption", `${context}: credentials must be ${says}`);
}

function parseBoolean(value: unknown, name: string, context: string): boolean {
  if (typeof value === "boolean") return value;
  throw wrongOption(context, name, "true or false", value);
}

/** A host, or an address of IPv6 in brackets; perhaps a port; perhaps a path. */
const ENDPOINT = /^https?:\/\/(?:[^\s/?#@<>:[\]\\]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?(?:\/[^\s?#@<>\\]*)?$/;

function isEndpoint(endpoint: unknown): endpoint is string {
  return typeof endpoint === "string" && ENDPOINT.test(endpoint);
}

function hideUser(endpoint: string): string {
  return endpoint.replace(/\/\/.*@/, "//...@");
}
