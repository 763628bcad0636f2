/**
 * Makes the golden files that are not there yet: `node test/format/make.ts`. Files that exist are never made anew: they stand for what older
 * versions of the library have written, and must be readable for ever. Look at what a new one contains before you commit it.
 */
import { createHash } from "node:crypto";
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { FrameKind, frameBytes, MARKER, writeFrame } from "../../src/adapters/fs/frame.ts";
import { encodeHeaderPair, encodeNewLedger } from "../../src/adapters/fs/generation.ts";
import { fsLedger } from "../../src/adapters/fs/index.ts";
import { encodeDrop, encodeSeal, FORMAT } from "../../src/adapters/fs/payloads.ts";
import { ByteWriter } from "../../src/core/bytes.ts";
import { writeOutcomeSet, writePurge, writeSet } from "../../src/core/commit.ts";
import type { Environment } from "../../src/core/environment.ts";
import { encodeKey } from "../../src/core/key.ts";
import { fileWork } from "../../src/core/file-work.ts";
import { CoreKV } from "../../src/core/kv.ts";
import { encodeValue } from "../../src/core/value.ts";
import { nodeEnvironment } from "../../src/platform/environment-node.ts";
import { readWithLibrary } from "./library.ts";

const GOLDEN = fileURLToPath(new URL("golden/", import.meta.url));
const CHECKSUMS = join(GOLDEN, "checksums.json");
const HOUR = 3_600_000;
const START = Date.UTC(2026, 0);

/** A ledger in the making: every choice of clock and chance is fixed. */
class Ledger {
  readonly path: string;
  readonly environment: Environment;
  #now = START;
  #random = 1;

  constructor(path: string) {
    this.path = path;
    this.environment = {
      ...nodeEnvironment,
      now: () => this.#now,
      randomBytes: (length) => Uint8Array.from({ length }, () => this.#next()),
    };
  }

  pass(ms: number): void {
    this.#now += ms;
  }

  /** Opens the database, writes to it, closes it. */
  async write(work: (db: CoreKV) => Promise<void>): Promise<void> {
    const db = new CoreKV({ autoSync: false }, { environment: this.environment, ledgerAt: fsLedger, fileWork });
    await db.open(this.path);
    await work(db);
    await db.close();
  }

  async set(...pairs: readonly (readonly [string, unknown])[]): Promise<void> {
    await this.write(async (db) => {
      for (const [name, value] of pairs) {
        this.pass(1000);
        await db.set([name], value);
      }
    });
  }

  bytes(): Uint8Array {
    return readFileSync(this.path);
  }

  append(bytes: Uint8Array): void {
    appendFileSync(this.path, bytes);
  }

  flip(offset: number): void {
    const bytes = this.bytes();
    bytes[offset] ^= 0x10;
    writeFileSync(this.path, bytes);
  }

  frame(kind: number, payload: Uint8Array): Uint8Array {
    const bytes = new Uint8Array(frameBytes(payload.length));
    this.pass(1000);
    const record = { writer: this.environment.randomBytes(12), counter: 1, timestamp: this.#now, payload };
    writeFrame(bytes, 0, kind, record, this.environment.crc32);
    return bytes;
  }

  commitFrame(name: string, value: unknown): Uint8Array {
    const writer = new ByteWriter();
    writeSet(writer, this.environment.crc32, encodeKey([name]), encodeValue(value), 0, undefined);
    return this.frame(FrameKind.commit, writer.take());
  }

  nonce(): string {
    return Buffer.from(this.bytes().subarray(48 + 26, 48 + 42)).toString("hex");
  }

  #next(): number {
    this.#random = (Math.imul(this.#random, 1_103_515_245) + 12_345) >>> 0;
    return (this.#random >>> 16) & 0xff;
  }
}

const SIBLING = "5ca1ab1e".repeat(4);

const golden: Readonly<Record<string, (ledger: Ledger) => Promise<void>>> = {
  values: async (ledger) => {
    for (const [name, value] of values()) await ledger.set([name, value]);
  },

  keys: async (ledger) => {
    await ledger.write(async (db) => {
      for (const [i, key] of keys().entries()) {
        ledger.pass(1000);
        await db.set(key, i);
      }
    });
  },

  operations: async (ledger) => {
    await ledger.write(async (db) => {
      const step = async (work: () => Promise<unknown>): Promise<void> => {
        ledger.pass(1000);
        await work();
      };
      const refused = (promise: Promise<unknown>): Promise<unknown> => promise.catch(() => undefined);
      await step(() => db.set(["stays"], "first"));
      await step(() => db.set(["stays"], "second"));
      await step(() => db.set(["goes"], { nested: [1, 2, 3] }));
      await step(() => db.delete(["goes"]));
      await step(() => db.delete(["never was"]));
      await step(() => db.atomic().sum(["sum"], 40).sum(["sum"], 2).commit());
      await step(() =>
        db
          .atomic()
          .sum(["sum"], 0.5)
          .min(["min"], -7)
          .max(["max"], 2 ** 40)
          .commit(),
      );
      await step(() => db.atomic().min(["min"], -8).max(["max"], 1).commit());
      await step(() => db.atomic().sum(["zero"], -0).commit());
      await step(() =>
        db
          .atomic()
          .sum(["big"], 2n ** 64n)
          .sum(["big"], -1n)
          .commit(),
      );
      await step(() =>
        db
          .atomic()
          .min(["big"], -(2n ** 70n))
          .commit(),
      );
      await step(() => db.atomic().max(["big"], 5n).commit());
      await step(() => db.atomic().sum(["infinite"], Infinity).commit());
      // Void: the sum would be NaN. What stands before it in the commit is void as well.
      await step(() => refused(db.atomic().set(["void"], 1).sum(["infinite"], -Infinity).commit()));
      // Void: a string cannot be summed; a number and a bigint do not mix.
      await step(() => refused(db.atomic().sum(["stays"], 1).commit()));
      await step(() => refused(db.atomic().sum(["big"], 1).commit()));
      const entry = await db.getEntry(["stays"]);
      await step(() =>
        db
          .atomic()
          .check({ key: ["stays"], version: entry?.version })
          .set(["checked"], true)
          .commit(),
      );
      await step(() =>
        db
          .atomic()
          .check({ key: ["absent"], version: null })
          .set(["absent"], "was")
          .commit(),
      );
      // Void: there is one by now; and it has another version.
      await step(() =>
        db
          .atomic()
          .check({ key: ["absent"], version: null })
          .set(["void"], 2)
          .commit(),
      );
      await step(() =>
        db
          .atomic()
          .check({ key: ["stays"], version: 300 })
          .delete(["stays"])
          .commit(),
      );
      await step(() => db.atomic().set(["twice"], 1).set(["other"], 2).set(["twice"], 3).delete(["other"]).commit());
      await step(async () => {
        await db.beginTransaction();
        for (let i = 0; i < 5; i++) await db.set(["transaction", i], { i });
        await db.endTransaction();
      });
    });
  },

  expiry: async (ledger) => {
    await ledger.write(async (db) => {
      const years = 10 * 365 * 24 * HOUR;
      await db.set(["session"], "short", { expireIn: 1000 });
      await db.set(["session", "long"], "long", { expireIn: years });
      await db.set(["cleared"], 1, { expireIn: HOUR });
      await db.set(["cleared"], 2);
      await db.atomic().sum(["keeps its expiry"], 1, { expireIn: years }).commit();
      await db.atomic().sum(["keeps its expiry"], 1, { expireIn: 5 }).commit();
      await db.atomic().sum(["starts anew"], 10, { expireIn: 0.5 }).commit();
      const expired = await db.getEntry(["session"]);
      ledger.pass(1000);
      await db.atomic().sum(["starts anew"], 1).commit();
      // Expired at the commit's own timestamp: absent.
      await db
        .atomic()
        .check({ key: ["session"], version: null })
        .set(["checked absent"], true)
        .commit();
      await db
        .atomic()
        .check({ key: ["session"], version: expired?.version })
        .set(["void"], true)
        .commit();
      await db.set(["purged"], "p", { expireIn: HOUR });
      await db.set(["purged too early"], "e", { expireIn: 48 * HOUR });
      await db.set(["purged with another version"], "v", { expireIn: HOUR });
    });
    const versions = new Map<string, number>();
    await ledger.write(async (db) => {
      for (const { key, version } of await db.listAll([])) versions.set(String(key[0]), version as number);
    });
    ledger.pass(26 * HOUR);
    const purge = new ByteWriter();
    const entry = (name: string, shift = 0): { key: string; version: number } => ({
      key: encodeKey([name]),
      version: (versions.get(name) as number) + shift,
    });
    writePurge(purge, {
      afterMs: 24 * HOUR,
      entries: [entry("purged"), entry("purged too early"), entry("purged with another version", 1)],
    });
    ledger.append(ledger.frame(FrameKind.commit, purge.take()));
    await ledger.set(["last", "entry"]);
  },

  outcomes: async (ledger) => {
    await ledger.set(["plain", 1]);
    const payload = new ByteWriter();
    const { crc32 } = nodeEnvironment;
    const put = (name: string, value: unknown, expiresAt: number): void => {
      const numeric = typeof value === "number" || typeof value === "bigint" ? value : undefined;
      writeOutcomeSet(payload, crc32, encodeKey([name]), encodeValue(value), expiresAt, numeric);
    };
    put("result", 41.5, 0);
    put("kept its expiry", 2n ** 70n, START + 10 * 365 * 24 * HOUR + 0.123);
    put("expired", { a: 1 }, START + 0.5);
    put("expired before there were clocks", "x", -1);
    ledger.append(ledger.frame(FrameKind.commit, payload.take()));
    await ledger.set(["last", "entry"]);
  },

  masked: async (ledger) => {
    await ledger.set(["plain", "before"]);
    await ledger.set(["marker", MARKER.slice()]);
    await ledger.set(["copy of the ledger", ledger.bytes().slice()]);
    await ledger.set(["marker once more", Uint8Array.from([...MARKER, 0, ...MARKER, 0, 0, ...MARKER])]);
    await ledger.set(["plain too", { after: true }]);
  },

  stump: async (ledger) => {
    await ledger.set(["a", 1]);
    const frame = ledger.commitFrame("torn", "x".repeat(100));
    ledger.append(frame.subarray(0, 90));
    await ledger.set(["b", 2]);
  },

  "two-stumps": async (ledger) => {
    await ledger.set(["a", 1]);
    const frame = ledger.commitFrame("torn", "y".repeat(100));
    ledger.append(frame.subarray(0, 20));
    ledger.append(frame.subarray(0, 80));
    await ledger.set(["b", 2]);
    ledger.append(frame.subarray(0, 3));
    await ledger.set(["c", 3]);
  },

  "stumps-within-markers": async (ledger) => {
    const frame = ledger.commitFrame("torn", "y".repeat(100));
    await ledger.set(["a", 1]);
    ledger.append(frame.subarray(0, 45));
    ledger.append(frame.subarray(0, 5));
    await ledger.set(["b", 2]);
    ledger.append(frame.subarray(0, frame.length - 1));
    ledger.append(frame.subarray(0, 1));
    ledger.append(frame.subarray(0, 2));
    await ledger.set(["c", 3]);
    ledger.append(frame.subarray(0, 1));
    ledger.append(frame.subarray(0, 7));
    await ledger.set(["d", 4]);
    ledger.append(frame.subarray(0, 46));
    ledger.append(frame.subarray(0, 3));
  },

  unfinished: async (ledger) => {
    await ledger.set(["a", 1]);
    ledger.append(ledger.commitFrame("unfinished", "z".repeat(100)).subarray(0, 100));
  },

  lost: async (ledger) => {
    await ledger.set(["a", 1]);
    ledger.append(ledger.commitFrame("lost", "l".repeat(100)).fill(0, 70));
    await ledger.set(["b", 2]);
    ledger.append(new Uint8Array(500));
    await ledger.set(["c", 3]);
  },

  damage: async (ledger) => {
    await ledger.set(["a", 1], ["b", "damaged payload"], ["c", 3]);
    const header = 2 * 131;
    const second = header + frameOf(ledger, header);
    const third = second + frameOf(ledger, second);
    await ledger.set(["d", "damaged header"], ["e", 5]);
    const fourth = third + frameOf(ledger, third);
    ledger.flip(second + 55);
    ledger.flip(fourth + 30);
  },

  "header-first-copy": async (ledger) => {
    await ledger.set(["a", 1], ["b", 2]);
    ledger.flip(60);
  },

  "header-second-copy": async (ledger) => {
    await ledger.set(["a", 1], ["b", 2]);
    ledger.flip(131 + 60);
  },

  creation: async (ledger) => {
    const [first, second, third] = [1, 2, 3].map(() => encodeNewLedger(ledger.environment));
    ledger.append(first.subarray(0, 100));
    ledger.append(second);
    ledger.append(third);
    await ledger.set(["a", 1], ["b", 2]);
  },

  drop: async (ledger) => {
    await ledger.set(["a", 1]);
    const name = "ledger.db.2-00ff";
    const seal = { base: 400, framesAt: 900, syncedMark: 300, reload: false };
    ledger.append(ledger.frame(FrameKind.drop, encodeDrop(SIBLING)));
    // Void: it names a sibling that was dropped; another generation; a file that is no sibling; is cut off.
    const dropped = { ...seal, nonce: ledger.nonce(), siblingNonce: SIBLING, siblingName: name };
    const another = { ...dropped, nonce: "ff".repeat(16), siblingNonce: "ab".repeat(16) };
    const misnamed = { ...dropped, siblingNonce: "cd".repeat(16), siblingName: "../ledger.db.2-00ff" };
    for (const each of [dropped, another, misnamed]) ledger.append(ledger.frame(FrameKind.seal, encodeSeal(each)));
    ledger.append(ledger.frame(FrameKind.seal, encodeSeal({ ...misnamed, siblingName: name }).subarray(0, 70)));
    await ledger.set(["b", 2]);
  },

  sealed: async (ledger) => {
    await ledger.set(["a", 1], ["b", 2]);
    const size = ledger.bytes().length;
    const seal = {
      nonce: ledger.nonce(),
      siblingNonce: SIBLING,
      base: size,
      framesAt: 1000,
      syncedMark: size,
      siblingName: "ledger.db.2-c0ffee",
      reload: false,
    };
    ledger.append(ledger.frame(FrameKind.seal, encodeSeal(seal)));
    ledger.append(ledger.commitFrame("behind the seal", 3));
    ledger.append(ledger.frame(FrameKind.seal, encodeSeal({ ...seal, siblingNonce: "ef".repeat(16) })));
  },

  "second-generation": async (ledger) => {
    // Without a snapshot run, as after the vacuum of a ledger in which nothing was left.
    const header = {
      format: FORMAT,
      ledgerId: "1d".repeat(16),
      generation: 2,
      nonce: SIBLING,
      base: 1_000_000_000,
      framesAt: 2 * 131,
      runAt: 0,
      runBytes: 0,
      runChecksum: 0,
    };
    ledger.append(encodeHeaderPair(header, ledger.environment));
    await ledger.set(["a", 1]);
    ledger.append(ledger.commitFrame("torn", "t".repeat(50)).subarray(0, 60));
    await ledger.set(["b", 2]);
  },
};

function frameOf(ledger: Ledger, offset: number): number {
  return frameBytes(Buffer.from(ledger.bytes()).readUInt32LE(offset + 13));
}

function keys(): (string | number | bigint | boolean | Uint8Array)[][] {
  return [
    ...["", "a", "a\0", "a\0b", "ab", "é", "€", "\u{1F600}", "\ufeffmark", "x".repeat(200)].map((part) => [part]),
    ...[0, 1, -1, 0.1, 1.5, -1.5, 1e300, -1e300, 5e-324, Infinity, -Infinity, 2 ** 53].map((part) => [part]),
    ...[0n, 1n, -1n, 255n, 256n, -255n, -256n, 2n ** 64n, -(2n ** 64n), 2n ** 600n, -(2n ** 600n)].map((part) => [
      part,
    ]),
    [true],
    [false],
    [new Uint8Array(0)],
    [Uint8Array.of(0)],
    [Uint8Array.of(0, 255, 0, 0, 1)],
    [Uint8Array.of(255, 254)],
    ["a", 1],
    ["a", 1n],
    ["a", "1", true, -1, Uint8Array.of(0), 12n, "", "end"],
  ];
}

/** One of every form, and the edges of each. */
function values(): [string, unknown][] {
  const shared = { shared: true };
  const cycle: Record<string, unknown> = { name: "cycle" };
  cycle.self = cycle;
  const list: unknown[] = [1];
  list.push(list);
  const map = new Map<unknown, unknown>([["one", 1]]);
  map.set(map, map);
  const set = new Set<unknown>(["item"]);
  set.add(set);
  const sparse: unknown[] = [];
  sparse[3] = "three";
  sparse.length = 6;
  const error = new TypeError("message", { cause: new Error("the cause") });
  error.stack = "TypeError: message\n    at somewhere";
  (error.cause as Error).stack = "of the cause";
  const named = new Error("named");
  named.name = "SpecialError";
  delete named.stack;
  const aggregate = new AggregateError([named, 1, "two"], "several");
  aggregate.stack = "of the aggregate";
  const classes = [RangeError, SyntaxError, ReferenceError, EvalError, URIError].map((Class) => {
    const each = new Class("m");
    each.stack = "s";
    return each;
  });
  const selfish = new Error("selfish");
  selfish.stack = "s";
  selfish.cause = selfish;
  const date = new Date(START);
  const numbers = [
    0,
    1,
    23,
    24,
    255,
    256,
    65_535,
    65_536,
    2 ** 31,
    2 ** 32 - 1,
    2 ** 32,
    2 ** 53,
    1e21,
    1.5,
    0.1,
    5e-324,
  ];
  return [
    ...numbers.map((each): [string, unknown] => [`number ${each}`, each]),
    ...[-1, -24, -25, -256, -257, -65_536, -65_537, -(2 ** 31), -(2 ** 31) - 1, -1.5, -1.7976931348623157e308].map(
      (each): [string, unknown] => [`number ${each}`, each],
    ),
    ["minus zero", -0],
    ["minus zero within", [-0, { zero: -0 }]],
    ["not a number", [NaN, Infinity, -Infinity]],
    ["nan", NaN],
    ...[
      0n,
      1n,
      -1n,
      2n ** 32n,
      2n ** 64n - 1n,
      2n ** 64n,
      -(2n ** 63n),
      -(2n ** 64n),
      -(2n ** 64n) - 1n,
      3n ** 500n,
      -(3n ** 500n),
    ].map((each, i): [string, unknown] => [`bigint ${i}`, each]),
    ["bigints within", [1n, new Map([[2n ** 80n, -5n]])]],
    ["true", true],
    ["false", false],
    ["null", null],
    ["undefined within", { a: undefined, b: [undefined] }],
    ["empty string", ""],
    ["string", "text, \u00e9\u20ac\u{1F600}\0\n"],
    ["string of 23", "s".repeat(23)],
    ["string of 24", "s".repeat(24)],
    ["string of 300", "\u00e9".repeat(150)],
    ["string with a mark", "\ufeffmarked"],
    ["string with a mark within", [-0, "\ufeff\ufeffmarked twice"]],
    ["name with a mark", { "\ufeffname": "\ufeffvalue" }],
    ["name with a mark within", [-0, { a: 1, "\ufeffname": "\ufeffvalue" }]],
    ["empty array", []],
    ["array", [1, "two", [3, [4]], null]],
    ["array of 300", Array.from({ length: 300 }, (_, i) => i)],
    ["array with holes", sparse],
    ["holes within", { items: [sparse] }],
    ["empty object", {}],
    ["object", { b: 1, a: { c: [true] }, "": 0, "with space": 2, 10: "ten", $: "dollar" }],
    ["object of 30", Object.fromEntries(Array.from({ length: 30 }, (_, i) => [`name${i}`, i]))],
    ["date", date],
    ["date with ms", new Date(START + 123)],
    ["date before 1970", new Date(-86_400_001)],
    ["date far away", new Date(8.64e15)],
    ["invalid date", new Date(NaN)],
    [
      "map",
      new Map<unknown, unknown>([
        ["b", 1],
        ["a", { x: 1 }],
        [1, new Map()],
        [{ key: true }, null],
        [NaN, -0],
      ]),
    ],
    ["set", new Set<unknown>(["b", "a", 1, null, undefined, [1]])],
    ["regexp", /a\/b[\n]/giu],
    ["uint8", Uint8Array.of(0, 1, 255)],
    ["uint8 of none", new Uint8Array(0)],
    ["uint8 of 300", Uint8Array.from({ length: 300 }, (_, i) => i)],
    ["uint8 clamped", Uint8ClampedArray.of(1, 2)],
    ["int8", Int8Array.of(-1, 1)],
    ["uint16", Uint16Array.of(1, 65_535)],
    ["int16", Int16Array.of(-2, 2)],
    ["uint32", Uint32Array.of(1, 2 ** 32 - 1)],
    ["int32", Int32Array.of(-1, 1)],
    ["float32", Float32Array.of(1.5, NaN, -0)],
    ["float64", Float64Array.of(0.1, Infinity)],
    ["bigint64", BigInt64Array.of(-1n, 2n ** 62n)],
    ["biguint64", BigUint64Array.of(2n ** 64n - 1n)],
    ["array buffer", Uint8Array.of(1, 2, 3).buffer],
    ["data view", new DataView(Uint8Array.of(0, 1, 2, 3).buffer, 1, 2)],
    ["error", error],
    ["error with a name", named],
    ["error of many", aggregate],
    ["error classes", classes],
    ["shared", [shared, shared, { again: shared }]],
    ["cycle", cycle],
    ["cycle in an array", list],
    ["cycle in a map", map],
    ["cycle in a set", set],
    ["cycle in an error", selfish],
    ["shared leaves", [date, date, sparse, sparse, { "\ufeff": [date] }]],
  ];
}

for (const [name, make] of Object.entries(golden)) {
  const target = join(GOLDEN, `${name}.db`);
  if (existsSync(target)) continue;
  const folder = mkdtempSync(join(tmpdir(), "foliokv-golden-"));
  try {
    const ledger = new Ledger(join(folder, "ledger.db"));
    await make(ledger);
    writeFileSync(target, ledger.bytes());
  } finally {
    rmSync(folder, { recursive: true });
  }
  writeFileSync(join(GOLDEN, `${name}.json`), `${JSON.stringify(await readWithLibrary(target), null, 1)}\n`);
  const checksums = existsSync(CHECKSUMS)
    ? (JSON.parse(readFileSync(CHECKSUMS, "utf8")) as Record<string, string>)
    : {};
  for (const file of [`${name}.db`, `${name}.json`])
    checksums[file] = createHash("sha256")
      .update(readFileSync(join(GOLDEN, file)))
      .digest("hex");
  writeFileSync(CHECKSUMS, `${JSON.stringify(checksums, null, 2)}\n`);
  console.log(`made ${name}.db`);
}
