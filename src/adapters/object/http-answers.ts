import { KVError, type KVErrorCode } from "../../core/errors.ts";
import type {
  Ambiguous,
  ByteRange,
  CreateAnswer,
  DeleteAnswer,
  Denied,
  GetAnswer,
  ListAnswer,
  ListedObject,
  Refused,
  ReplaceAnswer,
  Unavailable,
} from "./object-store.ts";

/** What came of one HTTP request to a store that speaks S3, whichever client has sent it. */
export interface HttpOutcome {
  /** Undefined if there was no answer, or if a good one did not arrive whole: `cause` then says why. */
  readonly status: number | undefined;
  /** Nothing was sent, and nothing can have reached the store: there was no credential to sign with, or no request to be made of what the client was told. */
  readonly unsent?: "credential" | "request";
  readonly header: (name: string) => string | undefined;
  /** The `Code` of S3's errors, or "". */
  readonly code: string;
  readonly message: string;
  readonly cause?: unknown;
}

/** Who was asked for what. */
export interface Asked {
  /** In words, for messages. */
  readonly store: string;
  readonly what: string;
  /** Whether the date of an answer is the store's. */
  readonly tellsTime: boolean;
}

/** Error codes (https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html) that say more than the status that they come with. */
const CREDENTIAL = new Set([
  "ExpiredToken",
  "InvalidToken",
  "TokenRefreshRequired",
  "ExpiredRequest",
  // versitygw's 404 for an access key that it does not know.
  "XAdminUserNotFound",
]);
const WRONG_PLACE = new Set([
  "AuthorizationHeaderMalformed",
  "IllegalLocationConstraintException",
  "InvalidBucketName",
  "PermanentRedirect",
]);
/** 4xx for a body that did not arrive as it was sent. */
const LOST_ON_THE_WAY = new Set(["RequestTimeout", "IncompleteBody", "BadDigest", "XAmzContentSHA256Mismatch"]);
const NO_ROOM = new Set(["QuotaExceeded", "XMinioStorageFull", "InsufficientStorage"]);

export function createAnswer(outcome: HttpOutcome, asked: Asked): CreateAnswer {
  const time = timeOf(outcome, asked);
  if (isSuccess(outcome)) return { status: "created", etag: outcome.header("etag"), time };
  if (outcome.status === 412) return { status: "exists", time };
  return writeFailure(outcome, asked);
}

export function replaceAnswer(outcome: HttpOutcome, asked: Asked): ReplaceAnswer {
  const time = timeOf(outcome, asked);
  if (isSuccess(outcome)) return { status: "replaced", etag: outcome.header("etag"), time };
  if (outcome.status === 412) return { status: "changed", time };
  // Of an object that is not there, some say that it is not found, others that the condition does not hold.
  if (isAbsent(outcome)) return { status: "changed", time };
  return writeFailure(outcome, asked);
}

/** `bytes` is the body of a good answer. */
export function getAnswer(
  outcome: HttpOutcome,
  asked: Asked,
  { bytes, range }: { readonly bytes: Uint8Array | undefined; readonly range: ByteRange | undefined },
): GetAnswer {
  const time = timeOf(outcome, asked);
  const cached = refusedIfCached(outcome, asked);
  if (cached !== undefined) return cached;
  if (isAbsent(outcome)) return { status: "absent", time };
  if (outcome.status === 416 && range !== undefined) return { status: "beyond", time };
  if (!isSuccess(outcome) || bytes === undefined) return readFailure(outcome, asked);

  const etag = outcome.header("etag");
  if (etag === undefined) return refused(outcome, asked, "InputOutput", "it has no ETag: is the endpoint one of S3?");
  const lastModified = parseDate(outcome.header("last-modified"));
  const part = outcome.status === 206 ? parseContentRange(outcome.header("content-range")) : undefined;
  if (range === undefined) {
    const announced = outcome.header("content-length");
    if (part !== undefined || (announced !== undefined && Number(announced) !== bytes.length)) {
      return unavailable(outcome, asked, `${bytes.length} bytes of ${announced} have arrived`);
    }
    return { status: "found", bytes, size: bytes.length, etag, lastModified, time };
  }
  if (part === undefined || part.from !== range.from) {
    return refused(outcome, asked, "StoreUnsuitable", "it does not give parts of objects");
  }
  const expected = Math.min(range.length, part.size - range.from);
  if (bytes.length !== expected)
    return unavailable(outcome, asked, `${bytes.length} bytes of ${expected} have arrived`);
  return { status: "found", bytes, size: part.size, etag, lastModified, time };
}

/** `page` is the body of a good answer. */
export function listAnswer(
  outcome: HttpOutcome,
  asked: Asked,
  page: { readonly objects: readonly ListedObject[]; readonly more: boolean } | undefined,
): ListAnswer {
  const cached = refusedIfCached(outcome, asked);
  if (cached !== undefined) return cached;
  if (!isSuccess(outcome) || page === undefined) return readFailure(outcome, asked);
  return { status: "listed", objects: page.objects, more: page.more, time: timeOf(outcome, asked) };
}

export function deleteAnswer(outcome: HttpOutcome, asked: Asked): DeleteAnswer {
  if (isSuccess(outcome) || isAbsent(outcome)) {
    return { status: "deleted", time: timeOf(outcome, asked) };
  }
  return readFailure(outcome, asked);
}

function isSuccess({ status, cause }: HttpOutcome): boolean {
  return status !== undefined && status >= 200 && status < 300 && cause === undefined;
}

/**
 * The store itself says that there is no such object. A bare 404 comes from whatever stands in between as well, while it does not find the store: taken for
 * an answer, it would be the end of the ledger, or a ledger that is not there.
 */
function isAbsent({ status, code }: HttpOutcome): boolean {
  return status === 404 && code === "NoSuchKey";
}

function writeFailure(
  outcome: HttpOutcome,
  asked: Asked,
): Ambiguous | Denied | Refused | { status: "conflict"; time: number | undefined } {
  const { status, code } = outcome;
  if (outcome.unsent !== undefined) return notSent(outcome, asked);
  if (status === 409 || status === 429) return { status: "conflict", time: timeOf(outcome, asked) };
  if (status === 501) return refused(outcome, asked, "StoreUnsuitable", "it does not know conditional writes");
  if (status === undefined || status < 300 || status >= 500 || status === 408 || LOST_ON_THE_WAY.has(code)) {
    return {
      status: "ambiguous",
      error: failure(outcome, asked, uncertainCode(outcome)),
      time: timeOf(outcome, asked),
    };
  }
  return denied(outcome, asked) ?? refusedForGood(outcome, asked);
}

function readFailure(outcome: HttpOutcome, asked: Asked): Unavailable | Denied | Refused {
  const { status, code } = outcome;
  if (outcome.unsent !== undefined) return notSent(outcome, asked);
  // A client that knows its clock to be wrong from now on signs the next request with another time.
  if (LOST_ON_THE_WAY.has(code) || code === "RequestTimeTooSkewed") return unavailable(outcome, asked);
  if (status === 501) return refusedForGood(outcome, asked);
  if (status === undefined || status < 300 || status >= 500) return unavailable(outcome, asked);
  if (status === 408 || status === 409 || status === 429) return unavailable(outcome, asked);
  if (status === 404 && code !== "NoSuchBucket" && !CREDENTIAL.has(code)) {
    return unavailable(outcome, asked, "a 404 that does not say NoSuchKey is no answer of S3");
  }
  return denied(outcome, asked) ?? refusedForGood(outcome, asked);
}

function unavailable(outcome: HttpOutcome, asked: Asked, why?: string): Unavailable {
  return {
    status: "unavailable",
    error: failure(outcome, asked, uncertainCode(outcome), why),
    time: timeOf(outcome, asked),
  };
}

function notSent(outcome: HttpOutcome, asked: Asked): Denied | Refused {
  if (outcome.unsent === "request") {
    return refused(outcome, asked, "InvalidOption", "no request can be made of bucket, region and endpoint");
  }
  const error = failure(outcome, asked, "AccessDenied", "there is no credential to sign with");
  return { status: "denied", error, time: undefined };
}

function denied(outcome: HttpOutcome, asked: Asked): Denied | undefined {
  const { status, code } = outcome;
  const isDenied = status === 401 || status === 403 || CREDENTIAL.has(code);
  if (!isDenied || WRONG_PLACE.has(code)) return undefined;
  return {
    status: "denied",
    error: failure(outcome, asked, "AccessDenied", DENIALS[code]),
    time: timeOf(outcome, asked),
  };
}

const DENIALS: Readonly<Record<string, string>> = {
  InvalidAccessKeyId: "it does not know the access key",
  XAdminUserNotFound: "it does not know the access key",
  SignatureDoesNotMatch: "the secret key is not the one of the access key",
  RequestTimeTooSkewed: "the clock of this machine is wrong",
  ExpiredToken: "the credential has expired",
  ExpiredRequest: "the credential has expired, or the clock of this machine is wrong",
};

function refusedForGood(outcome: HttpOutcome, asked: Asked): Refused {
  const { status, code } = outcome;
  if (code === "NoSuchBucket") return refused(outcome, asked, "LedgerMissing", "there is no such bucket");
  const isElsewhere = status !== undefined && status >= 300 && status < 400;
  if (isElsewhere || WRONG_PLACE.has(code)) {
    const region = outcome.header("x-amz-bucket-region");
    const hint = region === undefined ? "" : `, the region of the bucket is ${region}`;
    return refused(outcome, asked, "InvalidOption", `bucket, region or endpoint is wrong${hint}`);
  }
  return refused(outcome, asked, "InputOutput");
}

function refusedIfCached(outcome: HttpOutcome, asked: Asked): Refused | undefined {
  const age = outcome.header("age");
  if (age === undefined || Number(age) === 0) return undefined;
  return refused(outcome, asked, "StoreInconsistent", `the answer comes from a cache, where it lay for ${age} s`);
}

function refused(outcome: HttpOutcome, asked: Asked, code: KVErrorCode, why?: string): Refused {
  return { status: "refused", error: failure(outcome, asked, code, why), time: timeOf(outcome, asked) };
}

function uncertainCode({ status, code }: HttpOutcome): KVErrorCode {
  return status === 507 || NO_ROOM.has(code) ? "NoSpace" : "InputOutput";
}

function failure(outcome: HttpOutcome, { store, what }: Asked, code: KVErrorCode, why?: string): KVError {
  const { status, cause, unsent } = outcome;
  const told = [status, outcome.code, outcome.message].filter((each) => each !== undefined && each !== "").join(" ");
  const answered = unsent !== undefined ? "nothing was sent" : status === undefined ? "no whole answer" : "it answered";
  const said = told === "" ? undefined : `${answered}${status === undefined ? ":" : ""} ${told}`;
  const reasons = [why, said].filter((each) => each !== undefined).join("; ");
  const options = cause === undefined ? {} : { cause };
  return new KVError(code, `${what} in ${store} failed: ${reasons || "no answer"}`, options);
}

function timeOf(outcome: HttpOutcome, { tellsTime }: Asked): number | undefined {
  return !tellsTime ? undefined : parseDate(outcome.header("date"));
}

/** Ms since the epoch of an HTTP date. */
export function parseDate(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const time = Date.parse(text);
  return Number.isNaN(time) ? undefined : time;
}

/** Of `bytes 5-9/20`. */
function parseContentRange(text: string | undefined): { readonly from: number; readonly size: number } | undefined {
  const match = /^bytes (\d+)-\d+\/(\d+)$/.exec(text ?? "");
  return match === null ? undefined : { from: Number(match[1]), size: Number(match[2]) };
}

/** The header that asks for a part. */
export function rangeHeader({ from, length }: ByteRange): string {
  return `bytes=${from}-${from + length - 1}`;
}
