import { describe, expect, test } from "vitest";
import type { GetAnswer, ListAnswer, ObjectStore } from "../../../src/adapters/object/object-store.ts";
import { stagedKey } from "../../../src/adapters/object/layout.ts";
import { Bucket } from "../../support/bucket.ts";
import { writeSlots } from "../../support/state-requests.ts";

const SECOND = 1000;
const GRACE = 3_600_000;
/** One commit in so long. */
const COMMIT_MS = 4 * SECOND;
/** Commits that an isolate makes before it is gone, without a word. */
const ISOLATE_COMMITS = 40;
/** Of one commit. */
const LARGE_VALUES = 8;
/** Requests that a Worker may make on its way to an answer. */
const REQUESTS_MAX = 50;

/** As R2's binding: objects tell when they were written, and answers nothing. */
function untimed(store: ObjectStore): ObjectStore {
  const still = async <A extends object>(answer: Promise<A>): Promise<A> => ({ ...(await answer), time: undefined });
  return {
    ...store,
    capabilities: { ...store.capabilities, time: false },
    get: (key, range): Promise<GetAnswer> => still(store.get(key, range)),
    create: (key, bytes) => still(store.create(key, bytes)),
    replace: (key, bytes, etag) => still(store.replace(key, bytes, etag)),
    list: (prefix, options): Promise<ListAnswer> => still(store.list(prefix, options)),
    delete: (keys) => still(store.delete(keys)),
  };
}

function deletingSingly(store: ObjectStore): ObjectStore {
  return { ...store, capabilities: { ...store.capabilities, deleteKeysMax: 1 } };
}

describe("a bucket that only isolates write to, each for a while", () => {
  test.each([
    ["tells time and deletes many at once", (store: ObjectStore) => store],
    ["tells time and deletes one by one", deletingSingly],
    ["tells when objects were written", untimed],
  ] as const)("holds no more after 12,000 commits than after 6,000, where the store %s", async (_, made) => {
    const bucket = new Bucket();
    Object.assign(bucket.environment, { isolated: true });
    const store = made(bucket.counting);
    const counts: number[] = [];
    let requestsMax = 0;
    for (let commits = 0; commits < 12_000;) {
      const author = await (await bucket.open({ graceMs: GRACE, store })).begin();
      await author.follow();
      for (let i = 0; i < ISOLATE_COMMITS; i++, commits++) {
        await bucket.environment.pass(COMMIT_MS);
        bucket.requests.length = 0;
        await writeSlots(bucket, author, 1);
        requestsMax = Math.max(requestsMax, bucket.requests.length);
      }
      if (commits % 200 === 0) counts.push(await objectsIn(bucket.store));
    }
    expect(Math.max(...counts.slice(30))).toBeLessThan(1.1 * Math.max(...counts.slice(0, 30)));
    expect(requestsMax).toBeLessThanOrEqual(REQUESTS_MAX);
  });
});

test("a bucket that only isolates write to holds no more in time where each slot refers to several large values, and each delete takes a request", async () => {
  const bucket = new Bucket();
  Object.assign(bucket.environment, { isolated: true });
  const store = deletingSingly(bucket.counting);
  const counts: number[] = [];
  let requestsMax = 0;
  for (let commits = 0; commits < 4800;) {
    const author = await (await bucket.open({ graceMs: GRACE, store })).begin();
    await author.follow();
    for (let i = 0; i < ISOLATE_COMMITS; i++, commits++) {
      await bucket.environment.pass(2 * COMMIT_MS);
      for (let value = 0; value < LARGE_VALUES; value++) {
        const name = { slot: author.position + 1, random: value.toString(16).padStart(16, "0") };
        await bucket.store.create(stagedKey(author.session.identity?.nonce ?? "", name), new Uint8Array(1));
      }
      bucket.requests.length = 0;
      await writeSlots(bucket, author, 1);
      requestsMax = Math.max(requestsMax, bucket.requests.length);
    }
    if (commits % 200 === 0) counts.push(await objectsIn(bucket.store));
  }
  expect(Math.max(...counts.slice(12))).toBeLessThan(1.4 * Math.max(...counts.slice(0, 12)));
  expect(requestsMax).toBeLessThanOrEqual(REQUESTS_MAX);
}, 60_000);

async function objectsIn(store: ObjectStore): Promise<number> {
  let count = 0;
  for (let after: string | undefined; ;) {
    const listed = await store.list("", after === undefined ? {} : { after });
    if (listed.status !== "listed") throw new Error(listed.status);
    count += listed.objects.length;
    if (!listed.more) return count;
    after = listed.objects.at(-1)?.key;
  }
}
