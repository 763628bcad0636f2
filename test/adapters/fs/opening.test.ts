import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync, appendFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { FrameKind, frameBytes, MARKER, writeFrame } from "../../../src/adapters/fs/frame.ts";
import { encodeHeaderPair } from "../../../src/adapters/fs/generation.ts";
import { FORMAT } from "../../../src/adapters/fs/payloads.ts";
import { KV } from "../../../src/index.node.ts";
import { nodeEnvironment } from "../../../src/platform/environment-node.ts";
import { temporaryFolder } from "../../support/folder.ts";
import { makeSmallLedger } from "../../support/small-ledger.ts";

const text = (content: string): Uint8Array => new TextEncoder().encode(content);

/** A frame of a kind that this version does not know. */
function frameOfTheFuture(): Uint8Array {
  const payload = text("what this means nobody here knows");
  const frame = new Uint8Array(frameBytes(payload.length));
  const record = { writer: new Uint8Array(12), counter: 1, timestamp: 0, payload };
  writeFrame(frame, 0, FrameKind.drop + 96, record, nodeEnvironment.crc32);
  return frame;
}

/** The header of an empty ledger in some format. */
function headerOf(format: number): Uint8Array {
  const id = "00112233445566778899aabbccddeeff";
  const header = { format, ledgerId: id, generation: 1, nonce: id, base: 0, framesAt: 0 };
  return encodeHeaderPair({ ...header, runAt: 0, runBytes: 0, runChecksum: 0 }, nodeEnvironment);
}

const FOREIGN: Readonly<Record<string, Uint8Array>> = {
  "a text": text("Dear diary,\ntoday I opened the wrong file.\n"),
  "one letter": text("x"),
  "JSON of many kilobytes": text(JSON.stringify(Array.from({ length: 30_000 }, (_, i) => ({ i })))),
  "a SQLite database": new Uint8Array([...text("SQLite format 3\0"), ...new Uint8Array(4080)]),
  "a compressed file": gzipSync(text("hello")),
  "a database of @cross/kv": text("CKVD2.1 and so on"),
  "a page of zeros": new Uint8Array(4096),
  "a text that holds a marker": new Uint8Array([...text("See this: "), ...MARKER, ...text(" strange, isn't it?")]),
  "an archive that holds a ledger": new Uint8Array([
    ...text("ledger.db"),
    ...new Uint8Array(503),
    ...headerOf(FORMAT),
    ...new Uint8Array(1024),
  ]),
  "a text in front of a ledger": new Uint8Array([...text("Dear diary"), ...headerOf(FORMAT)]),
};

test("of a ledger behind what a dying creator left, the first copy of the header may be damaged", async () => {
  using folder = temporaryFolder();
  const path = folder.file("ledger.db");
  const header = headerOf(FORMAT);
  const stump = header.slice(0, 70);
  header[20] ^= 1;
  writeFileSync(path, new Uint8Array([...stump, ...header]));
  const problems: unknown[] = [];
  await using db = new KV().on("error", (error) => problems.push(error));
  await db.open(path);
  const ranges = [{ from: stump.length, to: stump.length + header.length / 2 }];
  expect(problems).toMatchObject([{ code: "LedgerDamaged", ranges }]);
  await db.set(["a"], 1);
});

describe("a file that is no ledger", () => {
  for (const [name, bytes] of Object.entries(FOREIGN)) {
    test(`${name} is told apart, and left as it is`, async () => {
      using folder = temporaryFolder();
      const path = folder.file("file");
      writeFileSync(path, bytes);
      const { mtimeMs } = statSync(path);
      for (const readOnly of [false, true]) {
        const db = new KV();
        await expect(db.open(path, { readOnly })).rejects.toMatchObject({ code: "NotALedger" });
        expect(db.isOpen()).toBe(false);
        // The instance is as it was before.
        await db.open(folder.file("a ledger"));
        await db.close();
      }
      expect(Buffer.compare(readFileSync(path), bytes)).toBe(0);
      expect(statSync(path).mtimeMs).toBe(mtimeMs);
    });
  }

  test("a directory, a device and a pipe are none, and nobody waits for them", async () => {
    using folder = temporaryFolder();
    const pipe = folder.file("pipe");
    execFileSync("mkfifo", [pipe]);
    for (const path of [folder.path, "/dev/null", "/dev/zero", pipe]) {
      for (const readOnly of [false, true])
        await expect(KV.open(path, { readOnly })).rejects.toMatchObject({ code: "NotALedger" });
    }
  });
});

describe("a ledger from the future", () => {
  test("of a newer format is told apart, and left as it is", async () => {
    using folder = temporaryFolder();
    const path = folder.file("ledger.db");
    const bytes = headerOf(FORMAT + 1);
    writeFileSync(path, bytes);
    for (const readOnly of [false, true])
      await expect(KV.open(path, { readOnly })).rejects.toMatchObject({ code: "UnsupportedFormat" });
    expect(Buffer.compare(readFileSync(path), bytes)).toBe(0);
    // What makes the difference is the format alone.
    writeFileSync(path, headerOf(FORMAT));
    await using db = await KV.open(path);
    await db.set(["a"], 1);
  });

  test("with a frame of a newer kind is not opened, and left as it is", async () => {
    using folder = temporaryFolder();
    const path = folder.file("ledger.db");
    await makeSmallLedger(path);
    appendFileSync(path, frameOfTheFuture());
    const bytes = readFileSync(path);
    for (const readOnly of [false, true])
      await expect(KV.open(path, { readOnly })).rejects.toMatchObject({ code: "UnsupportedFormat" });
    expect(Buffer.compare(readFileSync(path), bytes)).toBe(0);
  });

  test("stops a replica at the frame that it does not know: it reads what it has, and writes nothing more", async () => {
    using folder = temporaryFolder();
    const path = folder.file("ledger.db");
    await using db = await KV.open(path, { autoSync: false });
    await db.set(["a"], 1);
    appendFileSync(path, frameOfTheFuture());
    const bytes = readFileSync(path);
    for (let i = 0; i < 2; i++) await expect(db.sync()).rejects.toMatchObject({ code: "UnsupportedFormat" });
    expect(await db.get(["a"])).toBe(1);
    await expect(db.set(["a"], 2)).rejects.toMatchObject({ code: "UnsupportedFormat", outcome: "not committed" });
    expect(Buffer.compare(readFileSync(path), bytes)).toBe(0);
    expect(await db.get(["a"])).toBe(1);
  });
});

describe("a path", () => {
  test("that leads nowhere is a typed error, and nothing is created", async () => {
    using folder = temporaryFolder();
    const path = folder.file("folder/ledger.db");
    for (const options of [{ createIfMissing: false }, { readOnly: true }])
      await expect(KV.open(path, options)).rejects.toMatchObject({ code: "LedgerMissing" });
    expect(existsSync(folder.file("folder"))).toBe(false);
  });

  test("below a file is a typed error", async () => {
    using folder = temporaryFolder();
    writeFileSync(folder.file("file"), "content");
    await expect(KV.open(folder.file("file/ledger.db"))).rejects.toMatchObject({ name: "KVError" });
    await expect(KV.open(folder.file("file/ledger.db"), { readOnly: true })).rejects.toMatchObject({
      code: "LedgerMissing",
    });
    expect(readFileSync(folder.file("file"), "utf8")).toBe("content");
  });

  test("that is a symbolic link leads to the ledger behind it", async () => {
    using folder = temporaryFolder();
    mkdirSync(folder.file("elsewhere"));
    symlinkSync(folder.file("elsewhere/real.db"), folder.file("link.db"));
    await using db = await KV.open(folder.file("link.db"));
    await db.set(["a"], 1);
    await using other = await KV.open(folder.file("elsewhere/real.db"));
    expect(await other.get(["a"])).toBe(1);
  });

  test("to an empty file becomes a ledger, unless it may not be created or written", async () => {
    using folder = temporaryFolder();
    const path = folder.file("ledger.db");
    writeFileSync(path, "");
    await expect(KV.open(path, { createIfMissing: false })).rejects.toMatchObject({ code: "LedgerMissing" });
    expect(statSync(path).size).toBe(0);
    await using reader = await KV.open(path, { readOnly: true });
    expect(await reader.listKeys([])).toEqual([]);
    expect(statSync(path).size).toBe(0);
    await using db = await KV.open(path);
    await db.set(["a"], 1);
    await reader.sync();
    expect(await reader.get(["a"])).toBe(1);
  });
});
