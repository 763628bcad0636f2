import {
  DeleteObjectCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  type S3ClientConfig,
} from "@aws-sdk/client-s3";
import { InvalidArgumentError } from "../../core/errors.ts";
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
  type CreateAnswer,
  type DeleteAnswer,
  type GetAnswer,
  type ByteRange,
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
import { SingleAttempt } from "./single-attempt.ts";

/** Where the bucket is, and who asks: a client of yours, or what a new one is made of. */
export interface S3StoreOptions extends S3CommonOptions {
  /**
   * A client of yours. Whatever its settings for retries, a call makes one request. On a store other than AWS `requestChecksumCalculation` and
   * `responseChecksumValidation` should be `"WHEN_REQUIRED"`, as they are without a client. Closing it is up to you.
   */
  readonly client?: S3Client | undefined;
  /** The address of a store other than AWS, such as `https://<account>.r2.cloudflarestorage.com`. */
  readonly endpoint?: string | undefined;
  /** Default: what the SDK finds in its surroundings; `auto` with an `endpoint`. */
  readonly region?: string | undefined;
  /** Default: what the SDK finds in its surroundings. */
  readonly credentials?: NonNullable<S3ClientConfig["credentials"]> | undefined;
  /** Whether the bucket's name is part of the path instead of the host's name. Default true with an `endpoint`. */
  readonly forcePathStyle?: boolean | undefined;
}

/**
 * A folder of a bucket behind `@aws-sdk/client-s3`: AWS S3, or any store that speaks its language. Asks nothing yet.
 *
 * @throws InvalidArgumentError `InvalidOption`.
 */
export function s3Store(options: S3StoreOptions): ObjectStore {
  return makeS3Store(options, "s3Store");
}

/** Options of the client, where there is none. */
const OF_CLIENT = ["endpoint", "region", "credentials", "forcePathStyle"] as const;

/** The same, for a call that is called otherwise. */
export function makeS3Store(given: unknown, context: string): ObjectStore {
  const options = knownOptions(given, [...S3_OPTIONS, "client", ...OF_CLIENT], context);
  const settings = parseS3Options(options, context);
  const address = parseS3Address(options, context);
  const { client, credentials } = options as Partial<S3StoreOptions>;
  if (credentials !== undefined) checkCredentials(credentials, context);
  if (client === undefined) return new S3Store(settings, newClient(address, credentials), address.endpoint);
  if (typeof (client as Partial<S3Client> | null)?.send !== "function") {
    throw wrongOption(context, "client", "an S3Client of @aws-sdk/client-s3", client);
  }
  const others = { credentials, ...address };
  for (const name of OF_CLIENT) {
    if (others[name] === undefined) continue;
    const message = `${context}: ${name} belongs to the client, where one is given`;
    throw new InvalidArgumentError("InvalidOption", message);
  }
  return new S3Store(settings, client, undefined);
}

function newClient(
  { endpoint, region, forcePathStyle }: S3Address,
  credentials: S3StoreOptions["credentials"],
): S3Client {
  const pathStyle = forcePathStyle ?? endpoint !== undefined;
  const place = region ?? (endpoint === undefined ? undefined : "auto");
  return new S3Client({
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(place === undefined ? {} : { region: place }),
    ...(credentials === undefined ? {} : { credentials }),
    forcePathStyle: pathStyle,
    maxAttempts: 1,
    // Stores other than AWS do not know all checksums that the SDK would otherwise add; the signature covers the body.
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
  });
}

/** Not signed, as far as the SDK knows: a store that does not know them ignores them. */
const UNCACHED = { "cache-control": "no-store", pragma: "no-cache" };

/** What an output has of interest here, whichever command it is of. */
interface Output {
  readonly Body?: Body;
  readonly Contents?: readonly { readonly Key?: string; readonly Size?: number; readonly LastModified?: Date }[];
  readonly IsTruncated?: boolean;
}

interface Body {
  transformToByteArray(): Promise<Uint8Array>;
  destroy?(): void;
  cancel?(): Promise<void>;
}

type Command = GetObjectCommand | PutObjectCommand | ListObjectsV2Command | DeleteObjectCommand;

class S3Store implements ObjectStore {
  readonly name: string;
  readonly capabilities: StoreCapabilities;
  readonly #settings: S3Settings;
  readonly #client: S3Client;

  constructor(settings: S3Settings, client: S3Client, endpoint: string | undefined) {
    this.name = `s3://${settings.bucket}/${settings.prefix}${endpoint === undefined ? "" : ` at ${endpoint}`}`;
    this.capabilities = settings.capabilities;
    this.#settings = settings;
    this.#client = client;
  }

  async get(key: string, range?: ByteRange): Promise<GetAnswer> {
    if (range !== undefined) assertRange(range);
    const command = new GetObjectCommand({
      ...this.#object(key),
      ...(range === undefined ? {} : { Range: rangeHeader(range) }),
    });
    const { outcome, bytes } = await this.#send(command, 0);
    return getAnswer(outcome, this.#asked(`get ${key}`), { bytes, range });
  }

  async create(key: string, bytes: Uint8Array): Promise<CreateAnswer> {
    const condition = this.#settings.conditionalWrites ? { IfNoneMatch: "*" } : {};
    const { outcome } = await this.#send(this.#put(key, bytes, condition), bytes.length);
    return createAnswer(outcome, this.#asked(`create ${key}`));
  }

  async replace(key: string, bytes: Uint8Array, etag: string): Promise<ReplaceAnswer> {
    const condition = this.#settings.conditionalWrites ? { IfMatch: conditionEtag(etag, this.#settings) } : {};
    const { outcome } = await this.#send(this.#put(key, bytes, condition), bytes.length);
    return replaceAnswer(outcome, this.#asked(`replace ${key}`));
  }

  async list(prefix: string, options: ListOptions = {}): Promise<ListAnswer> {
    const { bucket, prefix: own } = this.#settings;
    const command = new ListObjectsV2Command({
      Bucket: bucket,
      Prefix: fullPrefix(own, prefix),
      MaxKeys: listLimit(options),
      ...(options.after === undefined ? {} : { StartAfter: fullPrefix(own, options.after) }),
    });
    const { outcome, output } = await this.#send(command, 0);
    const objects = (output?.Contents ?? []).map(({ Key = "", Size = 0, LastModified }) => ({
      key: Key.slice(own.length + 1),
      size: Size,
      lastModified: LastModified?.getTime(),
    }));
    const page =
      output === undefined ? undefined : { objects, more: output.IsTruncated === true && objects.length > 0 };
    return listAnswer(outcome, this.#asked(`list ${prefix}`), page);
  }

  async delete(keys: readonly string[]): Promise<DeleteAnswer> {
    assertKeys(keys, this.capabilities);
    const [key] = keys;
    const { outcome } = await this.#send(new DeleteObjectCommand(this.#object(key)), 0);
    return deleteAnswer(outcome, this.#asked(`delete ${key}`));
  }

  #object(key: string): { readonly Bucket: string; readonly Key: string } {
    return { Bucket: this.#settings.bucket, Key: fullKey(this.#settings.prefix, key) };
  }

  #put(key: string, bytes: Uint8Array, condition: object): PutObjectCommand {
    return new PutObjectCommand({
      ...this.#object(key),
      ...condition,
      Body: bytes,
      ContentType: "application/octet-stream",
      CacheControl: "no-store",
    });
  }

  #asked(what: string): Asked {
    return { store: this.name, what, tellsTime: this.capabilities.time };
  }

  /** Makes one request, and reads a body that is bytes to its end. */
  async #send(
    command: Command,
    bytesSent: number,
  ): Promise<{ readonly outcome: HttpOutcome; readonly output?: Output; readonly bytes?: Uint8Array }> {
    const attempt = new SingleAttempt();
    const headers = command instanceof PutObjectCommand ? {} : UNCACHED;
    // The client's types have one overload a command, of which a union fits none.
    const sent = command as GetObjectCommand;
    sent.middlewareStack.add((next) => (args) => attempt.run(args, next, headers), {
      step: "finalizeRequest",
      priority: "low",
      name: "foliokvSingleAttempt",
    });
    const deadline = new Deadline(this.#settings.requestTimeoutMs, bytesSent);
    let output: Output | undefined;
    try {
      const options = { abortSignal: deadline.signal };
      output = (await deadline.race(this.#client.send(sent, options))) as Output;
      if (!(command instanceof GetObjectCommand)) return { outcome: outcomeOf(attempt), output };
      deadline.extend(Number(attempt.header("content-length") ?? 0));
      const bytes = await deadline.race((output.Body as Body).transformToByteArray());
      return { outcome: outcomeOf(attempt), output, bytes };
    } catch (thrown) {
      discard(output?.Body);
      const outcome = failureOf(attempt, attempt.failure(thrown));
      if (attempt.hasBegun || thrown instanceof DeadlinePassed) return { outcome };
      return { outcome: { ...outcome, unsent: await this.#missing(deadline, outcome.code) } };
    } finally {
      deadline.clear();
    }
  }

  /** What the client had to ask its surroundings for, where it has sent nothing. By their names errors tell it of the SDK's own providers only. */
  async #missing(deadline: Deadline, name: string): Promise<"credential" | "request"> {
    const { region, credentials } = (this.#client as Partial<S3Client>).config ?? {};
    const isAway = (ask: (() => Promise<unknown>) | undefined): Promise<boolean> =>
      deadline.race(isRejected(ask)).catch(() => true);
    if (await isAway(region)) return "request";
    return /credential/i.test(name) || (await isAway(credentials)) ? "credential" : "request";
  }
}

async function isRejected(ask: (() => Promise<unknown>) | undefined): Promise<boolean> {
  try {
    await ask?.();
    return false;
  } catch {
    // Why has been told already: this is what the client has asked for too.
    return true;
  }
}

/** Lets go of a body that nobody will read to its end, and of its connection. */
function discard(body: Body | undefined): void {
  if (body?.destroy !== undefined) body.destroy();
  // What is wrong with it has been told already.
  else body?.cancel?.().catch(() => undefined);
}

function outcomeOf(attempt: SingleAttempt): HttpOutcome {
  return { status: attempt.status ?? 200, header: (name) => attempt.header(name), code: "", message: "" };
}

function failureOf(attempt: SingleAttempt, cause: unknown): HttpOutcome {
  const header = (name: string): string | undefined => attempt.header(name);
  const { name = "", message = "" } = cause instanceof Error ? cause : {};
  if (cause instanceof DeadlinePassed) return { status: undefined, header, code: "", message, cause };
  if (!attempt.hasBegun) return { status: undefined, header, code: name, message, cause };
  const { status } = attempt;
  if (status === undefined || status < 300) return { status: undefined, header, code: "", message, cause };
  return { status, header, code: name, message, cause };
}
