/** The core and the memory ledger in any runtime: what workerd, a browser bundle and everybody else runs. */
import { KV } from "foliokv";
import { memoryLedger } from "foliokv/memory";
import { smokeDatabase } from "./smoke.mjs";
import { assert, values } from "./values.mjs";

/** Resolves with the bytes that each value became, as hex by name: they are the same in every runtime. */
export async function smokeCore() {
  const ledger = memoryLedger();
  await smokeDatabase(() => new KV().open(ledger));
  return encodedValues();
}

/** Where no file adapter is bundled, a path is a typed error. */
export async function assertNoFiles() {
  const code = await new KV().open("data/database.db").then(
    () => "opened",
    (error) => error.code,
  );
  assert(code === "UnsupportedTarget", `open(path) gives ${code}`);
}

async function encodedValues() {
  const ledger = memoryLedger();
  let given;
  const db = await new KV().open({ ...ledger, open: (options) => ledger.open((given = options)) });
  const names = Object.keys(values());
  for (const name of names) await db.set([name], values()[name]);
  const session = await ledger.open({ ...given, readOnly: true });
  const payloads = [];
  for (let position = session.start, status = "more"; status === "more";) {
    const result = await session.read(position, { bytes: 2 ** 20, verify: false });
    payloads.push(...result.commits.map((commit) => commit.payload));
    ({ next: position, status } = result);
  }
  await session.close();
  await db.close();
  assert(payloads.length === names.length, `${payloads.length} commits for ${names.length} values`);
  return Object.fromEntries(names.map((name, index) => [name, toHex(payloads[index])]));
}

function toHex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
