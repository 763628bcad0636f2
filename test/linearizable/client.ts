import { setTimeout as delay } from "node:timers/promises";
import { type AtomicResult, type Entry, type KV, KVError, type Transaction } from "../../src/index.node.ts";
import type { Random } from "../simulation/random.ts";
import type { Change, Check, Observation, Operation, Recorder, Result } from "./history.ts";

/** A value that is set is a multiple of this. What is added is far less, and what `min` and `max` are given lies half-way: so nothing comes to the same. */
const STEP = 1_000_000;
const ADDED_MAX = 9;
const TRANSACTION_MS_MAX = 10_000;
/** How long a transaction may rest between what it reads and what it writes. */
const REST_MS_MAX = 5;

export interface ClientOptions {
  readonly random: Random;
  readonly keys: "single" | "several";
  readonly keyCount: number;
  /** No other client of the run has it. */
  readonly number: number;
  /** Bytes that a witness holds at most, so that frames of all sizes are written. */
  readonly witnessBytesMax: number;
  readonly thinkMsMax: number;
  readonly readOnly: boolean;
  /** Nobody else uses the instance: whoever did would join a transaction of the whole instance. */
  readonly isAlone: boolean;
  /** Whether a read may be refused by what lies underneath. */
  readonly readsMayFail: boolean;
  /** Called with whatever must not be, and is no matter of order. */
  readonly problem: (text: string) => void;
}

type Reads = readonly Observation[];

/** Makes one call after the other, draws which, and records them. */
export class Client {
  readonly #db: KV;
  readonly #recorder: Recorder;
  readonly #options: ClientOptions;
  readonly #random: Random;
  /** The version that it last saw of each key; 0 is absent. */
  readonly #seen = new Map<number, number>();
  #values = 0;

  constructor(db: KV, recorder: Recorder, options: ClientOptions) {
    this.#db = db;
    this.#recorder = recorder;
    this.#options = options;
    this.#random = options.random;
  }

  async run(operations: number): Promise<void> {
    const { thinkMsMax } = this.#options;
    for (let i = 0; i < operations; i++) {
      await this.#one();
      if (thinkMsMax > 0 && this.#random.chance(0.5)) await delay(this.#random.next() * thinkMsMax);
    }
  }

  #one(): Promise<void> {
    const { readOnly, isAlone } = this.#options;
    const lot = this.#random.between(1, 100);
    if (readOnly || lot <= 34) return this.#read();
    if (lot <= 40) return this.#pipelined();
    if (lot <= 55) return this.#set();
    if (lot <= 60) return this.#delete();
    if (lot <= 78) return this.#atomic();
    if (lot <= 85 && isAlone) return this.#staged();
    return this.#transaction();
  }

  /** Calls of which none waits for the one before. */
  async #pipelined(): Promise<void> {
    const calls: Promise<void>[] = [];
    for (let i = this.#random.between(3, 8); i > 0; i--) {
      const lot = this.#random.between(1, 10);
      calls.push(lot <= 4 ? this.#set() : lot <= 5 ? this.#delete() : this.#read());
    }
    await Promise.all(calls);
  }

  async #set(): Promise<void> {
    const key = this.#key();
    const value = this.#value();
    const changes: Change[] = [{ key, kind: "set", value }];
    await this.#commit({ kind: "set", keys: [key], changes }, () => this.#db.set(nameOf(key), value));
  }

  async #delete(): Promise<void> {
    const key = this.#key();
    const changes: Change[] = [{ key, kind: "delete", value: 0 }];
    await this.#commit({ kind: "delete", keys: [key], changes }, () => this.#db.delete(nameOf(key)));
  }

  async #atomic(): Promise<void> {
    const keys = this.#someKeys();
    const checks = this.#random.chance(0.5) ? this.#checks(keys) : [];
    const changes = this.#changes(keys);
    await this.#commit({ kind: "atomic", keys, checks, changes, witnessed: true }, (call) => {
      const atomic = this.#db.atomic().set(witnessOf(call), this.#pad());
      for (const { key, version } of checks)
        atomic.check({ key: nameOf(key), version: version === 0 ? null : version });
      for (const change of changes) apply(change, atomic);
      return atomic.commit();
    });
  }

  async #staged(): Promise<void> {
    const keys = this.#someKeys();
    const changes = this.#changes(keys).filter(({ kind }) => kind === "set" || kind === "delete");
    await this.#commit({ kind: "staged", keys, changes, witnessed: true }, async (call) => {
      await this.#db.beginTransaction();
      for (const { key, kind, value } of changes) {
        await (kind === "set" ? this.#db.set(nameOf(key), value) : this.#db.delete(nameOf(key)));
      }
      await this.#db.set(witnessOf(call), this.#pad());
      return await this.#db.endTransaction();
    });
  }

  async #transaction(): Promise<void> {
    const keys = this.#someKeys();
    const writes = this.#random.chance(0.8);
    const lists = keys.length > 1 && this.#random.chance(0.3);
    const operation: Operation = { kind: "transaction", keys: lists ? this.#allKeys() : keys, witnessed: true };
    const call = this.#recorder.call(operation);
    let reads: Reads = [];
    const attempt = async (tx: Transaction): Promise<void> => {
      const entries = lists ? await tx.listAll<number>(["key"]) : await tx.getMany<number>(keys.map(nameOf));
      reads = lists ? this.#listed(entries as Entry<number>[]) : keys.map((key, i) => observed(key, entries[i]));
      if (!writes) return;
      // A key that is missing from a listing may come before the commit.
      if (lists) reads = reads.filter(({ value }) => value !== null);
      if (this.#random.chance(0.3)) await delay(this.#random.next() * REST_MS_MAX);
      const changes = this.#changes(this.#someKeys(keys));
      for (const change of changes) apply(change, tx);
      tx.set(witnessOf(call), this.#pad());
      this.#recorder.attempt(call, reads, changes);
    };
    await this.#settle(call, operation, async () => {
      await this.#db.transaction(attempt, { timeoutMs: TRANSACTION_MS_MAX });
      return writes ? { outcome: "committed" } : { outcome: "read", reads };
    });
  }

  async #read(): Promise<void> {
    const consistency = this.#random.chance(0.6) ? "strong" : "eventual";
    const keys = this.#options.keys === "several" && this.#random.chance(0.7) ? this.#manyKeys() : [this.#key()];
    const call = (): Promise<Reads> => {
      const names = keys.map(nameOf);
      if (keys.length > 1 && keys.length < this.#options.keyCount) {
        const found = this.#db.getMany<number>(names, { consistency });
        return found.then((entries) => keys.map((key, i) => observed(key, entries[i])));
      }
      if (keys.length > 1) return this.#list(consistency);
      if (this.#random.chance(0.4)) {
        const found = this.#db.get<number>(names[0], { consistency });
        return found.then((value) => [{ key: keys[0], value, version: null }]);
      }
      return this.#db.getEntry<number>(names[0], { consistency }).then((entry) => [observed(keys[0], entry)]);
    };
    const operation: Operation = { kind: "read", consistency, keys };
    const id = this.#recorder.call(operation);
    await this.#settle(id, operation, async () => ({ outcome: "read", reads: await call() }));
  }

  async #list(consistency: "strong" | "eventual"): Promise<Reads> {
    if (this.#random.chance(0.5)) return this.#listed(await this.#db.listAll<number>(["key"], { consistency }));
    const entries: Entry<number>[] = [];
    for await (const entry of this.#db.iterate<number>(["key"], { consistency, reverse: true })) {
      entries.push(entry);
      // What comes meanwhile is not for this listing.
      if (this.#random.chance(0.1)) await delay(1);
    }
    return this.#listed(entries);
  }

  async #commit(
    operation: Operation,
    send: (call: string) => Promise<AtomicResult | { readonly version: number | undefined }>,
  ): Promise<void> {
    const call = this.#recorder.call(operation);
    await this.#settle(call, operation, async () => {
      const result = await send(call);
      if ("ok" in result && !result.ok) return { outcome: "conflict" };
      const { version } = result;
      if (version !== undefined) for (const { key, kind } of operation.changes ?? []) this.#see(key, kind, version);
      return { outcome: "committed", version: version ?? 0 };
    });
  }

  async #settle(call: string, { kind }: Operation, work: () => Promise<Result>): Promise<void> {
    let result: Result;
    try {
      result = await work();
    } catch (error) {
      const code = error instanceof KVError ? error.code : String(error);
      const outcome = error instanceof KVError ? error.outcome : undefined;
      const isRead = kind === "read";
      if (isRead ? !this.#options.readsMayFail : outcome === undefined) {
        this.#options.problem(`${call}, a ${kind}, was rejected with ${code}, outcome ${outcome}`);
      }
      result = { outcome: isRead ? "failed" : (outcome ?? "unknown"), code };
    }
    this.#recorder.returned(call, result);
    for (const { key, version } of result.reads ?? []) if (version !== null) this.#seen.set(key, version);
  }

  #see(key: number, kind: Change["kind"], version: number): void {
    this.#seen.set(key, kind === "delete" ? 0 : version);
  }

  /** Such as were seen, and now and then such as were not. */
  #checks(keys: readonly number[]): Check[] {
    const checked = this.#someKeys(keys);
    return checked.map((key) => ({ key, version: this.#random.chance(0.1) ? 0 : (this.#seen.get(key) ?? 0) }));
  }

  #changes(keys: readonly number[]): Change[] {
    return keys.map((key): Change => {
      const kind = this.#random.pick(["set", "set", "sum", "sum", "min", "max", "delete"] as const);
      if (kind === "sum") return { key, kind, value: this.#random.between(-ADDED_MAX, ADDED_MAX) };
      if (kind === "delete") return { key, kind, value: 0 };
      return { key, kind, value: kind === "set" ? this.#value() : this.#value() + STEP / 2 };
    });
  }

  #value(): number {
    return (this.#options.number * 100_000 + ++this.#values) * STEP;
  }

  #pad(): Uint8Array {
    return new Uint8Array(this.#random.between(0, this.#options.witnessBytesMax)).fill(this.#random.between(0, 255));
  }

  #key(): number {
    return this.#random.between(0, this.#options.keyCount - 1);
  }

  #allKeys(): number[] {
    return Array.from({ length: this.#options.keyCount }, (_, key) => key);
  }

  #someKeys(among: readonly number[] = this.#allKeys()): number[] {
    const first = this.#random.pick(among);
    if (this.#options.keys === "single") return [first];
    const others = among.filter((key) => key !== first && this.#random.chance(0.3));
    return [first, ...others];
  }

  #manyKeys(): number[] {
    return this.#random.chance(0.5) ? this.#allKeys() : this.#someKeys();
  }

  #listed(entries: readonly Entry<number>[]): Reads {
    const byKey = new Map(entries.map((entry) => [entry.key[1], entry]));
    return this.#allKeys().map((key) => observed(key, byKey.get(key)));
  }
}

export function nameOf(key: number): [string, number] {
  return ["key", key];
}

export function witnessOf(call: string): [string, string] {
  return ["witness", call];
}

export function observed(key: number, entry: Entry<number> | null | undefined): Observation {
  return { key, value: entry?.value ?? null, version: entry?.version ?? 0 };
}

interface Changeable {
  set(key: [string, number], value: unknown): unknown;
  delete(key: [string, number]): unknown;
  sum(key: [string, number], operand: number): unknown;
  min(key: [string, number], operand: number): unknown;
  max(key: [string, number], operand: number): unknown;
}

function apply({ key, kind, value }: Change, target: Changeable): void {
  if (kind === "delete") target.delete(nameOf(key));
  else target[kind](nameOf(key), value);
}
