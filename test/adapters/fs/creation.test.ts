import { readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { KV } from "../../../src/index.node.ts";
import { temporaryFolder } from "../../support/folder.ts";

test("values are readable in a ledger whose creator wrote one copy of the header and a part of the other", async () => {
  using folder = temporaryFolder();
  const path = folder.file("ledger.db");
  await (await new KV().open(path)).close();
  const bothCopies = readFileSync(path).length;
  truncateSync(path, bothCopies - 40);
  const db = await new KV().open(path);
  const { version } = await db.set(["a"], "a string, read from the file when it is asked for");
  expect(version).toBeLessThan(bothCopies);
  expect(await db.get(["a"])).toBe("a string, read from the file when it is asked for");
  await db.close();
});

test("a creation of which a power failure has left nothing but zeros is made again", async () => {
  using folder = temporaryFolder();
  const path = folder.file("ledger.db");
  await (await new KV().open(path)).close();
  const pair = readFileSync(path).length;
  for (const creators of [1, 2]) {
    writeFileSync(path, new Uint8Array(creators * pair));
    await using blank = await new KV().open(path, { readOnly: true });
    expect(await blank.count([])).toBe(0);
    const db = await new KV().open(path);
    await db.set(["a"], creators);
    await db.close();
    const problems: unknown[] = [];
    await using again = new KV().on("error", (error) => problems.push(error));
    await again.open(path);
    expect(await again.get(["a"])).toBe(creators);
    expect(problems).toEqual([]);
  }
});

const HEADERS_BYTES = 262;

test("zeros of any other length may be anybody's: they are a ledger once somebody asks for a repair, and a copy is kept", async () => {
  for (const length of [1, HEADERS_BYTES - 1, HEADERS_BYTES + 1, 4096]) {
    using folder = temporaryFolder();
    const path = folder.file("ledger.db");
    const zeros = new Uint8Array(length);
    writeFileSync(path, zeros);
    for (const options of [{}, { readOnly: true }, { readOnly: true, repair: true }])
      await expect(new KV().open(path, options)).rejects.toMatchObject({ code: "NotALedger" });
    expect(readFileSync(path)).toEqual(Buffer.from(zeros));
    const problems: unknown[] = [];
    const db = new KV().on("error", (error) => problems.push(error));
    await db.open(path, { repair: true });
    await db.set(["a"], length);
    const lost =
      length < HEADERS_BYTES ? [] : [{ code: "LedgerDamaged", ranges: [{ from: HEADERS_BYTES, to: length }] }];
    expect(problems).toMatchObject(lost);
    await db.close();
    const [copy] = readdirSync(folder.path).filter((name) => name.includes(".damaged-"));
    expect(readFileSync(folder.file(copy))).toEqual(Buffer.from(zeros));
    await using again = await KV.open(path);
    expect(await again.get(["a"])).toBe(length);
  }
});

test("zeros in place of both copies of the header are a damaged ledger's once somebody asks for a repair", async () => {
  using folder = temporaryFolder();
  const path = folder.file("ledger.db");
  const first = await KV.open(path, { sideIndex: false });
  await first.set(["a"], "kept");
  await first.close();
  const bytes = readFileSync(path);
  bytes.fill(0, 0, HEADERS_BYTES);
  writeFileSync(path, bytes);
  await expect(KV.open(path)).rejects.toMatchObject({ code: "NotALedger" });
  await using db = await KV.open(path, { repair: true });
  expect(await db.get(["a"])).toBe("kept");
});

test("a large file of zeros, or with anything else behind them, is nobody's ledger, also where a repair is asked for", async () => {
  using folder = temporaryFolder();
  const path = folder.file("disk.img");
  for (const bytes of [new Uint8Array(100_000), new Uint8Array([...new Uint8Array(4096), 1])]) {
    writeFileSync(path, bytes);
    await expect(KV.open(path, { repair: true })).rejects.toMatchObject({ code: "NotALedger" });
    expect(readFileSync(path)).toEqual(Buffer.from(bytes));
  }
});
