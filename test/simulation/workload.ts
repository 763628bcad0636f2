import type { Entry } from "../../src/core/entry.ts";
import type { HistoryEntry } from "../../src/core/history.ts";
import { encodeKey, type Key } from "../../src/core/key.ts";
import type { Consistency } from "../../src/core/options.ts";
import type { Query } from "../../src/core/query.ts";
import type { Transaction } from "../../src/core/transaction.ts";
import { type Client, entryFits } from "./client.ts";
import type { Combine } from "./journal.ts";
import { isHistory, type Listing, listingFits, rowsOf } from "./listing.ts";
import type { Profile } from "./profile.ts";
import type { Random } from "./random.ts";

/** What programs do with a database, drawn at random: each function is one thing to do. */

type Action = (client: Client) => Promise<unknown>;

/** Does `count` things one after the other, some without waiting for the end. */
export async function work(
  client: Client,
  count: number,
  profile: Pick<Profile, "vacuum" | "abort" | "keepHistory">,
): Promise<void> {
  const { process } = client;
  const { random } = process;
  const pace = random.pick([0, 2, 20]);
  const begun: Promise<unknown>[] = [];
  for (let i = 0; i < count && client.isOpen; i++) {
    if (random.chance(0.7)) await process.sleep(random.next() * pace);
    if (!client.isOpen) break;
    const action =
      random.chance(profile.vacuum) && client.mayVacuum
        ? vacuum(client, profile)
        : random.pick(actionsFor(client))(client);
    begun.push(action);
    if (client.inTransaction || random.chance(0.6)) await action;
  }
  await Promise.all(begun);
}

function actionsFor(client: Client): readonly Action[] {
  if (!client.log.indexed) return [set, set, remove, burst, sync, scan];
  return client.log.readOnly ? readers : everything;
}

const readers: readonly Action[] = [get, get, list, list, iterate, many, sync, strongGet, together, count, scan];
// prettier-ignore
const everything: readonly Action[] = [
  ...readers, set, set, set, set, burst, burst, remove, expiring, checked, checked, combined, combined, mismatching,
  increment, increment, ranged, staged, staged, removeAll, readBack, pipelined,
];

// --- keys and values ---------------------------------------------------------------------------------------------------

function anyKey(client: Client): Key {
  const { random } = client.process;
  return random.pick<Key>([
    ["k", random.between(0, 4)],
    ["k", random.between(0, 4), "below"],
    ["c", random.between(0, 1)],
    ["s", random.between(0, 1)],
    ["e", random.between(0, 2)],
  ]);
}

const plainKey = (client: Client): Key => ["k", client.process.random.between(0, 4)];

/** A value with a name in it that occurs in no other commit. Some hold bytes of the ledger itself. */
function valueOf(client: Client, token: string): unknown {
  const { random } = client.process;
  const kind = random.next();
  if (kind < 0.4) return { t: token, v: random.between(0, 99) };
  if (kind < 0.6) return { t: token, v: "x".repeat(random.between(0, 400)) };
  if (kind < 0.65) return { t: token, v: "y".repeat(random.between(1000, 9000)) };
  if (kind < 0.75) return { t: token, v: new Uint8Array(random.between(0, 60)) };
  return { t: token, v: ledgerBytes(client) };
}

const MARKER = Uint8Array.of(0xfc, 0x66, 0x6f, 0x6c, 0x69, 0x6f, 0x6b, 0x76);

/** A piece of the file as it is, from some frame on, or a marker that announces nothing. */
function ledgerBytes(client: Client): Uint8Array {
  const { random } = client.process;
  const file = client.world.disk.lookup(client.ledger.name);
  const bytes = Buffer.from(file?.read(undefined, 0, file.size(undefined)) ?? []);
  const from = bytes.indexOf(MARKER, random.between(0, bytes.length));
  if (from < 0 || random.chance(0.2))
    return Uint8Array.from([...random.bytes(random.between(0, 9)), ...MARKER, ...random.bytes(9)]);
  return Uint8Array.from(bytes.subarray(from, from + random.between(8, 400)));
}

// --- writes ------------------------------------------------------------------------------------------------------------

function set(client: Client): Promise<unknown> {
  const token = client.newToken();
  const key = plainKey(client);
  return client.write(`set ${key.join("/")}`, token, [key], () => client.db.set(key, valueOf(client, token)));
}

async function burst(client: Client): Promise<unknown> {
  const writes: Promise<unknown>[] = [];
  const { random } = client.process;
  client.issuing++;
  for (let i = random.between(2, 20); i > 0 && client.isOpen; i--) {
    writes.push(random.chance(0.9) ? set(client) : remove(client));
    if (random.chance(0.1)) await Promise.resolve();
  }
  client.issuing--;
  return Promise.all(writes);
}

function remove(client: Client): Promise<unknown> {
  const key = plainKey(client);
  return client.write(`delete ${key.join("/")}`, undefined, [key], () => client.db.delete(key));
}

function expiring(client: Client): Promise<unknown> {
  const token = client.newToken();
  const key = ["e", client.process.random.between(0, 2)];
  const expireIn = client.process.random.between(1, 400);
  return client.write(`set ${key.join("/")} for ${expireIn}`, token, [key], () =>
    client.db.set(key, { t: token }, { expireIn }),
  );
}

/** Get, then set if nothing has changed. */
async function checked(client: Client): Promise<unknown> {
  const key = anyKey(client);
  const entry = await client.get(key);
  if (entry === undefined || !client.isOpen) return;
  const token = client.newToken();
  if (client.process.random.chance(0.3)) await client.process.sleep(client.process.random.next() * 5);
  if (!client.isOpen) return;
  const target = plainKey(client);
  return client.write(
    `check ${key.join("/")} at ${entry?.version ?? 0}, set ${target.join("/")}`,
    token,
    [target],
    (write) => {
      write.reads = new Map([[encodeKey(key), entry?.version ?? 0]]);
      return client.db
        .atomic()
        .check({ key, version: entry?.version ?? null })
        .set(target, valueOf(client, token))
        .commit();
    },
  );
}

function combined(client: Client): Promise<unknown> {
  const { random } = client.process;
  const token = client.newToken();
  const key = ["s", random.between(0, 1)];
  const mark = ["k", 9, client.process.name];
  return client.write(`sum ${key.join("/")}`, token, [key, mark], (write) => {
    const combine = { key: encodeKey(key), ...anyCombine(random, key[1] === 0) };
    const { kind, operand, expireIn } = combine;
    write.combines = [combine];
    const atomic = client.db.atomic();
    if (expireIn === 0) atomic[kind](key, operand);
    else atomic[kind](key, operand, { expireIn });
    return atomic.set(mark, { t: token }).commit();
  });
}

function anyCombine(random: Random, ofFloats: boolean): Omit<Combine, "key"> {
  const kind = random.between(1, 4);
  if (ofFloats) return { kind: "sum", operand: random.between(-5, 9) / 4, expireIn: 0 };
  if (kind === 1) return { kind: "min", operand: BigInt(random.between(-99, 99)), expireIn: 0 };
  if (kind === 2) return { kind: "max", operand: BigInt(random.between(-99, 99)), expireIn: random.between(1, 300) };
  return { kind: "sum", operand: BigInt(random.between(-9, 9)) * 10n ** 18n, expireIn: 0 };
}

/** Often void: what is stored is no number, or one of the other kind. */
function mismatching(client: Client): Promise<unknown> {
  const { random } = client.process;
  const token = client.newToken();
  const key = anyKey(client);
  const target = plainKey(client);
  return client.write(`max ${key.join("/")}, set ${target.join("/")}`, token, [key, target], (write) => {
    const operand = random.between(0, 9);
    // What it has just set itself is no number.
    if (key.join() !== target.join()) write.combines = [{ kind: "max", key: encodeKey(key), operand, expireIn: 0 }];
    return client.db.atomic().set(target, { t: token }).max(key, operand).commit();
  });
}

/** Read, add one, write: none of them may be lost. */
function increment(client: Client): Promise<unknown> {
  const key = ["c", client.process.random.between(0, 1)];
  return inTransaction(client, `increment ${key.join("/")}`, async (transaction, token, noteRead) => {
    const entry = await transaction.getEntry<{ n?: number }>(key);
    noteRead(key, entry);
    if (client.process.random.chance(0.2)) await client.process.sleep(client.process.random.next() * 3);
    transaction.set(key, { t: token, n: (entry?.value.n ?? 0) + 1 });
  });
}

/** Reads a range, writes what it has found. */
function ranged(client: Client): Promise<unknown> {
  const sum: Combine = { kind: "sum", key: encodeKey(["s", 0]), operand: 1, expireIn: 0 };
  const run: TransactionWork = async (transaction, token, noteRead) => {
    const entries = await transaction.listAll(["k"], { limit: client.process.random.between(1, 9) });
    for (const entry of entries) noteRead(entry.key, entry);
    transaction.set(["k", 8], { t: token, n: entries.length });
    transaction.sum(["s", 0], 1);
  };
  return inTransaction(client, "sum up k", run, [sum]);
}

type TransactionWork = (
  transaction: Transaction,
  token: string,
  noteRead: (key: Key, entry: Entry | null) => void,
) => Promise<void>;

function inTransaction(
  client: Client,
  what: string,
  run: TransactionWork,
  combines: readonly Combine[] = [],
): Promise<unknown> {
  const token = client.newToken();
  return client.write(
    what,
    token,
    [],
    (write) =>
      client.db.transaction(async (transaction) => {
        const reads = new Map<string, number>();
        await run(transaction, token, (key, entry) => reads.set(encodeKey(key), entry?.version ?? 0));
        write.reads = reads;
        write.combines = combines;
      }),
    { queued: false },
  );
}

/** Several writes that take effect together, with reads that see them before anybody else does. */
async function staged(client: Client): Promise<unknown> {
  const { db, process } = client;
  const { random } = process;
  // Writes that others are about to make would belong to it.
  if (client.inTransaction || client.issuing > 0) return;
  client.inTransaction = true;
  try {
    await db.beginTransaction();
  } catch (error) {
    client.inTransaction = false;
    return client.isOpen ? process.fail(`beginTransaction: ${String(error)}`) : undefined;
  }
  const token = client.newToken();
  const keys: Key[] = [];
  for (let i = random.between(0, 6); i > 0 && client.isOpen; i--) {
    const key = plainKey(client);
    const value = { t: token, i };
    keys.push(key);
    if (random.chance(0.5)) await db.set(key, value);
    else void db.set(key, value);
    if (random.chance(0.3)) await process.sleep(random.next() * 5);
    if (!client.isOpen) break;
    const got = await db.get<{ i: number }>(key);
    if (got?.i !== i) process.fail(`an open transaction does not see its own write of ${key.join("/")}`);
  }
  client.inTransaction = false;
  if (!client.isOpen) return;
  if (random.chance(0.2)) return db.abortTransaction();
  if (keys.length === 0) return db.endTransaction();
  return client.write(`transaction of ${keys.length}`, token, keys, () => db.endTransaction());
}

function removeAll(client: Client): Promise<unknown> {
  const query = client.process.random.pick<Query>([["k", {}, "below"], ["k", { from: 2, to: 3 }], ["e"]]);
  const listing = { query, limit: Infinity, reverse: false, order: "key" } as const;
  return client.deleteAll(
    `deleteAll ${show(query)}`,
    () => client.db.deleteAll(query),
    (model, version) => rowsOf(listing, model, version, { from: 0, to: 0 })?.map(({ key }) => key) ?? [],
  );
}

// --- reads -------------------------------------------------------------------------------------------------------------

function get(client: Client): Promise<unknown> {
  return client.get(anyKey(client));
}

function strongGet(client: Client): Promise<unknown> {
  return client.get(anyKey(client), { strong: true });
}

/** Several reads in a transaction that writes nothing. */
function together(client: Client): Promise<unknown> {
  const keys = [anyKey(client), anyKey(client)];
  const listing = anyListing(client);
  const { query, ...options } = listing;
  return client.read(
    `transaction of reads ${keys.map((key) => key.join("/")).join(" ")} ${show(query)} ${show(options)}`,
    () =>
      client.db.transaction(async (transaction) => ({
        entries: await transaction.getMany(keys),
        listed: await transaction.listAll(query, options),
      })),
    ({ entries, listed }, model, version, clock) =>
      entries.every((entry, i) => entryFits(entry, model, encodeKey(keys[i]), version, clock)) &&
      listingFits(listed, listing, model, version, clock),
    { strong: true, late: true },
  );
}

/** What was just written, without having waited for it. */
function readBack(client: Client): Promise<unknown> {
  const key = plainKey(client);
  const token = client.newToken();
  const write = client.write(`set ${key.join("/")}`, token, [key], () => client.db.set(key, valueOf(client, token)));
  return Promise.all([write, client.get(key)]);
}

/** Writes and reads of the same few keys, none of which waits for the one before. */
async function pipelined(client: Client): Promise<unknown> {
  const { random } = client.process;
  const calls: Promise<unknown>[] = [];
  client.issuing++;
  for (let i = random.between(3, 12); i > 0 && client.isOpen; i--) {
    calls.push(random.pick([set, set, remove, get, many, count, list])(client));
    if (random.chance(0.1)) await Promise.resolve();
  }
  client.issuing--;
  return Promise.all(calls);
}

function many(client: Client): Promise<unknown> {
  const keys = [anyKey(client), anyKey(client), anyKey(client)];
  const how = anyConsistency(client);
  return client.read(
    `getMany ${keys.map((key) => key.join("/")).join(" ")} ${how.consistency}`,
    () => client.db.getMany(keys, { consistency: how.consistency }),
    (entries, model, version, clock) =>
      entries.every((entry, i) => entryFits(entry, model, encodeKey(keys[i]), version, clock)),
    how,
  );
}

/** Whoever reads strongly sees what anybody was told before the read began. */
function anyConsistency(client: Client): { readonly consistency: Consistency; readonly strong: boolean } {
  const strong = client.process.random.chance(0.3);
  return { consistency: strong ? "strong" : "eventual", strong };
}

function anyListing(client: Client): Listing {
  const { random } = client.process;
  return {
    query: random.pick<Query>([
      [],
      ["k"],
      ["k", {}, "below"],
      ["k", { from: 1, to: 3 }],
      ["c"],
      ["e"],
      ["k", 2],
      [{ to: "d" }, 1],
    ]),
    limit: random.chance(0.5) ? Infinity : random.between(0, 5),
    reverse: random.chance(0.3),
    order: random.chance(0.2) ? "version" : "key",
  };
}

function list(client: Client): Promise<unknown> {
  const listing = anyListing(client);
  const { query, ...options } = listing;
  const how = anyConsistency(client);
  return client.read(
    `listAll ${show(query)} ${show(options)} ${how.consistency}`,
    () => client.db.listAll(query, { ...options, consistency: how.consistency }),
    (entries, model, version, clock) => listingFits(entries, listing, model, version, clock),
    how,
  );
}

function count(client: Client): Promise<unknown> {
  const listing = { ...anyListing(client), limit: Infinity };
  const how = anyConsistency(client);
  return client.read(
    `count ${show(listing.query)} ${how.consistency}`,
    () => client.db.count(listing.query, { consistency: how.consistency }),
    (found, model, version, clock) => {
      const rows = rowsOf(listing, model, version, clock);
      return rows === undefined || rows.length === found;
    },
    how,
  );
}

/** Takes its time, and sees one version all the while. */
async function iterate(client: Client): Promise<void> {
  const listing = { ...anyListing(client), order: "key" as const };
  const { query, ...options } = listing;
  const how = anyConsistency(client);
  const iterator = client.db.iterate(query, { ...options, consistency: how.consistency });
  const entries: Entry[] = [];
  // Only when all have come can they be compared with the version that the first one was read at.
  let complete = false;
  const first = await client.read(
    `iterate ${show(query)} ${show(options)} ${how.consistency}`,
    () => iterator.next(),
    (_, model, version, clock) => !complete || listingFits(entries, listing, model, version, clock),
    how,
  );
  if (first?.done === false) entries.push(first.value);
  for (let done = first === undefined || first.done === true; !done;) {
    await client.process.sleep(client.process.random.next() * (client.process.random.chance(0.1) ? 100 : 4));
    try {
      const next = await iterator.next();
      done = next.done === true;
      if (next.done !== true) entries.push(next.value);
    } catch (error) {
      if (client.isOpen) client.allow("iterate", error);
      return;
    }
  }
  complete = true;
}

/** The whole history of some keys, read from the file anew. */
function scan(client: Client): Promise<unknown> {
  const { query } = anyListing(client);
  return client.read(
    `scan ${show(query)}`,
    async () => {
      const entries: HistoryEntry[] = [];
      for await (const entry of client.db.scan(query)) {
        entries.push(entry);
        if (client.process.random.chance(0.02)) await client.process.sleep(client.process.random.next());
      }
      return entries;
    },
    // Which generation it found is not told.
    (entries, model, version) => model.bases.some((base) => isHistory(entries, query, model, base, version)),
    { asIs: true },
  );
}

function sync(client: Client): Promise<unknown> {
  return client.sync();
}

/** Now and then given up in the middle. */
function vacuum(client: Client, profile: Pick<Profile, "abort" | "keepHistory">): Promise<unknown> {
  const { random } = client.process;
  const keepHistory = random.chance(0.5) ? { commits: random.between(0, 40) } : { forMs: random.next() * 300 };
  const controller = new AbortController();
  if (random.chance(profile.abort)) client.process.later("abort", random.next() * 10, () => controller.abort());
  return client.vacuum({ signal: controller.signal, ...(random.chance(profile.keepHistory) ? { keepHistory } : {}) });
}

const show = (value: unknown): string => JSON.stringify(value);
