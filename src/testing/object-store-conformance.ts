import type { Environment } from "../core/environment.ts";
import type { Found, ObjectStore, Told } from "../adapters/object/object-store.ts";
import { assert, assertEqual, assertRejects } from "./assert.ts";
import type { TestFunction } from "./conformance.ts";

/** Two folders of one bucket, empty at first, for one test. */
export interface StoresUnderTest {
  readonly store: ObjectStore;
  /** The same folder, asked over another client where there are clients. */
  readonly other: ObjectStore;
  /** Another folder of the same bucket, whose name begins with the first one's. */
  readonly neighbour: ObjectStore;
  /** Releases what was made for the test. */
  dispose(): Promise<void>;
}

export interface StoreConformanceOptions {
  readonly test: TestFunction;
  readonly environment: Environment;
  readonly create: () => Promise<StoresUnderTest>;
}

/**
 * Registers one test for each duty of an object store. The names are the same for every store. No object here lies below
 * the name of another one, which stores over file systems do not take.
 */
export function objectStoreConformance(options: StoreConformanceOptions): void {
  for (const name of objectStoreCases()) {
    options.test(name, async () => {
      const stores = await options.create();
      try {
        await runObjectStoreCase(name, stores, options.environment);
      } finally {
        await stores.dispose();
      }
    });
  }
}

/** The names of all cases, in order. */
export function objectStoreCases(): string[] {
  return Object.keys(cases);
}

/** Runs one case alone, for runtimes without a test runner. */
export async function runObjectStoreCase(
  name: string,
  stores: StoresUnderTest,
  environment: Environment,
): Promise<void> {
  await cases[name]({ ...stores, environment });
}

type Case = (stores: StoresUnderTest & { readonly environment: Environment }) => Promise<void>;

const RACERS = 20;

const cases: Readonly<Record<string, Case>> = {
  "an object that is not there is absent": async ({ store }) => {
    assertEqual((await store.get("nothing")).status, "absent", "a whole object");
    assertEqual((await store.get("deep/nothing", { from: 0, length: 1 })).status, "absent", "a part of one");
  },

  "an object comes back as it was written": async ({ store, other }) => {
    const contents = [Uint8Array.of(0), everyByte(), pattern(65_537), pattern(500_001)];
    for (const [i, bytes] of contents.entries()) {
      await created(store, `object-${i}`, bytes);
      for (const each of [store, other]) {
        const found = await read(each, `object-${i}`);
        assertBytes(found.bytes, bytes, `object-${i}`);
        assertEqual(found.size, bytes.length, "size");
      }
    }
  },

  "bytes that were handed up are the caller's": async ({ store }) => {
    await created(store, "object", text("object"));
    (await read(store, "object")).bytes.fill(0);
    assertBytes((await read(store, "object")).bytes, text("object"), "read again");
  },

  "bytes that were handed down may be used again": async ({ store }) => {
    const bytes = text("first");
    await created(store, "object", bytes);
    bytes.fill(0);
    assertBytes((await read(store, "object")).bytes, text("first"), "read later");
  },

  "a view into a larger buffer is written as the view": async ({ store }) => {
    const bytes = pattern(100).subarray(40, 60);
    await created(store, "object", bytes);
    assertBytes((await read(store, "object")).bytes, bytes, "read");
    const { etag } = await read(store, "object");
    const next = pattern(100).subarray(10, 15);
    assertEqual((await store.replace("object", next, etag)).status, "replaced", "replace");
    assertBytes((await read(store, "object")).bytes, next, "replaced");
  },

  "a second create is told that the object exists, and changes nothing": async ({ store, other }) => {
    await created(store, "object", text("first"));
    assertEqual((await other.create("object", text("second"))).status, "exists", "second create");
    assertEqual((await other.create("object", text("first"))).status, "exists", "create of the same bytes");
    assertBytes((await read(store, "object")).bytes, text("first"), "contents");
  },

  "of racing creates one wins, and everybody reads its bytes": async ({ store, other }) => {
    for (let round = 0; round < 3; round++) {
      const key = `raced-${round}`;
      const answers = await Promise.all(
        Array.from({ length: RACERS }, (_, i) => (i % 2 === 0 ? store : other).create(key, text(`racer ${i}`))),
      );
      const winners = answers.flatMap(({ status }, i) => (status === "created" ? [i] : []));
      assertEqual(winners.length, 1, "winners");
      for (const { status } of answers) {
        assert(["created", "exists", "conflict"].includes(status), `a racer is told what came of it, not ${status}`);
      }
      for (const each of [store, other]) {
        assertBytes((await read(each, key)).bytes, text(`racer ${winners[0]}`), "contents");
      }
    }
  },

  "a replace with the present etag takes place": async ({ store, other }) => {
    await created(store, "object", text("first"));
    const before = await read(other, "object");
    const answer = await other.replace("object", text("second, longer"), before.etag);
    assertEqual(answer.status, "replaced", "replace");
    const after = await read(store, "object");
    assertBytes(after.bytes, text("second, longer"), "contents");
    assert(after.etag !== before.etag, "other contents have another etag");
    if (answer.status === "replaced" && answer.etag !== undefined) assertEqual(answer.etag, after.etag, "etag");
  },

  "the etag that a write gave serves for the next one": async ({ store }) => {
    const first = await store.create("object", text("1"));
    assert(first.status === "created", `created, not ${first.status}`);
    let { etag } = first;
    for (const content of ["2", "3"]) {
      const answer = await store.replace("object", text(content), etag ?? (await read(store, "object")).etag);
      assert(answer.status === "replaced", `replaced, not ${answer.status}`);
      etag = answer.etag;
    }
    assertBytes((await read(store, "object")).bytes, text("3"), "contents");
  },

  "a replace with an etag of the past changes nothing": async ({ store, other }) => {
    await created(store, "object", text("first"));
    const { etag } = await read(store, "object");
    await store.replace("object", text("second"), etag);
    assertEqual((await store.replace("object", text("third"), etag)).status, "changed", "own stale replace");
    assertEqual((await other.replace("object", text("third"), etag)).status, "changed", "somebody else's");
    assertBytes((await read(store, "object")).bytes, text("second"), "contents");
  },

  "a replace of an object that is not there writes nothing": async ({ store }) => {
    await created(store, "object", text("first"));
    const { etag } = await read(store, "object");
    assertEqual((await store.replace("nothing", text("x"), etag)).status, "changed", "replace");
    assertEqual((await store.get("nothing")).status, "absent", "read");
    await store.delete(["object"]);
    assertEqual((await store.replace("object", text("x"), etag)).status, "changed", "replace of a deleted one");
    assertEqual((await store.get("object")).status, "absent", "read of a deleted one");
  },

  "of racing replaces at most one wins, and everybody reads its bytes": async ({ store, other }) => {
    await created(store, "object", text("first"));
    for (let round = 0; round < 3; round++) {
      const { etag } = await read(store, "object");
      const answers = await Promise.all(
        Array.from({ length: RACERS }, (_, i) =>
          (i % 2 === 0 ? store : other).replace("object", text(`racer ${round} ${i}`), etag),
        ),
      );
      const winners = answers.flatMap(({ status }, i) => (status === "replaced" ? [i] : []));
      assertEqual(winners.length, 1, "winners");
      assertBytes((await read(other, "object")).bytes, text(`racer ${round} ${winners[0]}`), "contents");
    }
  },

  "what was just written is read at once, also where its absence was read before": async ({ store, other }) => {
    for (let round = 0; round < 5; round++) {
      const key = `fresh-${round}`;
      for (const each of [store, other]) assertEqual((await each.get(key)).status, "absent", "before");
      await created(store, key, text("first"));
      const first = await read(other, key);
      assertBytes(first.bytes, text("first"), "after the create");
      await store.replace(key, text("second"), first.etag);
      for (const each of [other, store]) {
        assertBytes((await read(each, key)).bytes, text("second"), "after the replace");
      }
      await store.delete([key]);
      for (const each of [other, store]) assertEqual((await each.get(key)).status, "absent", "after the delete");
    }
  },

  "parts are read as asked for, and cut at the end": async ({ store }) => {
    const bytes = pattern(1000);
    await created(store, "object", bytes);
    for (const [from, length] of [
      [0, 1],
      [0, 1000],
      [0, 5000],
      [10, 20],
      [999, 1],
      [999, 100],
      [500, 500],
    ]) {
      const found = await read(store, "object", { from, length });
      assertBytes(found.bytes, bytes.subarray(from, from + length), `${length} bytes from ${from} on`);
      assertEqual(found.size, 1000, "size of the whole");
      assertEqual(found.etag, (await read(store, "object")).etag, "etag");
    }
  },

  "a part behind the end is told apart from an object that is not there": async ({ store }) => {
    await created(store, "object", pattern(10));
    for (const from of [10, 11, 5000]) {
      assertEqual((await store.get("object", { from, length: 5 })).status, "beyond", `from ${from} on`);
    }
  },

  "a range without bytes, or before the beginning, is refused": async ({ store }) => {
    await created(store, "object", pattern(10));
    for (const range of [
      { from: 0, length: 0 },
      { from: -1, length: 2 },
      { from: 0.5, length: 1 },
    ]) {
      await assertRejects(store.get("object", range), "InvalidArgument");
    }
  },

  "a deleted object is gone, and may be created again": async ({ store, other }) => {
    await created(store, "object", text("first"));
    assertEqual((await store.delete(["object"])).status, "deleted", "delete");
    assertEqual((await other.get("object")).status, "absent", "read");
    assertEqual((await store.delete(["object"])).status, "deleted", "delete of nothing");
    await created(other, "object", text("second"));
    assertBytes((await read(store, "object")).bytes, text("second"), "contents");
  },

  "as many objects are deleted at once as the store takes": async ({ store }) => {
    const count = Math.min(store.capabilities.deleteKeysMax, 30);
    const keys = Array.from({ length: count }, (_each, i) => `object-${i}`);
    for (const key of [...keys, "kept"]) await created(store, key, text(key));
    assertEqual((await store.delete(keys)).status, "deleted", "delete");
    assertEqual(await listedKeys(store, ""), ["kept"], "what is left");
    const tooMany = Array.from({ length: store.capabilities.deleteKeysMax + 1 }, (_each, i) => `object-${i}`);
    await assertRejects(store.delete(tooMany), "InvalidArgument");
    await assertRejects(store.delete([]), "InvalidArgument");
  },

  "a list gives keys in the order of their bytes, with sizes": async ({ store }) => {
    const keys = ["a/b", "a-b", "a.b", "B", "a/c/d", "Z/z", "a/b0", "_", "0", "10", "9", "a/c.d"];
    for (const [i, key] of keys.entries()) await created(store, key, pattern(i + 1));
    const answer = await store.list("");
    assert(answer.status === "listed", `listed, not ${answer.status}`);
    const expected = keys.map((key, i) => ({ key, size: i + 1 })).toSorted((a, b) => (a.key < b.key ? -1 : 1));
    assertEqual(
      answer.objects.map(({ key, size }) => ({ key, size })),
      expected,
      "objects",
    );
    assertEqual(answer.more, false, "more");
  },

  "a list is of its prefix alone, also in the middle of a name": async ({ store, neighbour }) => {
    for (const key of ["log/1", "log/2", "log/21", "lo", "run/2"]) await created(store, key, text(key));
    await created(neighbour, "log/3", text("neighbour"));
    assertEqual(await listedKeys(store, "log/"), ["log/1", "log/2", "log/21"], "a folder");
    assertEqual(await listedKeys(store, "log/2"), ["log/2", "log/21"], "a part of a name");
    assertEqual(await listedKeys(store, "nothing/"), [], "nothing");
    assertEqual(await listedKeys(neighbour, ""), ["log/3"], "the neighbour");
  },

  "a list goes on behind any key, in pages": async ({ store }) => {
    const keys = Array.from({ length: 7 }, (_, i) => `log/${i}`);
    for (const key of [...keys, "zzz"]) await created(store, key, text(key));
    const pages: string[][] = [];
    for (let after: string | undefined; ; after = pages.at(-1)?.at(-1)) {
      const answer = await store.list("log/", { limit: 3, ...(after === undefined ? {} : { after }) });
      assert(answer.status === "listed", `listed, not ${answer.status}`);
      pages.push(answer.objects.map(({ key }) => key));
      if (!answer.more) break;
    }
    assertEqual(pages, [keys.slice(0, 3), keys.slice(3, 6), keys.slice(6)], "pages");
    assertEqual(
      await listedKeys(store, "log/", { after: "log/4x" }),
      ["log/5", "log/6"],
      "behind a key that is not there",
    );
    assertEqual(await listedKeys(store, "log/", { after: "log/6" }), [], "behind the last one");
    await assertRejects(store.list("log/", { limit: 0 }), "InvalidArgument");
    await assertRejects(store.list("log/", { limit: 1001 }), "InvalidArgument");
  },

  "a list shows what was just written and deleted": async ({ store, other }) => {
    for (let i = 0; i < 5; i++) {
      await created(store, `object-${i}`, text("x"));
      assertEqual((await listedKeys(other, "object-")).length, i + 1, "listed");
    }
    await store.delete(["object-3"]);
    assertEqual((await listedKeys(other, "object-")).length, 4, "listed after a delete");
  },

  "folders are apart, though one's name begins with the other's": async ({ store, neighbour }) => {
    await created(store, "object", text("here"));
    assertEqual((await neighbour.get("object")).status, "absent", "there");
    await created(neighbour, "object", text("there"));
    await neighbour.delete(["object"]);
    assertBytes((await read(store, "object")).bytes, text("here"), "contents");
  },

  "every name that is allowed is a name of its own": async ({ store, other }) => {
    const keys = ["a", "A", "a.", ".a", "a..b", "...", "-", "_", "b/.b/c", "0/00", "0/0", `${"x".repeat(100)}/y`];
    for (const key of keys) await created(store, key, text(key));
    for (const key of keys) assertBytes((await read(other, key)).bytes, text(key), key);
  },

  "a name that not every client takes as it is, is refused": async ({ store }) => {
    const names = [
      "",
      "/a",
      "a/",
      "a//b",
      ".",
      "..",
      "a/../b",
      "a/./b",
      "a b",
      "a?b",
      "a#b",
      "a%2Fb",
      "ä",
      "a\\b",
      "a\n",
    ];
    for (const name of names) {
      await assertRejects(store.get(name), "InvalidArgument");
      await assertRejects(store.create(name, text("x")), "InvalidArgument");
      await assertRejects(store.replace(name, text("x"), "etag"), "InvalidArgument");
      await assertRejects(store.delete([name]), "InvalidArgument");
    }
    await assertRejects(store.list("a b"), "InvalidArgument");
  },

  "a store that tells time tells it with every answer": async ({ store, environment }) => {
    const first = await store.create("object", text("1"));
    assert(first.status === "created", `created, not ${first.status}`);
    const etag = first.etag ?? (await read(store, "object")).etag;
    const answers: (Told & { readonly status: string })[] = [
      first,
      await store.create("object", text("2")),
      await store.get("object"),
      await store.get("object", { from: 0, length: 1 }),
      await store.get("object", { from: 7, length: 1 }),
      await store.get("nothing"),
      await store.replace("object", text("3"), etag),
      await store.replace("object", text("4"), etag),
      await store.list(""),
      await store.delete(["object"]),
    ];
    assertEqual(
      answers.map(({ status }) => status),
      ["created", "exists", "found", "found", "beyond", "absent", "replaced", "changed", "listed", "deleted"],
      "answers",
    );
    for (const { status, time } of answers) {
      if (!store.capabilities.time) assertEqual(time, undefined, `time of ${status}`);
      else assert(time !== undefined && Math.abs(time - environment.now()) < HOUR, `${status} tells the time`);
    }
  },

  "objects tell when they were last written": async ({ store, environment }) => {
    await created(store, "object", text("1"));
    const { lastModified, time } = await read(store, "object");
    if (!store.capabilities.time && lastModified === undefined) return;
    assert(lastModified !== undefined, "a read tells it");
    const age = (time ?? environment.now()) - lastModified;
    assert(age > -HOUR && age < HOUR, `an object just written has an age of ${age} ms`);
    const answer = await store.list("");
    assert(answer.status === "listed", `listed, not ${answer.status}`);
    const listed = answer.objects[0].lastModified;
    assert(listed !== undefined && Math.abs(listed - lastModified) < 2000, "a list tells the same");
  },
};

const HOUR = 3_600_000;

async function created(store: ObjectStore, key: string, bytes: Uint8Array): Promise<void> {
  assertEqual((await store.create(key, bytes)).status, "created", `create of ${key}`);
}

async function read(store: ObjectStore, key: string, range?: Parameters<ObjectStore["get"]>[1]): Promise<Found> {
  const answer = await store.get(key, range);
  assert(answer.status === "found", `${key} is found, not ${answer.status}`);
  return answer;
}

async function listedKeys(
  store: ObjectStore,
  prefix: string,
  options?: Parameters<ObjectStore["list"]>[1],
): Promise<string[]> {
  const answer = await store.list(prefix, options);
  assert(answer.status === "listed", `listed, not ${answer.status}`);
  return answer.objects.map(({ key }) => key);
}

function assertBytes(actual: Uint8Array, expected: Uint8Array, what: string): void {
  assertEqual(actual.length, expected.length, `length of ${what}`);
  let at = 0;
  while (at < actual.length && actual[at] === expected[at]) at++;
  assert(at === actual.length, `${what} is right at ${at}`);
}

/** Characters of ASCII. */
function text(ascii: string): Uint8Array {
  return Uint8Array.from(ascii, (character) => character.charCodeAt(0));
}

function everyByte(): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, i) => i);
}

function pattern(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = i * 31 + (i >> 8);
  return bytes;
}
