import { describe, expect, test } from "vitest";
import { memoryStore } from "../../../src/adapters/object/memory-store.ts";
import { nodeEnvironment } from "../../../src/platform/environment-node.ts";
import { objectStoreConformance } from "../../../src/testing/object-store-conformance.ts";

const environment = nodeEnvironment;

describe.each(["with time", "without time"])("the memory store, %s", (which) => {
  objectStoreConformance({
    test,
    environment,
    create: async () => {
      const make = () => memoryStore(which === "with time" ? { now: environment.now } : {});
      const store = make();
      return { store, other: store, neighbour: make(), dispose: async () => undefined };
    },
  });
});

test("the memory store tells the time that it was given, in whole seconds", async () => {
  let now = 1_700_000_000_999;
  const store = memoryStore({ now: () => now });
  const first = await store.create("a", Uint8Array.of(1));
  now += 1;
  const second = await store.get("a");

  expect([first.time, second.time]).toEqual([1_700_000_000_000, 1_700_000_001_000]);
  expect(second).toMatchObject({ status: "found", lastModified: 1_700_000_000_000 });
});

test("equal contents have equal etags in the memory store, as they have in S3", async () => {
  const store = memoryStore();
  const contents = [Uint8Array.of(1), Uint8Array.of(2), Uint8Array.of(1)];
  const tags: (string | undefined)[] = [];
  for (const [i, bytes] of contents.entries()) {
    const answer = await store.create(`object-${i}`, bytes);
    tags.push(answer.status === "created" ? answer.etag : undefined);
  }

  expect(tags[0]).toBe(tags[2]);
  expect(tags[0]).not.toBe(tags[1]);
});
