import { describe, expect, test } from "vitest";
import { type R2BucketBinding, r2Ledger, r2Store } from "../../../src/adapters/r2/index.ts";
import { KV } from "../../../src/index.ts";

/** What workerd's bucket never says by itself: a binding throws errors whose messages end in a number. */

const bytes = Uint8Array.of(1, 2, 3);
const object = {
  key: "p/key",
  size: 3,
  httpEtag: '"tag"',
  uploaded: new Date(1_700_000_000_000),
  arrayBuffer: async () => bytes.slice().buffer,
};

/** A binding of which every call does the same, and that counts them. */
function binding(each: () => Promise<unknown>): R2BucketBinding & { readonly calls: string[] } {
  const calls: string[] = [];
  const call = (name: string) => (): Promise<never> => {
    calls.push(name);
    return each() as Promise<never>;
  };
  return {
    calls,
    get: call("get"),
    head: call("head"),
    put: call("put"),
    list: call("list"),
    delete: call("delete"),
  };
}

const failing = (message: string): ReturnType<typeof binding> =>
  binding(async () => {
    throw new Error(message);
  });

async function answers(bucket: R2BucketBinding, requestTimeoutMs = 1000): Promise<Record<string, unknown>> {
  const store = r2Store({ bucket, prefix: "p", requestTimeoutMs });
  return {
    get: await store.get("key"),
    create: await store.create("key", bytes),
    replace: await store.replace("key", bytes, '"tag"'),
    list: await store.list(""),
    delete: await store.delete(["key"]),
  };
}

const all = (status: string, code: string): Record<string, unknown> => {
  const each = expect.objectContaining({ status, error: expect.objectContaining({ code }) as unknown }) as unknown;
  return { get: each, create: each, replace: each, list: each, delete: each };
};

describe("what the binding of R2 throws", () => {
  test.each([10002, 10003, 10018, 10035, 10042])("with %i is a denial, of whatever was asked", async (code) => {
    const bucket = failing(`put: not so (${code})`);
    expect(await answers(bucket)).toEqual(all("denied", "AccessDenied"));
    expect(bucket.calls).toEqual(["get", "put", "put", "list", "delete"]);
  });

  test("of a bucket that is not there is refused, of whatever was asked", async () => {
    expect(await answers(failing("get: The specified bucket does not exist. (10006)"))).toEqual(
      all("refused", "LedgerMissing"),
    );
  });

  test("of an object that is written too often has written nothing", async () => {
    const { create, replace } = await answers(failing("put: Reduce your concurrent request rate (10058)"));
    expect(create).toMatchObject({ status: "conflict" });
    expect(replace).toMatchObject({ status: "conflict" });
  });

  test.each(["put: We encountered an internal error. Please try again. (10001)", "Network connection lost."])(
    "besides leaves a write in doubt, and reads to be tried again: %s",
    async (message) => {
      const told = await answers(failing(message));
      expect(told.create).toMatchObject({ status: "ambiguous", error: { code: "InputOutput" } });
      expect(told.replace).toMatchObject({ status: "ambiguous" });
      for (const name of ["get", "list", "delete"]) expect(told[name]).toMatchObject({ status: "unavailable" });
    },
  );
});

describe("the binding of R2", () => {
  test("that answers nothing leaves a write in doubt when its time is over", async () => {
    const told = await answers(
      binding(() => new Promise(() => undefined)),
      20,
    );
    expect(told.create).toMatchObject({ status: "ambiguous" });
    for (const name of ["get", "list", "delete"]) expect(told[name]).toMatchObject({ status: "unavailable" });
  });

  test("of which half of an object arrives has not answered", async () => {
    const half = { ...object, arrayBuffer: async () => bytes.slice(0, 1).buffer };
    const store = r2Store({ bucket: binding(async () => half), prefix: "p" });
    expect(await store.get("key")).toMatchObject({ status: "unavailable" });
    expect(await store.get("key", { from: 0, length: 2 })).toMatchObject({ status: "unavailable" });
  });

  test("whose bucket is not there, or closed to the Worker, opens nothing and says why", async () => {
    for (const [message, code] of [
      ["get: The specified bucket does not exist. (10006)", "LedgerMissing"],
      ["get: not so (10003)", "AccessDenied"],
    ]) {
      const bucket = failing(message);
      await expect(KV.open(r2Ledger({ bucket, prefix: "p" }))).rejects.toMatchObject({ code });
      expect(bucket.calls.filter((name) => name === "put")).toEqual([]);
    }
  });
});
