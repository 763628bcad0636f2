import { afterEach, expect, test, vi } from "vitest";
import { s3FetchStore } from "../../../src/adapters/s3-fetch/index.ts";

const DAY = 86_400_000;

afterEach(() => void vi.restoreAllMocks());

test("a store by fetch keeps the signing keys of the last two days or credentials, and no others", async () => {
  const sign = vi.spyOn(crypto.subtle, "sign");
  const now = vi.spyOn(Date.prototype, "toISOString");
  let time = 0;
  now.mockImplementation(function (this: Date) {
    return `2026-01-0${1 + time / DAY}T00:00:00.000Z`;
  });
  let secretAccessKey = "a";
  const store = s3FetchStore({
    bucket: "bucket",
    prefix: "p",
    endpoint: "http://localhost",
    credentials: () => ({ accessKeyId: "id", secretAccessKey }),
    fetch: () => Promise.resolve(new Response(null, { status: 503 })),
  });
  /** How many signatures a request takes: one with a key that is known, and four more to derive it. */
  const signatures = async (): Promise<number> => {
    const before = sign.mock.calls.length;
    await store.get("key");
    return sign.mock.calls.length - before;
  };
  expect([await signatures(), await signatures()]).toEqual([5, 1]);
  time += DAY;
  expect([await signatures(), await signatures()]).toEqual([5, 1]);
  // A request of yesterday may still be on its way.
  time -= DAY;
  expect(await signatures()).toBe(1);
  for (const other of ["b", "c"]) {
    secretAccessKey = other;
    expect([await signatures(), await signatures()]).toEqual([5, 1]);
  }
  // That it is derived anew shows that it was not kept.
  secretAccessKey = "a";
  expect(await signatures()).toBe(5);
});
