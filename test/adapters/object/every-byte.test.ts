import { expect, test } from "vitest";
import { objectLedger } from "../../../src/adapters/object/ledger.ts";
import { memoryStore } from "../../../src/adapters/object/memory-store.ts";
import type { ObjectStore } from "../../../src/adapters/object/object-store.ts";
import { fileWork } from "../../../src/core/file-work.ts";
import { CoreKV } from "../../../src/core/kv.ts";
import { Bucket } from "../../support/bucket.ts";
import { openDatabase, setKeys } from "../../support/bucket-database.ts";

/**
 * Every byte of every kind of object is changed, and every object cut at each of its bytes. Whatever that does: what is read is right, or there is an
 * error with a code; and a repair leads to a database that can be read and written.
 */

const COUNT = 20;
/** Whose value lies in an object of its own, where that is what is ruined. */
const LARGE = 18;
const LARGE_VALUE = "v".repeat(262_144);
/** Changed and cut at so many places at most, if an object is larger. */
const PLACES_MAX = { root: 400, log: 400, run: 400, staged: 20 } as const;

type Kind = keyof typeof PLACES_MAX;

const valueOf = (i: number, kind: Kind): unknown => (i === LARGE && kind === "staged" ? LARGE_VALUE : i);

/** A bucket as it was, before anything in it is ruined. */
interface Scene {
  readonly kind: Kind;
  readonly bucket: Bucket;
  readonly objects: ReadonlyMap<string, Uint8Array>;
}

/** A checkpoint of 16 slots and four slots behind it, the third of which may refer to a large value. */
async function made(kind: Kind): Promise<Scene> {
  const bucket = new Bucket();
  const db = await openDatabase(bucket);
  await setKeys(bucket, db, 0, LARGE);
  await bucket.environment.until(db.set(["k", LARGE], valueOf(LARGE, kind)));
  await setKeys(bucket, db, LARGE + 1, COUNT);
  await bucket.environment.until(db.close());
  const listed = await bucket.store.list("");
  if (listed.status !== "listed") throw new Error(listed.status);
  const objects = new Map<string, Uint8Array>();
  for (const { key } of listed.objects) {
    const found = await bucket.store.get(key);
    if (found.status === "found") objects.set(key, found.bytes);
  }
  return { kind, bucket, objects };
}

function* ruins(
  bytes: Uint8Array,
  placesMax: number,
): Generator<readonly [how: string, bytes: Uint8Array | undefined]> {
  yield ["gone", undefined];
  const step = Math.max(1, Math.floor(bytes.length / placesMax));
  for (let at = 0; at < bytes.length; at += step) {
    const changed = bytes.slice();
    changed[at] ^= 1 << (at % 8);
    yield [`changed at ${at}`, changed];
    yield [`cut at ${at}`, bytes.subarray(0, at)];
  }
}

/** What a database says of itself. */
interface Seen {
  readonly db: CoreKV;
  /** Codes of errors that it has told of, or failed with; of what is no error of the library its text. */
  readonly codes: ReadonlySet<string>;
  /** Keys that are not there. */
  readonly missing: readonly number[];
}

async function see(
  { bucket, kind }: Scene,
  store: ObjectStore,
  options: { readonly readOnly?: boolean; readonly repair?: boolean },
): Promise<Seen> {
  const { environment } = bucket;
  const ledgerAt = (): never => {
    throw new Error("there are no files here");
  };
  const db = new CoreKV({ autoSync: false }, { environment, ledgerAt, fileWork });
  const codes = new Set<string>();
  const tell = (error: unknown): void => void codes.add((error as { code?: string }).code ?? String(error));
  db.on("error", tell);
  const missing: number[] = [];
  const check = (i: number, value: unknown): void => {
    if (value === null) missing.push(i);
    else if (value !== valueOf(i, kind))
      throw new Error(`${JSON.stringify(value).slice(0, 100)} instead of value ${i}`);
  };
  try {
    await environment.until(db.open(objectLedger(store), options));
    const all = Array.from({ length: COUNT }, (_, i) => i);
    const entries = await environment.until(db.getMany(all.map((i) => ["k", i])).catch(tell));
    for (const i of all) {
      const value = entries === undefined ? await environment.until(db.get(["k", i]).catch(tell)) : entries[i]?.value;
      if (value !== undefined || entries !== undefined) check(i, value ?? null);
    }
  } catch (error) {
    if ((error as { code?: string }).code === undefined) throw error;
    tell(error);
  }
  return { db, codes, missing };
}

/** The last two for a root that seems to be something else, or is gone. */
const CODES = ["LedgerDamaged", "NotALedger", "LedgerMissing"];

async function survives(scene: Scene, key: string, ruined: Uint8Array | undefined): Promise<void> {
  const { bucket, objects } = scene;
  const store = memoryStore({ now: bucket.environment.now });
  for (const [each, bytes] of objects) {
    const content = each === key ? ruined : bytes;
    if (content !== undefined) await store.create(each, content);
  }
  const { environment } = bucket;
  const first = await see(scene, store, { readOnly: true });
  await environment.until(first.db.close());
  expect(CODES).toEqual(expect.arrayContaining([...first.codes]));
  // What is missing is never missing without a word.
  if (first.codes.size === 0) expect(first.missing).toEqual([]);
  const opened = await see(scene, store, { repair: true });
  // Opening looks at no more than it needs.
  if (first.codes.size === 0 || opened.codes.size > 0) {
    const report = await environment.until(opened.db.repair());
    if (first.codes.size === 0) expect(report).toMatchObject({ dropped: [], generation: 1 });
  }
  await environment.until(opened.db.set(["new"], 1));
  await environment.until(opened.db.close());
  const repaired = await see(scene, store, {});
  expect([...repaired.codes]).toEqual([]);
  expect(await environment.until(repaired.db.get(["new"]))).toBe(1);
  await environment.until(repaired.db.close());
}

const kindOf = (key: string): string => /\/(log|run|staged)\//.exec(key)?.[1] ?? key;

test.each(["root", "log", "run", "staged"] as const)(
  "any byte of a bucket's objects: %s",
  { timeout: 300_000 },
  async (kind) => {
    const scene = await made(kind);
    for (const [key, bytes] of scene.objects) {
      if (kindOf(key) !== kind) continue;
      const slot = kind === "log" ? Number(key.slice(-12)) : undefined;
      // The checkpoint's, and the last.
      if (slot !== undefined && slot !== 16 && slot !== COUNT) continue;
      for (const [how, ruined] of ruins(bytes, PLACES_MAX[kind])) {
        // That the last slot is not there, nothing tells.
        if (slot === COUNT && ruined === undefined) continue;
        try {
          await survives(scene, key, ruined);
        } catch (error) {
          throw new Error(`${key} ${how}`, { cause: error });
        }
      }
    }
  },
);
