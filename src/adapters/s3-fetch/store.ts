import { AwsV4Signer } from "aws4fetch";
import { toHex } from "../../core/bytes.ts";
import { knownOptions, wrongOption } from "../../core/given-options.ts";
import { Deadline, DeadlinePassed } from "../object/deadline.ts";
import {
  type Asked,
  createAnswer,
  deleteAnswer,
  getAnswer,
  type HttpOutcome,
  listAnswer,
  rangeHeader,
  replaceAnswer,
} from "../object/http-answers.ts";
import { fullKey, fullPrefix } from "../object/names.ts";
import {
  assertKeys,
  assertRange,
  type ByteRange,
  type CreateAnswer,
  type DeleteAnswer,
  type GetAnswer,
  type ListAnswer,
  listLimit,
  type ListOptions,
  type ObjectStore,
  type ReplaceAnswer,
  type StoreCapabilities,
} from "../object/object-store.ts";
import {
  checkCredentials,
  conditionEtag,
  parseS3Address,
  parseS3Options,
  S3_OPTIONS,
  type S3Address,
  type S3CommonOptions,
  type S3Settings,
} from "../object/s3-options.ts";
import { parseError, parseListPage } from "./list-page.ts";

/** A key that requests are signed with. */
export interface S3Credentials {
  /** Which key it is. Not secret. */
  readonly accessKeyId: string;
  /** What requests are signed with. Never sent. */
  readonly secretAccessKey: string;
  /** What goes with a key that is valid for a while only. */
  readonly sessionToken?: string | undefined;
}

/** Where the bucket is, and who asks. */
export interface S3FetchStoreOptions extends S3CommonOptions {
  /** Credentials, or who gives the ones of now; it is asked before every request. */
  readonly credentials: S3Credentials | (() => S3Credentials | Promise<S3Credentials>);
  /** The address of a store other than AWS, such as `https://<account>.r2.cloudflarestorage.com`. */
  readonly endpoint?: string | undefined;
  /** Default `auto` with an `endpoint`; without one there is no default. */
  readonly region?: string | undefined;
  /** Whether the bucket's name is part of the path instead of the host's name. Default true with an `endpoint`. */
  readonly forcePathStyle?: boolean | undefined;
  /** Who sends the signed requests. Default: the runtime's `fetch`. It must neither repeat nor cache them. */
  readonly fetch?: ((request: Request) => Promise<Response>) | undefined;
}

/**
 * A folder of a bucket behind the runtime's `fetch`, with signatures by `aws4fetch`: for functions to which the SDK is too large. Asks nothing yet.
 *
 * @throws InvalidArgumentError `InvalidOption`.
 */
export function s3FetchStore(options: S3FetchStoreOptions): ObjectStore {
  return makeS3FetchStore(options, "s3FetchStore");
}

/** The same, for a call that is called otherwise. */
export function makeS3FetchStore(given: unknown, context: string): ObjectStore {
  const others = ["credentials", "endpoint", "region", "forcePathStyle", "fetch"];
  const options = knownOptions(given, [...S3_OPTIONS, ...others], context);
  const settings = parseS3Options(options, context);
  const address = parseS3Address(options, context);
  const { credentials, fetch: sendRequest = (request) => fetch(request) } = options as unknown as S3FetchStoreOptions;
  const region = address.region ?? (address.endpoint === undefined ? undefined : "auto");
  if (region === undefined) throw wrongOption(context, "region", "given where there is no endpoint", region);
  checkCredentials(credentials, context);
  if (typeof sendRequest !== "function") throw wrongOption(context, "fetch", "a function", sendRequest);
  return new S3FetchStore(settings, { address, region, credentials, sendRequest, context });
}

/** What was checked already. */
interface Sender {
  readonly address: S3Address;
  readonly region: string;
  readonly credentials: S3FetchStoreOptions["credentials"];
  readonly sendRequest: (request: Request) => Promise<Response>;
  readonly context: string;
}

interface HttpRequest {
  readonly method: "GET" | "PUT" | "DELETE";
  /** In the bucket; "" is the bucket. */
  readonly key: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
}

/** One is enough, but for the moment in which the day or the credential changes. */
const SIGNING_KEYS_MAX = 2;

/** Who already knows that a body is empty need not hash it. */
const HASH_OF_NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

class S3FetchStore implements ObjectStore {
  readonly name: string;
  readonly capabilities: StoreCapabilities;
  readonly #settings: S3Settings;
  readonly #base: string;
  readonly #region: string;
  readonly #credentials: () => S3Credentials | Promise<S3Credentials>;
  readonly #fetch: (request: Request) => Promise<Response>;
  readonly #context: string;
  /** Signing keys that were derived last, for one day and credential each. */
  readonly #signingKeys = new Map<string, ArrayBuffer>();

  constructor(settings: S3Settings, { address, region, credentials, sendRequest, context }: Sender) {
    const { endpoint } = address;
    this.name = `s3://${settings.bucket}/${settings.prefix}${endpoint === undefined ? "" : ` at ${endpoint}`}`;
    this.capabilities = settings.capabilities;
    this.#settings = settings;
    this.#region = region;
    this.#base = baseUrl(settings.bucket, region, address);
    this.#credentials = typeof credentials === "function" ? credentials : () => credentials;
    this.#fetch = sendRequest;
    this.#context = context;
  }

  async get(key: string, range?: ByteRange): Promise<GetAnswer> {
    if (range !== undefined) assertRange(range);
    const headers = range === undefined ? {} : { range: rangeHeader(range) };
    const { outcome, bytes } = await this.#send({ method: "GET", key: this.#key(key), headers });
    return getAnswer(outcome, this.#asked(`get ${key}`), { bytes, range });
  }

  async create(key: string, bytes: Uint8Array): Promise<CreateAnswer> {
    const { outcome } = await this.#put(key, bytes, { "if-none-match": "*" });
    return createAnswer(outcome, this.#asked(`create ${key}`));
  }

  async replace(key: string, bytes: Uint8Array, etag: string): Promise<ReplaceAnswer> {
    const { outcome } = await this.#put(key, bytes, { "if-match": conditionEtag(etag, this.#settings) });
    return replaceAnswer(outcome, this.#asked(`replace ${key}`));
  }

  async list(prefix: string, options: ListOptions = {}): Promise<ListAnswer> {
    const { prefix: own } = this.#settings;
    const query = {
      "list-type": "2",
      "max-keys": String(listLimit(options)),
      prefix: fullPrefix(own, prefix),
      ...(options.after === undefined ? {} : { "start-after": fullPrefix(own, options.after) }),
    };
    const { outcome, bytes } = await this.#send({ method: "GET", key: "", query });
    const page = bytes === undefined ? undefined : parseListPage(new TextDecoder().decode(bytes));
    const objects = (page?.objects ?? []).map((object) => ({ ...object, key: object.key.slice(own.length + 1) }));
    return listAnswer(outcome, this.#asked(`list ${prefix}`), page === undefined ? undefined : { ...page, objects });
  }

  async delete(keys: readonly string[]): Promise<DeleteAnswer> {
    assertKeys(keys, this.capabilities);
    const { outcome } = await this.#send({ method: "DELETE", key: this.#key(keys[0]) });
    return deleteAnswer(outcome, this.#asked(`delete ${keys[0]}`));
  }

  #key(key: string): string {
    return fullKey(this.#settings.prefix, key);
  }

  #put(key: string, bytes: Uint8Array, condition: Readonly<Record<string, string>>): Promise<Sent> {
    const headers = this.#settings.conditionalWrites ? condition : {};
    return this.#send({ method: "PUT", key: this.#key(key), headers, body: bytes });
  }

  #asked(what: string): Asked {
    return { store: this.name, what, tellsTime: this.capabilities.time };
  }

  /** Makes one request, and reads the answer to its end. */
  async #send(request: HttpRequest): Promise<Sent> {
    const deadline = new Deadline(this.#settings.requestTimeoutMs, request.body?.length ?? 0);
    let response: Response | undefined;
    try {
      let signed: Request;
      try {
        signed = await deadline.race(this.#sign(request, deadline.signal));
      } catch (cause) {
        if (cause instanceof DeadlinePassed) throw cause;
        const message = messageOf(cause);
        return {
          outcome: { status: undefined, unsent: "credential", header: () => undefined, code: "", message, cause },
        };
      }
      response = await deadline.race(this.#fetch(signed));
      deadline.extend(Number(response.headers.get("content-length") ?? 0));
      const bytes = new Uint8Array(await deadline.race(response.arrayBuffer()));
      return answered(response, bytes);
    } catch (cause) {
      // An abort reaches a body that is being read, but not one whose reading some runtime has not begun.
      response?.body?.cancel().catch(() => undefined);
      const header = (name: string): string | undefined => response?.headers.get(name) ?? undefined;
      return { outcome: { status: undefined, header, code: "", message: messageOf(cause), cause } };
    } finally {
      deadline.clear();
    }
  }

  async #sign({ method, key, query, headers, body }: HttpRequest, signal: AbortSignal): Promise<Request> {
    const credentials = await this.#credentials();
    checkCredentials(credentials, this.#context);
    const { sessionToken, ...keys } = credentials;
    const url = new URL(`${this.#base}/${key}`);
    for (const [name, value] of Object.entries(query ?? {})) url.searchParams.set(name, value);
    // A signature over the body: what arrives otherwise than it was sent is not written.
    const hash = body === undefined ? HASH_OF_NOTHING : await sha256(body);
    const signer = new AwsV4Signer({
      method,
      url: url.toString(),
      headers: { ...headers, "x-amz-content-sha256": hash },
      ...keys,
      ...(sessionToken === undefined ? {} : { sessionToken }),
      service: "s3",
      region: this.#region,
      cache: this.#signingKeys,
    });
    const signed = await signer.sign();
    for (const oldest of this.#signingKeys.keys()) {
      if (this.#signingKeys.size <= SIGNING_KEYS_MAX) break;
      this.#signingKeys.delete(oldest);
    }
    // These are added behind the signature, since runtimes and proxies change them.
    signed.headers.set("cache-control", "no-store");
    if (body === undefined) signed.headers.set("pragma", "no-cache");
    else signed.headers.set("content-type", "application/octet-stream");
    signed.headers.set("accept-encoding", "identity");
    return new Request(signed.url, {
      method,
      headers: signed.headers,
      redirect: "manual",
      signal,
      ...(body === undefined ? {} : { body: body as BodyInit }),
      ...(KNOWS_CACHE ? { cache: "no-store" } : {}),
    });
  }
}

interface Sent {
  readonly outcome: HttpOutcome;
  /** The body of a good answer. */
  readonly bytes?: Uint8Array;
}

/** Workers of older compatibility dates throw at the option. */
const KNOWS_CACHE = typeof Request !== "undefined" && "cache" in Request.prototype;

function answered(response: Response, bytes: Uint8Array): Sent {
  const header = (name: string): string | undefined => response.headers.get(name) ?? undefined;
  if (response.ok) return { outcome: { status: response.status, header, code: "", message: "" }, bytes };
  const { code, message } = parseError(new TextDecoder().decode(bytes));
  // Browsers hide the status of redirects.
  const status = response.type === "opaqueredirect" ? 301 : response.status;
  return { outcome: { status, header, code, message } };
}

/** What `fetch` throws says only that it has failed; why is in its cause. */
function messageOf(cause: unknown): string {
  if (!(cause instanceof Error)) return "";
  return cause.cause instanceof Error ? `${cause.message}: ${cause.cause.message}` : cause.message;
}

async function sha256(bytes: Uint8Array): Promise<string> {
  return toHex(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes as BufferSource)));
}

function baseUrl(bucket: string, region: string, { endpoint, forcePathStyle }: S3Address): string {
  const host = (endpoint ?? `https://s3.${region}.amazonaws.com`).replace(/\/+$/, "");
  // A certificate for `*.host` does not cover a name with a dot.
  const pathStyle = forcePathStyle ?? (endpoint !== undefined || bucket.includes("."));
  return pathStyle ? `${host}/${bucket}` : host.replace("://", `://${bucket}.`);
}
