import { fileURLToPath } from "node:url";
import { describe, expect, test, type TestContext } from "vitest";
import { startWorker } from "../support/workerd.ts";

const entry = fileURLToPath(new URL("worker.ts", import.meta.url));

type Run = (ask: Ask, context: TestContext) => Promise<void>;
type Ask = (path: string, parameters?: Readonly<Record<string, string>>) => Promise<unknown>;

/** Runs a test with a Worker of its own, which has an instance of its own. */
async function withWorker(compatibilityDate: string, run: (ask: Ask) => Promise<void>): Promise<void> {
  const miniflare = await startWorker(entry, compatibilityDate);
  try {
    await run(async (path, parameters = {}) => {
      const query = new URLSearchParams({ prefix: "db", ...parameters });
      const response = await miniflare.dispatchFetch(`http://worker/${path}?${query}`);
      const answer = (await response.json()) as { readonly result?: unknown; readonly error?: string };
      if (answer.error !== undefined) throw new Error(answer.error);
      return answer.result;
    });
  } finally {
    await miniflare.dispose();
  }
}

const times = <T>(count: number, make: (i: number) => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: count }, (_, i) => make(i)));

// By the older rules a promise that another request settles never settles at all.
describe.each(["2026-01-01", "2024-01-01"])(
  "one instance for all requests of an isolate, on R2, in workerd as of %s",
  (date) => {
    // Several at once: most of the time is waiting, for one another's turns and for what never comes.
    const testWith = (name: string, run: Run): void =>
      test.concurrent(name, (context) => withWorker(date, (ask) => run(ask, context)));

    testWith("one request after the other finds it as the last one has left it", async (ask) => {
      for (let i = 0; i < 5; i++) {
        await ask("set", { key: `k${i}`, value: String(i) });
        expect(await ask("read", { key: `k${i}` })).toBe(String(i));
      }
      expect(await ask("count")).toBe(5);
      expect(await ask("transactions", { key: "t" })).toMatchObject({ version: expect.any(Number) as number });
      expect(await ask("read", { key: "t" })).toBe("begun");
    });

    testWith("fifty concurrent requests open it together and share slots, each told of its own commit", async (ask) => {
      const results = (await times(50, (i) => ask("set", { key: `k${i}`, value: "v" }))) as { version: number }[];
      expect(new Set(results.map(({ version }) => version)).size).toBe(50);
      const { creates, runningMost } = (await ask("counts")) as { creates: number; runningMost: number };
      expect(runningMost).toBeGreaterThan(10);
      expect(creates).toBeLessThan(10);
      expect(await ask("count")).toBe(50);
    });

    testWith("concurrent increments are exact, those of another instance included", async (ask) => {
      const [values] = await Promise.all([
        times(20, () => ask("increment", { key: "n" })),
        ask("elsewhere", { key: "n", times: "5" }),
      ]);
      expect(new Set(values).size).toBe(20);
      expect(await ask("get", { key: "n" })).toBe(25);
    });

    for (const lands of ["true", "false"]) {
      const what = lands === "true" ? "after its slot was written" : "before its slot was written";

      testWith(`a request that ends in mid-create, ${what}, breaks nobody`, async (ask) => {
        await ask("sum", { key: "sum" });
        await ask("counts");
        expect(await ask("die", { key: "dead", lands })).toBe("dead");
        await times(50, () => ask("sum", { key: "sum" }));
        expect(await ask("get", { key: "sum" })).toBe(52);
        expect(await ask("get", { key: "dead" })).toBe("from a dead request");
        const { creates } = (await ask("counts")) as { creates: number };
        expect(creates).toBeLessThan(15);
      });
    }

    testWith("a request that ends while it follows breaks no later read", async (ask) => {
      await ask("set", { key: "a", value: "1" });
      await ask("die-reading", { key: "a" });
      expect(await ask("get", { key: "a" })).toBe("1");
      await ask("die-reading", { key: "a" });
      await ask("set", { key: "a", value: "2" });
      expect(await ask("read", { key: "a" })).toBe("2");
    });

    testWith("a commit that a request leaves to waitUntil is made", async (ask, { expect: own }) => {
      await ask("leave", { key: "a" });
      await own.poll(() => ask("get", { key: "a" })).toBe("left behind");
    });

    testWith("a watch in one request gets what another one commits", async (ask, { expect: own }) => {
      await ask("set", { key: "other", value: "1" });
      const news = ask("watch", { key: "w" });
      await own.poll(() => ask("watches")).toBe(1);
      await ask("set", { key: "w", value: "news" });
      expect(await news).toMatchObject({ value: "news" });
    });

    testWith("a watch in one request gets what another isolate commits", async (ask, { expect: own }) => {
      await ask("set", { key: "other", value: "1" });
      const news = ask("watch", { key: "w" });
      await own.poll(() => ask("watches")).toBe(1);
      await ask("elsewhere", { key: "w", times: "1" });
      expect(await news).toMatchObject({ value: 1 });
    });
  },
);
