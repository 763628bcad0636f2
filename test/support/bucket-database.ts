import { objectLedger, type ObjectLedgerOptions } from "../../src/adapters/object/ledger.ts";
import type { ObjectStore } from "../../src/adapters/object/object-store.ts";
import type { CoreKV } from "../../src/core/kv.ts";
import type { KVOptions } from "../../src/core/options.ts";
import type { Bucket } from "./bucket.ts";
import { openWith } from "./database.ts";

/** What a test wants to be otherwise. */
export interface BucketDatabaseOptions extends KVOptions, ObjectLedgerOptions {
  readonly store?: ObjectStore;
}

/** Opens a database on a bucket, in its simulated time. It follows when it is asked to. */
export function openDatabase(bucket: Bucket, options: BucketDatabaseOptions = {}): Promise<CoreKV> {
  const { store = bucket.counting, graceMs, prefix, writers, ...others } = options;
  const own = { graceMs, prefix, writers };
  const given = Object.fromEntries(Object.entries(own).filter(([, value]) => value !== undefined));
  const opening = openWith(bucket.environment, objectLedger(store, given), { autoSync: false, ...others });
  return bucket.environment.until(opening);
}

/** One key after the other, each in a slot of its own. */
export async function setKeys(bucket: Bucket, db: CoreKV, from: number, to: number): Promise<void> {
  for (let i = from; i < to; i++) await bucket.environment.until(db.set(["k", i], i));
}

/** How many requests had to be made one after the other: each takes a second there and back. */
export async function roundsOf<T>(
  bucket: Bucket,
  work: () => Promise<T>,
): Promise<{ readonly result: T; readonly rounds: number }> {
  bucket.faulty.fate = () => ({ delayMs: { there: 1000, back: 0 } });
  const began = bucket.environment.now();
  const result = await bucket.environment.until(work());
  bucket.faulty.fate = () => undefined;
  return { result, rounds: Math.round((bucket.environment.now() - began) / 1000) };
}
