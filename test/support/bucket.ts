import { countingStore, type CountingStore } from "../../src/adapters/object/counting-store.ts";
import { objectLedger, type ObjectLedgerOptions } from "../../src/adapters/object/ledger.ts";
import { memoryStore } from "../../src/adapters/object/memory-store.ts";
import type { ObjectStore, StoreRequest } from "../../src/adapters/object/object-store.ts";
import { RootObject } from "../../src/adapters/object/root-object.ts";
import type { Root } from "../../src/adapters/object/root.ts";
import { KVError } from "../../src/core/errors.ts";
import type {
  AppendResult,
  CommitRecord,
  LedgerCommit,
  LedgerOpenOptions,
  LedgerSession,
} from "../../src/core/ledger.ts";
import { FaultyStore, type StoreFate } from "../../src/testing/faulty-store.ts";
import { ManualEnvironment } from "./manual-environment.ts";

/** A bucket in simulated time, with faults on the way to it, and requests counted. */
export class Bucket {
  readonly environment = new ManualEnvironment();
  readonly store: ObjectStore;
  readonly faulty: FaultyStore;
  readonly counting: CountingStore;
  /** Every request that was sent, as `kind key status`. */
  readonly requests: string[] = [];
  /** How much the store's clock is behind everybody else's. */
  setBackMs = 0;
  #authors = 0;

  constructor(options: { readonly tellsTime?: boolean } = {}) {
    const now = (): number => this.environment.now() - this.setBackMs;
    this.store = memoryStore(options.tellsTime === false ? {} : { now });
    this.faulty = new FaultyStore(this.store, { environment: this.environment });
    this.counting = countingStore(this.faulty, ({ kind, keys }, status) => {
      this.requests.push(`${kind} ${keys.map(shortKey).join()} ${status}`);
    });
  }

  /** Opens the ledger; requests that takes are not listed. */
  async open(
    options: Partial<LedgerOpenOptions> & ObjectLedgerOptions & { readonly store?: ObjectStore } = {},
  ): Promise<Author> {
    const { store = this.counting, createIfMissing = true, readOnly = false, repair = false, ...others } = options;
    const ledger = objectLedger(store, others);
    const session = await this.environment.until(
      ledger.open({ createIfMissing, readOnly, repair, allowNetworkFileSystem: false, environment: this.environment }),
    );
    this.requests.length = 0;
    return new Author(this, session, ++this.#authors);
  }

  /** Whatever befalls the next requests that `wants` is true of, one fate after the other. */
  befalls(wants: (request: StoreRequest) => boolean, fates: readonly StoreFate[]): void {
    const left = [...fates];
    this.faulty.fate = (request) => (wants(request) ? left.shift() : undefined);
  }

  /** Changes the root as somebody else would. */
  async changeRoot(change: (root: Root) => Partial<Root>): Promise<void> {
    const rootObject = new RootObject(this.store, this.environment);
    const found = await rootObject.read();
    if (found.status !== "found") throw new Error("there is no root");
    const replaced = await rootObject.replace(found, { ...found.root, ...change(found.root) });
    if (replaced.status !== "replaced") throw new Error(replaced.status);
  }

  /** As if a run, which nobody can read, covered the slots up to this one. They need not exist any more with `isFloor`. */
  async pretendCheckpoint(slot: number, options: { readonly isFloor: boolean }): Promise<void> {
    const run = { epoch: 0, from: 1, to: slot, random: "0".repeat(16), size: 100, footerPlace: 10, batchIds: 0 };
    const floor = options.isFloor ? { previousCheckpointSlot: slot, floor: slot } : {};
    await this.changeRoot(() => ({ runs: [run], checkpointSlot: slot, tailHint: slot, ...floor }));
  }

  async root(): Promise<Root> {
    const found = await new RootObject(this.store, this.environment).read();
    if (found.status !== "found") throw new Error("there is no root");
    return found.root;
  }
}

/** One session, and how far it has read. */
export class Author {
  readonly session: LedgerSession;
  readonly writer: Uint8Array;
  position: number;
  /** Of the last commit before the position. */
  lastVersion = 0;
  /** What was read. */
  readonly commits: LedgerCommit[] = [];
  readonly #bucket: Bucket;
  #counter = 0;

  constructor(bucket: Bucket, session: LedgerSession, number: number) {
    this.#bucket = bucket;
    this.session = session;
    this.writer = new Uint8Array(12).fill(number);
    this.position = session.start;
  }

  commit(content = 1, length = 10): CommitRecord {
    const payload = new Uint8Array(length).fill(content);
    return { writer: this.writer, counter: ++this.#counter, timestamp: 1_700_000_000_000, payload };
  }

  /** Begins with the state that the ledger keeps, as the engine does. */
  async begin(): Promise<this> {
    const state = await this.session.openState?.();
    this.position = state?.position ?? this.session.start;
    this.lastVersion = state?.version ?? 0;
    return this;
  }

  /** One append, as it is answered. */
  async append(...commits: readonly CommitRecord[]): Promise<AppendResult> {
    const result = await this.#bucket.environment.until(Promise.resolve(this.session.append(commits, this.position)));
    if (result.status === "appended") {
      this.position = result.next;
      this.lastVersion = result.versions.at(-1) ?? this.lastVersion;
    }
    return result;
  }

  /** Appends until it is done, following where somebody else was first. */
  async write(...commits: readonly CommitRecord[]): Promise<void> {
    for (let left = commits; left.length > 0;) {
      const result = await this.append(...left);
      if (result.status === "appended") left = left.slice(result.versions.length);
      else await this.follow();
    }
  }

  /** Reads to the end. Returns the last status. */
  async follow(): Promise<string> {
    for (let verify = true; ; verify = false) {
      const read = await this.#bucket.environment.until(
        Promise.resolve(this.session.read(this.position, { bytes: 1 << 16, verify })),
      );
      this.commits.push(...read.commits);
      this.position = read.next;
      this.lastVersion = read.commits.at(-1)?.version ?? this.lastVersion;
      if (read.status !== "more") return read.status;
    }
  }
}

/** The code and outcome that a promise rejects with. */
export async function failure(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof KVError) return [error.code, error.outcome].filter((each) => each !== undefined).join(", ");
    throw error;
  }
  return "nothing";
}

export const isCreateOfSlot = ({ kind, keys }: StoreRequest): boolean => kind === "create" && /\/log\//.test(keys[0]);
export const isGetOfSlot = ({ kind, keys }: StoreRequest): boolean => kind === "get" && /\/log\//.test(keys[0]);
export const isGetOfRoot = ({ kind, keys }: StoreRequest): boolean => kind === "get" && keys[0] === "root";

/** `root`, or the folder and the number without its zeros. */
function shortKey(key: string): string {
  return key.replace(/^[0-9a-f]{32}\//, "").replace(/\/0+(?=\d)/, "/");
}
