import { describe, expect, test } from "vitest";
import { KVError } from "../../../src/core/errors.ts";
import type { StoreFate, StoreFault } from "../../../src/testing/faulty-store.ts";
import { type Author, Bucket, failure, isCreateOfSlot, isGetOfSlot } from "../../support/bucket.ts";

const fault = (kind: Exclude<StoreFault["kind"], "late">): StoreFate => ({ fault: { kind } });

/** Two authors, the first of which has written one slot that the other one has read. */
async function two(options: { readonly tellsTime?: boolean } = {}): Promise<{
  readonly bucket: Bucket;
  readonly a: Author;
  readonly b: Author;
}> {
  const bucket = new Bucket(options);
  const a = await bucket.open();
  await a.write(a.commit());
  const b = await bucket.open();
  await b.follow();
  bucket.requests.length = 0;
  return { bucket, a, b };
}

describe("creating a slot", () => {
  test("that the store takes is one request", async () => {
    const { bucket, a } = await two();
    expect(await a.append(a.commit(), a.commit())).toMatchObject({
      status: "appended",
      versions: [2 * 65_536, 2 * 65_536 + 1],
      next: 2,
    });
    expect(bucket.requests).toEqual(["create log/2 created"]);
  });

  test("that somebody else has created is lost, and what that one wrote is read without asking again", async () => {
    const { bucket, a, b } = await two();
    await a.append(a.commit(4));
    bucket.requests.length = 0;
    expect(await b.append(b.commit(5))).toEqual({ status: "behind" });
    expect(bucket.requests).toEqual(["create log/2 exists", "get log/2 found"]);
    await b.follow();
    expect(b.commits.map(({ payload }) => payload[0])).toEqual([1, 4]);
    expect(bucket.requests.slice(2)).toEqual(["get log/3 absent"]);
  });

  test.each(["answer-lost", "unsent", "overloaded", "conflict"] as const)(
    "whose first request is %s is settled by what the slot holds, with the same bytes",
    async (kind) => {
      const { bucket, a, b } = await two();
      const sent: (Uint8Array | undefined)[] = [];
      bucket.faulty.fate = (request) => {
        if (!isCreateOfSlot(request)) return undefined;
        sent.push(request.bytes);
        return sent.length === 1 ? fault(kind) : undefined;
      };
      expect(await a.append(a.commit(4))).toMatchObject({ status: "appended", next: 2 });
      await b.follow();
      expect(b.commits.map(({ payload }) => payload[0])).toEqual([1, 4]);
      for (const bytes of sent) expect(bytes).toEqual(sent[0]);
      expect(sent.length).toBe(kind === "answer-lost" ? 1 : 2);
    },
  );

  test("told 412 of its own bytes is done: somebody below has sent them twice", async () => {
    const { bucket } = await two();
    const { store } = bucket;
    const twice = {
      ...bucket.counting,
      create: async (key: string, bytes: Uint8Array) => {
        await store.create(key, bytes);
        return await bucket.counting.create(key, bytes);
      },
    };
    const c = await bucket.open({ store: twice });
    await c.follow();
    expect(await c.append(c.commit())).toMatchObject({ status: "appended" });
  });

  test("two batches with the same commits are not the same: only identical bytes are one's own", async () => {
    const { bucket, a, b } = await two();
    const commit = a.commit(4);
    await b.append({ ...commit });
    bucket.requests.length = 0;
    expect(await a.append(commit)).toEqual({ status: "behind" });
  });

  test("a credential that may not write is told so, and nothing is pending", async () => {
    const { bucket } = await two();
    const denying = {
      ...bucket.counting,
      create: async () => ({ status: "denied" as const, error: accessDenied(), time: undefined }),
    };
    const c = await bucket.open({ store: denying });
    await c.follow();
    expect(await failure(c.append(c.commit()))).toBe("AccessDenied, not committed");
    expect(c.session.stats?.()).toMatchObject({ hasUnsettledSlot: false });
  });

  test("a denial after an ambiguous attempt proves nothing: the slot does", async () => {
    const { bucket } = await two();
    let tries = 0;
    const denying = {
      ...bucket.counting,
      create: async (key: string, bytes: Uint8Array) => {
        if (!key.includes("/log/")) return await bucket.counting.create(key, bytes);
        if (tries++ > 0) return { status: "denied" as const, error: accessDenied(), time: undefined };
        // It lands much later.
        void bucket.environment.setTimer(() => void bucket.store.create(key, bytes), 3000);
        return { status: "ambiguous" as const, error: accessDenied(), time: undefined };
      },
    };
    const c = await bucket.open({ store: denying });
    await c.follow();
    expect(await c.append(c.commit())).toMatchObject({ status: "appended" });
    expect(tries).toBeGreaterThan(1);
  });

  test("of which the store says in turns that it is there and that it is not ends with StoreInconsistent", async () => {
    const { bucket } = await two();
    let creates = 0;
    const contrary = {
      ...bucket.counting,
      create: async () => {
        creates++;
        return { status: "exists" as const, time: bucket.environment.now() };
      },
    };
    const c = await bucket.open({ store: contrary });
    await c.follow();
    expect(await failure(c.append(c.commit()))).toBe("StoreInconsistent, unknown");
    expect(creates).toBe(6);
  });

  test("that stays ambiguous for 30 s is unknown; the next commit settles it first, with the same bytes", async () => {
    const { bucket, a, b } = await two();
    const sent: (Uint8Array | undefined)[] = [];
    let isDown = true;
    bucket.faulty.fate = (request) => {
      if (isCreateOfSlot(request)) sent.push(request.bytes);
      return isDown ? fault("unsent") : undefined;
    };
    const began = bucket.environment.monotonic();
    expect(await failure(a.append(a.commit(4)))).toBe("CommitOutcomeUnknown, unknown");
    expect(bucket.environment.monotonic() - began).toBeGreaterThanOrEqual(30_000);
    expect(await failure(a.append(a.commit(5)))).toBe("InputOutput, not committed");
    isDown = false;
    expect(await a.append(a.commit(6))).toEqual({ status: "behind" });
    for (const bytes of sent) expect(bytes).toEqual(sent[0]);
    await a.follow();
    await a.write(a.commit(6));
    await b.follow();
    expect(b.commits.map(({ payload }) => payload[0])).toEqual([1, 4, 6]);
  });

  test("an ambiguous slot that somebody else has got meanwhile is lost for good", async () => {
    const { bucket, a, b } = await two();
    bucket.befalls(
      isCreateOfSlot,
      Array.from({ length: 100 }, () => fault("unsent")),
    );
    expect(await failure(a.append(a.commit(4)))).toBe("CommitOutcomeUnknown, unknown");
    bucket.befalls(isCreateOfSlot, []);
    await b.append(b.commit(5));
    bucket.requests.length = 0;
    expect(await a.append(a.commit(6))).toEqual({ status: "behind" });
    await a.follow();
    await a.write(a.commit(6));
    await b.follow();
    expect(b.commits.map(({ payload }) => payload[0])).toEqual([1, 6]);
    expect(a.commits.map(({ payload }) => payload[0])).toEqual([5]);
  });

  test("only refused by 409 for 30 s is not committed: the store says that it wrote nothing", async () => {
    const { bucket, a } = await two();
    bucket.befalls(
      isCreateOfSlot,
      Array.from({ length: 100 }, () => fault("conflict")),
    );
    expect(await failure(a.append(a.commit()))).toBe("Contention, not committed");
    expect(a.session.stats?.()).toMatchObject({ hasUnsettledSlot: false });
  });

  test("refused by 409 ever after is unknown all the same where an attempt before may still arrive", async () => {
    const { bucket, a } = await two();
    let sent = 0;
    bucket.faulty.fate = (request) => {
      if (!isCreateOfSlot(request)) return undefined;
      return sent++ === 0 ? { fault: { kind: "late", givesUpMs: 1000, landsMs: 60_000 } } : fault("conflict");
    };
    expect(await failure(a.append(a.commit(4)))).toBe("CommitOutcomeUnknown, unknown");
    expect(a.session.stats?.()).toMatchObject({ hasUnsettledSlot: true });
    await bucket.environment.pass(60_000);
    await a.follow();
    expect(a.commits.map(({ payload }) => payload[0])).toEqual([4]);
  });

  test("that lands late is met by following, and then nothing is unsettled any more", async () => {
    const { bucket, a } = await two();
    let first = true;
    bucket.faulty.fate = (request) => {
      if (!isCreateOfSlot(request)) return undefined;
      const late = first;
      first = false;
      return late ? { fault: { kind: "late", givesUpMs: 1000, landsMs: 60_000 } } : fault("unsent");
    };
    expect(await failure(a.append(a.commit(4)))).toBe("CommitOutcomeUnknown, unknown");
    await a.follow();
    expect(a.commits).toEqual([]);
    await bucket.environment.pass(60_000);
    await a.follow();
    expect(a.commits.map(({ payload }) => payload[0])).toEqual([4]);
    expect(a.session.stats?.()).toMatchObject({ hasUnsettledSlot: false });
  });

  test("reads of the slot that fail, or arrive in part, decide nothing", async () => {
    const { bucket, a, b } = await two();
    let creates = 0;
    let reads = 0;
    bucket.faulty.fate = (request) => {
      if (isCreateOfSlot(request)) return creates++ === 0 ? fault("answer-lost") : undefined;
      if (isGetOfSlot(request)) return reads++ < 6 ? fault(reads % 2 === 0 ? "truncated" : "overloaded") : undefined;
      return undefined;
    };
    expect(await a.append(a.commit(4))).toMatchObject({ status: "appended" });
    await b.follow();
    expect(b.commits.map(({ payload }) => payload[0])).toEqual([1, 4]);
  });
});

describe("an append of nothing", () => {
  test("proves by one request that nothing lies behind", async () => {
    const { bucket, a, b } = await two();
    expect(await a.append()).toEqual({ status: "appended", versions: [], places: [], next: 1 });
    expect(bucket.requests).toEqual(["get log/2 absent"]);
    await b.append(b.commit());
    expect(await a.append()).toEqual({ status: "behind" });
  });

  test("asks anew, whatever was read before the call", async () => {
    const { a, b } = await two();
    await a.follow();
    await b.write(b.commit());
    expect(await a.append()).toEqual({ status: "behind" });
  });
});

function accessDenied(): KVError {
  return new KVError("AccessDenied", "no");
}
