import { chmodSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { KV } from "../../src/index.node.ts";
import { temporaryFolder } from "../support/folder.ts";
import { Program } from "../support/program.ts";

test("without permission nothing is opened or written, and reading is enough to read", async () => {
  using folder = temporaryFolder();
  chmodSync(folder.path, 0o755);
  const make = async (name: string, mode: number): Promise<string> => {
    await using db = await KV.open(folder.file(name));
    await db.set(["a"], 1);
    chmodSync(folder.file(name), mode);
    return folder.file(name);
  };
  const secret = await make("secret.db", 0o600);
  const readable = await make("readable.db", 0o444);
  const closed = await make("closed/ledger.db", 0o666);
  chmodSync(folder.file("closed"), 0o700);
  mkdirSync(folder.file("fixed"));
  chmodSync(folder.file("fixed"), 0o555);
  const missing = folder.file("fixed/ledger.db");
  const deep = folder.file("fixed/folder/ledger.db");

  const before = readFileSync(readable);
  const paths = [secret, readable, closed, missing, deep];
  const cases = paths.flatMap((path) => [
    { path, readOnly: false },
    { path, readOnly: true },
  ]);
  // Who is no superuser owns these files, and is kept out by their modes alone.
  const isRoot = process.getuid?.() === 0;
  if (!isRoot) for (const path of [secret, folder.file("closed")]) chmodSync(path, 0o000);
  await using program = new Program("nobody.ts", { cases });
  expect(await program.exited).toEqual({ code: 0, signal: null });
  if (!isRoot) chmodSync(folder.file("closed"), 0o700);
  const denied = { code: "AccessDenied" };
  const read = { value: 1, write: { code: "ReadOnly", outcome: "not committed" } };
  expect(program.messages).toEqual([
    ...[denied, denied],
    ...[denied, read],
    ...[denied, denied],
    ...[denied, { code: "LedgerMissing" }],
    ...[denied, { code: "LedgerMissing" }],
  ]);
  expect(Buffer.compare(readFileSync(readable), before)).toBe(0);
  expect([existsSync(missing), existsSync(folder.file("fixed/folder"))]).toEqual([false, false]);
});
