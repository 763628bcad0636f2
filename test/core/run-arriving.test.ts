import { expect, test } from "vitest";
import { BlockCache } from "../../src/core/block-cache.ts";
import { ArrivingBytes, NotLoaded, whenLoaded } from "../../src/core/bytes-at.ts";
import { encodeKey } from "../../src/core/key.ts";
import type { Layer } from "../../src/core/layers.ts";
import { listRows } from "../../src/core/listing.ts";
import type { OrderedCursor } from "../../src/core/ordered-view.ts";
import { compileQuery } from "../../src/core/query.ts";
import type { Row } from "../../src/core/resolve.ts";
import { anyContent, buildRun, lateBytes, openRunAt, seededRandom, toldContent, toldRow } from "../support/runs.ts";
import { macrotask } from "../support/database.ts";
import { Requests } from "../support/requests.ts";

const random = seededRandom(21);
const contents = Array.from({ length: 6000 }, (_, i) => anyContent(encodeKey(["late", i * 2]), random));
const { bytes } = buildRun(contents, { filter: true });

for (const cacheBytes of [0, 10_000, 8 * 1024 * 1024]) {
  test(`bytes that arrive later give the same answers, with ${cacheBytes} bytes of cache`, async () => {
    const late = lateBytes(bytes);
    const cache = new BlockCache(cacheBytes);
    const run = await whenLoaded(() => openRunAt(late, { length: bytes.length, cache }));
    for (let i = 0; i < contents.length; i += 41) {
      const content = contents[i];
      const row = await whenLoaded(() => run.get(content.key));
      expect(await whenLoaded(() => toldRow(row))).toBe(toldContent(content));
      expect(await whenLoaded(() => run.get(encodeKey(["late", i * 2 + 1])))).toBeUndefined();
    }
    const cursor = run.cursor();
    let at = 0;
    let ok = await whenLoaded(() => cursor.seek(""));
    for (; ok; ok = await whenLoaded(() => cursor.next())) {
      if (cursor.key !== contents[at].key) break;
      if (at % 37 === 0) expect(await whenLoaded(() => toldRow(cursor.value))).toBe(toldContent(contents[at]));
      at++;
    }
    expect(at).toBe(contents.length);
  });
}

test("a run without a lookup is read to the end of a call though nothing of it is kept", async () => {
  const without = buildRun(contents, { filter: true, lookup: false });
  const late = lateBytes(without.bytes);
  const cache = new BlockCache(0);
  const run = await whenLoaded(() => openRunAt(late, { length: without.bytes.length, cache }));
  const row = await whenLoaded(() => run.get(contents[4000].key));
  expect(await whenLoaded(() => toldRow(row))).toBe(toldContent(contents[4000]));
});

test("a cursor stands where it was after a call for which bytes have yet to arrive", async () => {
  const late = lateBytes(bytes);
  const run = await whenLoaded(() => openRunAt(late, { length: bytes.length }));
  const cursor = run.cursor();
  await whenLoaded(() => cursor.seek(contents[10].key));
  const { version } = contents[10].row;
  const calls = [
    () => cursor.seek(contents[5000].key),
    () => cursor.seekBefore(contents[4000].key),
    () => cursor.seekBefore(undefined),
  ];
  for (const call of calls) {
    expect(call).toThrow(NotLoaded);
    expect(cursor.key).toBe(contents[10].key);
    expect(cursor.value.version).toBe(version);
  }
  // On to the last entry of the block, from where the next one has to be loaded.
  let at = 10;
  for (;;) {
    try {
      cursor.next();
      at++;
    } catch (error) {
      expect(error).toBeInstanceOf(NotLoaded);
      break;
    }
  }
  expect(cursor.key).toBe(contents[at].key);
  expect(await whenLoaded(() => cursor.next())).toBe(true);
  expect(cursor.key).toBe(contents[at + 1].key);
});

test("a listing in the order of versions holds nothing that it has passed", async () => {
  const rows = new OrderedRows(200);
  let held = 0;
  let heldMost = 0;
  rows.hold = () => {
    heldMost = Math.max(heldMost, ++held);
    return () => void held--;
  };
  const options = { reverse: false, limit: 3, order: "version", after: undefined, now: 0 } as const;
  const listing = listRows(rows, compileQuery([]), options);
  const versions: number[] = [];
  while (await whenLoaded(() => listing.next())) versions.push(listing.row.version);
  expect(versions).toEqual([1, 2, 3]);
  expect(held).toBe(0);
  expect(heldMost).toBe(1);
  expect(rows.loads).toBe(201);
});

test("what is asked for by several at once is loaded once, and kept for the retry", async () => {
  let loads = 0;
  const arriving = new ArrivingBytes(async (place, length) => {
    loads++;
    return new Uint8Array(length).fill(place);
  });
  const read = (): Uint8Array => arriving.read(3, 4);
  const both = await Promise.all([whenLoaded(read), whenLoaded(() => (expect(read).toThrow(NotLoaded), 0))]);
  expect([...(both[0] as Uint8Array)]).toEqual([3, 3, 3, 3]);
  expect(loads).toBe(1);
});

test("a load that fails fails the operation, and the next one tries again", async () => {
  let fail = true;
  const arriving = new ArrivingBytes(async (_, length) => {
    if (fail) throw new RangeError("no network");
    return new Uint8Array(length);
  });
  await expect(whenLoaded(() => arriving.read(0, 2))).rejects.toThrow(RangeError);
  fail = false;
  expect(await whenLoaded(() => arriving.read(0, 2))).toEqual(new Uint8Array(2));
});

test("where requests may be gone, nobody waits for what another one loads", async () => {
  const requests = new Requests();
  const loads: ((bytes: Uint8Array) => void)[] = [];
  const arriving = new ArrivingBytes(() => new Promise((resolve) => loads.push(resolve)), { isolated: true });
  const read = async (): Promise<Uint8Array> => whenLoaded(() => arriving.read(3, 4));
  const gone = requests.begin(read);
  const stays = requests.begin(read);
  const late = requests.begin(read);
  await macrotask();
  gone.end();
  expect(loads).toHaveLength(3);
  for (const arrive of loads.slice(1)) arrive(Uint8Array.of(7));
  expect(await Promise.all([stays.response, late.response])).toEqual([Uint8Array.of(7), Uint8Array.of(7)]);
  expect(loads).toHaveLength(3);
});

test("where requests may be gone, what was asked for ahead is waited for by one of them, and asked for again by the others", async () => {
  const requests = new Requests();
  const loads: ((bytes: Uint8Array) => void)[] = [];
  const arriving = new ArrivingBytes(() => new Promise((resolve) => loads.push(resolve)), { isolated: true });
  const read = async (): Promise<Uint8Array> => whenLoaded(() => arriving.read(3, 4));
  const gone = requests.begin(async () => {
    arriving.expect(3, 4);
    return read();
  });
  await macrotask();
  expect(loads).toHaveLength(1);
  const stays = requests.begin(read);
  await macrotask();
  gone.end();
  expect(loads).toHaveLength(2);
  loads[1](Uint8Array.of(7));
  expect(await stays.response).toEqual(Uint8Array.of(7));
});

/** So many rows, each of which has to arrive before a cursor moves to it, and the end likewise. */
class OrderedRows implements Layer {
  readonly #count: number;
  loads = 0;
  hold: () => () => void = () => () => undefined;

  constructor(count: number) {
    this.#count = count;
  }

  get(): undefined {
    return undefined;
  }

  cursor(): OrderedCursor<Row> {
    const rows: Row[] = Array.from(
      { length: this.#count },
      (_, i) => ({ version: this.#count - i, order: 0, deleted: false, expiresAt: 0 }) as Row,
    );
    let at = -1;
    let arrived = -1;
    const moveTo = (to: number): boolean => {
      if (arrived < to) {
        arrived = to;
        this.loads++;
        throw new NotLoaded(Promise.resolve(), this.hold);
      }
      at = to;
      return at < rows.length;
    };
    return {
      get key() {
        return encodeKey([at]);
      },
      get value() {
        return rows[at];
      },
      seek: () => moveTo(0),
      next: () => moveTo(at + 1),
      seekBefore: () => false,
      previous: () => false,
    };
  }
}
