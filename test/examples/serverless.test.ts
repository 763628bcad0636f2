import { connect } from "node:net";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Local, startLocally } from "../../examples/serverless/local.ts";

/** Two runtimes on one bucket, over real HTTP: workerd on R2's binding, Node on R2's S3 interface. */

const source = (path: string): string => fileURLToPath(new URL(`../../src/${path}`, import.meta.url));
const alias = { "foliokv/r2": source("adapters/r2/index.ts"), foliokv: source("index.ts") };

let local: Local;
beforeAll(async () => void (local = await startLocally({ alias })));
afterAll(() => local[Symbol.asyncDispose]());

const SIDES = ["worker", "function"] as const;
type Side = (typeof SIDES)[number];
const other = (side: Side): Side => (side === "worker" ? "function" : "worker");

async function ask<T>(side: Side, path: string, body?: unknown): Promise<T> {
  const init = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
  const response = await fetch(new URL(path, local[side]), init);
  expect(response.ok, await response.clone().text()).toBe(true);
  return (await response.json()) as T;
}

interface Visits {
  readonly visits: number;
}

async function watches(side: Side): Promise<number> {
  return (await ask<{ watches: number }>(side, "/stats")).watches;
}

/** The events of a stream, one after the other, until it is left. */
async function* events<T>(side: Side, path: string): AsyncGenerator<T> {
  const gone = new AbortController();
  const response = await fetch(new URL(path, local[side]), { signal: gone.signal });
  expect(response.headers.get("content-type")).toBe("text/event-stream");
  let rest = "";
  try {
    const decoder = new TextDecoder();
    for await (const bytes of response.body ?? []) {
      const blocks = (rest + decoder.decode(bytes, { stream: true })).split("\n\n");
      rest = blocks.pop() ?? "";
      for (const block of blocks) if (block.startsWith("data: ")) yield JSON.parse(block.slice(6)) as T;
    }
  } finally {
    gone.abort();
  }
}

async function first<T>(stream: AsyncIterable<T>, wanted: (event: T) => boolean): Promise<T> {
  for await (const event of stream) if (wanted(event)) return event;
  throw new Error("the stream has ended");
}

describe("a Worker and a function on one bucket", () => {
  test("count exactly, however many visits come at once on either side", async () => {
    const before = await ask<Visits>("worker", "/visits");
    const counts = await Promise.all(
      Array.from({ length: 40 }, (_, i) => ask<Visits>(SIDES[i % 2], "/visits", {}).then(({ visits }) => visits)),
    );
    expect(Math.max(...counts)).toBeLessThanOrEqual(before.visits + 40);
    for (const side of SIDES) expect(await ask(side, "/visits")).toEqual({ visits: before.visits + 40 });
  });

  test.each(SIDES)("show what was signed on the other side: %s", async (side) => {
    const text = `seen by the ${side}`;
    const { version } = await ask<{ version: number }>(other(side), "/guest-book", { name: "A", text });
    expect(await ask(side, "/guest-book")).toContainEqual(expect.objectContaining({ name: "A", text, version }));
  });

  test.each(SIDES)("tell open streams what is signed on the other side: %s", async (side) => {
    const before = await ask<{ version: number }>(side, "/guest-book", { name: "B", text: "there before" });
    const stream = events<{ text: string; version: number }>(side, "/guest-book/live");
    // What was there comes first: then the stream is open.
    await stream.next();
    const text = `live at the ${side}`;
    const { version } = await ask<{ version: number }>(other(side), "/guest-book", { name: "C", text });
    expect(version).toBeGreaterThan(before.version);
    expect(await first(stream, (event) => event.version === version)).toMatchObject({ name: "C", text });
  });

  test.each(SIDES)("keep nothing of streams whose clients are gone: %s", async (side) => {
    const stream = events(side, "/guest-book/live");
    await ask(side, "/guest-book", { name: "E", text: "to begin with" });
    await stream.next();
    expect(await watches(side)).toBeGreaterThan(0);
    await stream.return(undefined);
    // workerd learns of it, through Miniflare, when it writes the next event.
    const left = async (): Promise<number> => {
      await ask(side, "/guest-book", { name: "E", text: "nobody listens" });
      return watches(side);
    };
    await expect.poll(left, { interval: 200, timeout: 30_000 }).toBe(0);
  });

  test.each(SIDES)("tell open streams of the rounds in which they follow the bucket: %s", async (side) => {
    const stream = events<{ result: string; applied: number; version: number }>(side, "/syncs/live");
    const { value: round } = (await stream.next()) as { value: { version: number } };
    const { version } = await ask<{ version: number }>(other(side), "/guest-book", { name: "D", text: "followed" });
    expect(version).toBeGreaterThan(round.version);
    const met = await first(stream, (event) => event.version >= version);
    expect(met).toMatchObject({ result: "success" });
    expect(met.applied).toBeGreaterThanOrEqual(1);
  });

  test.each(SIDES)("serve the page, and refuse what they do not know: %s", async (side) => {
    const page = await fetch(local[side]);
    expect(page.headers.get("content-type")).toMatch("text/html");
    expect(await page.text()).toContain("/syncs/live");
    expect((await fetch(new URL("/nothing", local[side]))).status).toBe(404);
    const unsigned = await fetch(new URL("/guest-book", local[side]), { method: "POST", body: "{}" });
    expect(unsigned.status).toBe(400);
  });

  test.each(SIDES)("cut long texts between characters: %s", async (side) => {
    // Each is two units of UTF-16, of which one alone is no text; the letter shifts them by one.
    const name = `a${"🌍".repeat(60)}`;
    const { version } = await ask<{ version: number }>(side, "/guest-book", { name, text: name.repeat(10) });
    const signed = (await ask<{ version: number; name: string }[]>(side, "/guest-book")).find(
      (each) => each.version === version,
    );
    expect(signed?.name).toBe(`a${"🌍".repeat(49)}`);
  });

  test("go on after requests that make no sense, or break off", async () => {
    // What the Worker gets was looked at by workerd.
    const { hostname, port } = local.function;
    for (const request of [
      "GET /visits HTTP/1.1\r\nhost: a b\r\n\r\n",
      "GET http://[ HTTP/1.1\r\nhost: a\r\n\r\n",
      'POST /guest-book HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n{"name":',
    ]) {
      await new Promise<void>((resolve, reject) => {
        const socket = connect(Number(port), hostname, () => socket.write(request));
        socket.once("data", () => socket.end());
        // Nobody answers what has not arrived.
        socket.setTimeout(300, () => socket.destroy());
        socket.once("close", () => resolve());
        socket.once("error", reject);
      });
    }
    expect((await ask<Visits>("function", "/visits")).visits).toBeGreaterThanOrEqual(0);
  });

  test("end with open streams, and are gone then", async () => {
    const own = await startLocally({ alias });
    const open = await Promise.all(SIDES.map((side) => fetch(new URL("/syncs/live", own[side]))));
    const ends = open.map((response) => response.text().catch(() => "broken off"));
    await own[Symbol.asyncDispose]();
    await Promise.all(ends);
    for (const side of SIDES) await expect(fetch(own[side])).rejects.toThrow();
  });
});
