import * as core from "foliokv";
import * as fs from "foliokv/fs";
import * as memory from "foliokv/memory";
import * as object from "foliokv/object";
import * as r2 from "foliokv/r2";
import * as s3 from "foliokv/s3";
import * as s3Fetch from "foliokv/s3-fetch";
import * as testing from "foliokv/testing";
import * as unstorage from "foliokv/unstorage";
import { createStorage } from "unstorage";
import { describe, expect, test } from "vitest";

/** What most arguments cannot be. */
const NONSENSE: readonly unknown[] = [null, 0, -1, NaN, "", "a b", [], { nonsense: 1 }, Symbol("s"), 1n, new Map()];
/** What an argument of that kind takes, out of the above. */
type Takes = readonly unknown[];

const { environment } = core;
const { memoryStore } = object;
const credentials = { accessKeyId: "id", secretAccessKey: "secret" };
const bucket = { bucket: "bucket", prefix: "a/b" };
const address = { ...bucket, endpoint: "http://127.0.0.1:1", region: "here", credentials };
const binding = { get: null, head: () => null, put: () => null };
const store = memoryStore();
const ofStore = { bucket: [], prefix: [], requestTimeoutMs: [], parallel: [] };
const common = { ...ofStore, writers: [], graceMs: [] };
const overS3 = {
  conditionalWrites: [],
  quotedEtags: [],
  tellsTime: [],
  endpoint: [],
  region: [],
  credentials: [],
  forcePathStyle: [],
};

interface Case {
  /** The function, called with one argument. */
  readonly call: (argument: never) => unknown;
  /** What it takes of `NONSENSE`. */
  readonly takes?: Takes;
  /** An argument that is fine, and what each of its options takes of `NONSENSE`. */
  readonly options?: readonly [fine: object, names: Readonly<Record<string, Takes>>];
  /** Where there has to be an argument. */
  readonly needed?: true;
}

/** An object that has nothing of its own says nothing, and so does what is left out. */
const NO_OPTIONS: Takes = [NONSENSE.at(-1)];
const NO_PART: Takes = [NONSENSE[6]];

const CASES: Readonly<Record<string, Case | "takes anything">> = {
  hasCode: "takes anything",
  conformanceCases: "takes anything",
  "fsLedger path": { call: (path) => fs.fsLedger(path), takes: ["a b"], needed: true },
  fsLedger: { call: (options) => fs.fsLedger("a", options), takes: NO_OPTIONS, options: [{}, { durability: [] }] },
  memoryLedger: { call: memory.memoryLedger, takes: NO_OPTIONS, options: [{}, { name: ["", "a b"] }] },
  memoryStore: { call: memoryStore, takes: NO_OPTIONS, options: [{}, { name: ["", "a b"], now: [] }] },
  "objectLedger store": { call: (given) => object.objectLedger(given), needed: true, options: [store, {}] },
  objectLedger: {
    call: (options) => object.objectLedger(store, options),
    takes: NO_OPTIONS,
    options: [{}, { prefix: [], writers: [], graceMs: [] }],
  },
  "probeStore store": { call: (given) => object.probeStore(given), needed: true },
  probeStore: {
    call: (options) => object.probeStore(store, options),
    takes: NO_OPTIONS,
    options: [{}, { environment: [], connections: NO_PART, racers: [], keys: [] }],
  },
  requireSuitable: { call: object.requireSuitable, needed: true },
  s3Ledger: { call: s3.s3Ledger, needed: true, options: [address, { ...common, ...overS3 }] },
  "s3Ledger client": { call: s3.s3Ledger, options: [bucket, { client: [] }] },
  s3Store: { call: s3.s3Store, needed: true, options: [address, { ...ofStore, ...overS3 }] },
  s3FetchLedger: {
    call: s3Fetch.s3FetchLedger,
    needed: true,
    options: [address, { ...common, ...overS3, fetch: [] }],
  },
  s3FetchStore: {
    call: s3Fetch.s3FetchStore,
    needed: true,
    options: [address, { ...ofStore, ...overS3, fetch: [] }],
  },
  r2Ledger: { call: r2.r2Ledger, needed: true, options: [{ ...bucket, bucket: binding }, common] },
  r2Store: {
    call: r2.r2Store,
    needed: true,
    options: [{ ...bucket, bucket: binding }, ofStore],
  },
  unstorageLedger: {
    call: unstorage.unstorageLedger,
    needed: true,
    options: [
      { storage: createStorage(), prefix: "a" },
      { storage: [], prefix: [] },
    ],
  },
  foliokvDriver: {
    call: unstorage.foliokvDriver,
    needed: true,
    options: [{ database: "a.db" }, { database: ["a b"], options: NO_OPTIONS, base: ["", "a b", ...NO_PART], ttl: [] }],
  },
  ledgerConformance: {
    call: testing.ledgerConformance,
    needed: true,
    options: [
      { test: () => undefined, create: () => undefined, environment },
      {
        test: [],
        create: [],
        environment: NONSENSE.filter((each) => typeof each === "object" && each !== null),
        capabilities: NO_OPTIONS,
      },
    ],
  },
  "faultyLedger ledger": { call: (ledger) => testing.faultyLedger(ledger, {}), needed: true },
  faultyLedger: {
    call: (faults) => testing.faultyLedger(memory.memoryLedger(), faults),
    takes: NO_OPTIONS,
    options: [{}, { append: [], read: [], delay: [] }],
  },
};

/** What a call comes to: "" if it takes the argument. */
async function refusal(call: (argument: never) => unknown, argument: unknown): Promise<string> {
  try {
    await call(argument as never);
    return "";
  } catch (error) {
    expect(error).toBeInstanceOf(core.InvalidArgumentError);
    const { code, message } = error as core.InvalidArgumentError;
    expect(code).toMatch(/^Invalid(Argument|Option|Key)$/);
    return message;
  }
}

const cases = Object.entries(CASES).flatMap(([name, each]) => (each === "takes anything" ? [] : [{ name, ...each }]));

describe("calls of the entries", () => {
  test.each(cases)(
    "refuse what they cannot use, at once and by name: $name",
    async ({ name, call, takes, needed, options }) => {
      const [called] = name.split(" ");
      const expected = takes ?? [];
      for (const value of needed === true ? [...NONSENSE, undefined] : NONSENSE) {
        if (expected.includes(value)) continue;
        expect(await refusal(call, value), `of ${String(value)}`).toContain(called);
      }
      if (options === undefined) return;
      const [fine, names] = options;
      expect(await refusal(call, fine)).toBe("");
      for (const [option, taken] of Object.entries(names)) {
        for (const value of NONSENSE) {
          const message = await refusal(call, { ...fine, [option]: value });
          if (taken.includes(value)) expect(message, `${option}: ${String(value)}`).toBe("");
          else expect(message, `${option}: ${String(value)}`).toMatch(new RegExp(`^${called}: (?:.*\\b)?${option}\\b`));
        }
        const throwing = Object.defineProperty({ ...fine }, option, {
          enumerable: true,
          get: () => {
            throw new Error("no such luck");
          },
        });
        expect(await refusal(call, throwing)).toContain(called);
      }
    },
  );

  test("are all in this table", () => {
    const entries: object[] = [core, fs, memory, object, r2, s3, s3Fetch, testing, unstorage];
    const isClass = (value: unknown): boolean => /^class\b/.test(String(value));
    const exported = entries
      .flatMap((entry) => Object.entries(entry))
      .filter(([, value]) => typeof value === "function" && !isClass(value))
      .map(([name]) => name);
    const listed = new Set(Object.keys(CASES).map((name) => name.split(" ")[0]));
    expect(exported.filter((name) => !listed.has(name))).toEqual([]);
  });

  /** Slips of the pen, and what would lead elsewhere than it says. */
  const SLIPS: Readonly<Record<string, readonly unknown[]>> = {
    bucket: [".", "..", "a/b", "s3://bucket", "bucket/", "my bucket", "b?x", "b#x", "b%2f", "x".repeat(256)],
    prefix: ["/a", "a/", "a//b", "a/../b", ".", "a\\b", "a:b", "ä", "a\n", "x".repeat(513)],
    endpoint: [
      "s3.example.org",
      "ftp://s3.example.org",
      "http://",
      "https://<account>.r2.cloudflarestorage.com",
      "http://s3.example.org/?x=1",
      "http://s3.example.org/#x",
      "http://s3.example.org:port",
      new URL("http://s3.example.org"),
    ],
    region: ["eu-central-1/..", "eu central", "a@b", "a?b"],
    credentials: [
      {},
      { accessKeyId: "id" },
      { accessKeyId: "", secretAccessKey: "" },
      { ...credentials, sessionToken: 5 },
      Promise.resolve(credentials),
    ],
    requestTimeoutMs: [2 ** 31, Infinity, "1000", true],
    parallel: [0.5, Infinity, "4", true],
    writers: ["one", 1],
    graceMs: [3_599_999, Infinity, "3600000"],
  };

  test.each(Object.entries(SLIPS))("that lead to a bucket refuse slips of the pen: %s", async (option, slips) => {
    for (const call of [s3.s3Ledger, s3Fetch.s3FetchLedger] as ((options: never) => unknown)[]) {
      for (const slip of slips) {
        const message = await refusal(call, { ...address, [option]: slip });
        expect(message, String(slip)).toMatch(new RegExp(`: ${option} must be `));
      }
    }
  });

  test("take every address of a store", async () => {
    for (const call of [s3.s3Ledger, s3Fetch.s3FetchLedger] as ((options: never) => unknown)[]) {
      for (const endpoint of [
        "http://localhost:9000",
        "https://s3.eu-central-1.amazonaws.com/",
        "http://127.0.0.1:8787/cdn-cgi/local/r2/s3",
        "https://0123456789abcdef.eu.r2.cloudflarestorage.com",
        "http://[::1]:9000",
        "https://käse.example",
      ]) {
        expect(await refusal(call, { ...address, endpoint })).toBe("");
      }
    }
  });

  test("tell no secrets", async () => {
    const secret = "hunter2";
    for (const call of [s3.s3Ledger, s3Fetch.s3FetchLedger] as ((options: never) => unknown)[]) {
      for (const wrong of [
        { endpoint: `https://user:${secret}@s3.example.org` },
        { credentials: secret },
        { credentials: [secret] },
        { credentials: { accessKey: secret } },
      ]) {
        const message = await refusal(call, { ...address, ...wrong });
        expect(message).not.toBe("");
        expect(message).not.toContain(secret);
      }
    }
  });
});
