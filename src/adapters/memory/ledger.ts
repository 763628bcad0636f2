import { concatenated, toHex } from "../../core/bytes.ts";
import type { Environment } from "../../core/environment.ts";
import { KVError } from "../../core/errors.ts";
import { knownOptions, wrongOption } from "../../core/given-options.ts";
import type {
  AppendResult,
  CommitRecord,
  CopyRequest,
  Ledger,
  LedgerCommit,
  LedgerIdentity,
  LedgerOpenOptions,
  LedgerSession,
  LedgerSnapshot,
  ReadBudget,
  ReadResult,
  ReopenResult,
} from "../../core/ledger.ts";

/** What a commit takes up beside its payload: versions are places, and not dense. */
const HEADER_BYTES = 48;
const PAYLOAD_BYTES_MAX = 65 * 1024 * 1024;

interface Stored {
  /** What it was created from. */
  snapshot: { readonly bytes: Uint8Array; readonly version: number } | undefined;
  readonly commits: LedgerCommit[];
  end: number;
  identity: LedgerIdentity | undefined;
  readonly listeners: Set<() => void>;
}

/** What the ledger is called. */
export interface MemoryLedgerOptions {
  /** In messages and `stats()`. Default "memory". */
  readonly name?: string | undefined;
}

/**
 * A ledger in memory: for tests, and for isolates that keep nothing. Databases opened on the same ledger object see each other as
 * processes on one file do; what it holds goes with the object.
 *
 * @throws InvalidArgumentError `InvalidOption`.
 */
export function memoryLedger(options?: MemoryLedgerOptions): Ledger {
  const { name = "memory" } = knownOptions(options, ["name"], "memoryLedger");
  if (typeof name !== "string") throw wrongOption("memoryLedger", "name", "a text", name);
  const stored: Stored = { snapshot: undefined, commits: [], end: 0, identity: undefined, listeners: new Set() };
  return {
    name,
    ordering: "append",
    open: async (openOptions) => new MemorySession(name, stored, openOptions),
    createFrom: (request) => createFrom(name, stored, request),
  };
}

async function createFrom(name: string, stored: Stored, request: CopyRequest): Promise<{ readonly bytes: number }> {
  const refuseExisting = (): void => {
    if (stored.identity !== undefined) throw new KVError("TargetExists", `${name} was opened already`);
  };
  refuseExisting();
  const chunks: Uint8Array[] = [];
  let length = 0;
  const write = (bytes: Uint8Array): void => {
    chunks.push(bytes);
    length += bytes.length;
    request.progress({ doneBytes: length, ofBytes: Math.max(length, request.expectedBytes) });
  };
  await request.writeRun(write, new Uint8Array(0));
  request.progress({ doneBytes: length, ofBytes: length });
  request.check();
  refuseExisting();
  const { environment, ledgerId, generation, version } = request;
  stored.snapshot = { bytes: concatenated(chunks), version };
  stored.end = version;
  stored.identity = { ledgerId, generation, nonce: toHex(environment.randomBytes(16)) };
  return { bytes: length };
}

class MemorySession implements LedgerSession {
  readonly #name: string;
  readonly #stored: Stored;
  readonly #readOnly: boolean;
  readonly #environment: Environment;
  readonly #subscriptions = new Set<() => void>();
  readonly start: number;
  readonly payloadBytesMax = PAYLOAD_BYTES_MAX;

  constructor(name: string, stored: Stored, { readOnly, environment }: LedgerOpenOptions) {
    this.#name = name;
    this.#stored = stored;
    this.#readOnly = readOnly;
    this.#environment = environment;
    this.start = stored.snapshot?.version ?? 0;
    stored.identity ??= {
      ledgerId: toHex(environment.randomBytes(16)),
      generation: 1,
      nonce: toHex(environment.randomBytes(16)),
    };
  }

  get identity(): LedgerIdentity | undefined {
    return this.#stored.identity;
  }

  read(position: number, budget: ReadBudget): ReadResult {
    const { commits } = this.#stored;
    const found: LedgerCommit[] = [];
    let next = position;
    let bytes = 0;
    let at = firstFrom(commits, position);
    for (; at < commits.length && (found.length === 0 || bytes < budget.bytes); at++) {
      const commit = commits[at];
      found.push({ ...commit, writer: commit.writer.slice(), payload: commit.payload.slice() });
      bytes += commit.payload.length;
      next = endOf(commit);
    }
    return { commits: found, next, status: at < commits.length ? "more" : "end" };
  }

  openSnapshot(): LedgerSnapshot | undefined {
    const { snapshot, identity } = this.#stored;
    if (snapshot === undefined) return undefined;
    const { bytes, version } = snapshot;
    const read = (place: number, length: number): Uint8Array => bytes.subarray(place, place + length);
    const id = `memory-${identity?.nonce}`;
    const run = { id, length: bytes.length, isInMemory: true, smallReads: true, read, close: () => undefined };
    return { run, below: version + 1 };
  }

  append(commits: readonly CommitRecord[], position: number): AppendResult {
    if (this.#readOnly)
      throw new KVError("ReadOnly", `${this.#name} was opened with readOnly`, { outcome: "not committed" });
    for (const { payload } of commits) {
      if (payload.length <= PAYLOAD_BYTES_MAX) continue;
      throw new KVError("CommitTooLarge", `${payload.length} bytes do not fit into one commit`, {
        outcome: "not committed",
      });
    }
    const behind = this.#stored.end === position;
    const versions: number[] = [];
    const places: number[] = [];
    for (const { writer, counter, timestamp, payload } of commits) {
      const version = this.#stored.end + 1;
      const place = version + HEADER_BYTES;
      const commit = { version, place, writer: writer.slice(), counter, timestamp, payload: payload.slice() };
      this.#stored.commits.push(commit);
      this.#stored.end = endOf(commit);
      versions.push(version);
      places.push(place);
    }
    for (const listener of this.#stored.listeners) {
      // Not before the append has returned, and never within it: nobody may be re-entered.
      if (!this.#subscriptions.has(listener))
        this.#environment.macrotask(() => this.#stored.listeners.has(listener) && listener());
    }
    return behind ? { status: "appended", versions, places, next: this.#stored.end } : { status: "read-on" };
  }

  readValue(version: number, place: number, length: number): Uint8Array {
    const commit = this.#stored.commits[firstFrom(this.#stored.commits, version - 1)];
    const from = commit === undefined ? -1 : place - commit.place;
    if (commit?.version !== version || from < 0 || from + length > commit.payload.length) {
      throw new KVError("LedgerDamaged", `${this.#name} has no ${length} bytes at ${place}`, {
        ranges: [{ from: place, to: place + length }],
      });
    }
    return commit.payload.slice(from, from + length);
  }

  hasNews(position: number): boolean {
    return this.#stored.end > position;
  }

  subscribe(listener: () => void): () => void {
    const own = (): void => listener();
    this.#stored.listeners.add(own);
    this.#subscriptions.add(own);
    return () => {
      this.#stored.listeners.delete(own);
      this.#subscriptions.delete(own);
    };
  }

  /** Never needed: memory does not move. */
  reopen(position: number): ReopenResult {
    return { status: "continued", position };
  }

  stats(): Readonly<Record<string, number>> {
    return { commits: this.#stored.commits.length, bytes: this.#stored.end };
  }

  close(): void {
    for (const listener of this.#subscriptions) this.#stored.listeners.delete(listener);
    this.#subscriptions.clear();
  }
}

function endOf(commit: LedgerCommit): number {
  return commit.place + commit.payload.length;
}

/** Index of the first commit that begins at or behind `position`. */
function firstFrom(commits: readonly LedgerCommit[], position: number): number {
  let low = 0;
  let high = commits.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (commits[middle].version <= position) low = middle + 1;
    else high = middle;
  }
  return low;
}
