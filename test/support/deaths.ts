import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { copyFileSync, cpSync, mkdirSync, readdirSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { type Entry, KV } from "../../src/index.node.ts";
import { temporaryFolder } from "./folder.ts";
import { type Message, Program } from "./program.ts";
import { siblingsOf } from "./siblings.ts";

const still = { autoSync: false } as const;
const ROUNDS = 40;
const KEYS = 850;
const AT_ONCE = 3;

export interface DeathFigures {
  /** The calls at which a process died, in order. */
  readonly died: readonly string[];
  /** Deaths after which the others found themselves in the next generation. */
  readonly completed: number;
}

/**
 * Lets a process die at each step of a vacuum, or of saving the index, while another one has the database open. Throws unless that one goes on,
 * whoever opens the database afterwards finds everything acknowledged, and the next vacuum leaves nothing lying about.
 */
export async function dieAtEachStep(does: "vacuum" | "save"): Promise<DeathFigures> {
  using folder = temporaryFolder();
  const base = join(folder.path, "base");
  await makeBase(join(base, "ledger.db"), does);
  const died: string[] = [];
  let completed = 0;
  const trial = async (at: number): Promise<Death> => {
    const own = join(folder.path, `${does} ${at}`);
    cpSync(base, own, { recursive: true });
    try {
      return await dieOnce(join(own, "ledger.db"), does, at);
    } catch (error) {
      throw new Error(`${does}, step ${at}`, { cause: error });
    }
  };
  // Without dying.
  const { steps } = await trial(0);
  let next = 1;
  const worker = async (): Promise<void> => {
    while (next <= steps.length) {
      const at = next++;
      const death = await trial(at);
      strictEqual(death.died, steps[at - 1]);
      died[at - 1] = death.died;
      if (death.generation > 1) completed++;
    }
  };
  // The folder stays until the last of them has ended.
  const ended = await Promise.allSettled(Array.from({ length: AT_ONCE }, worker));
  for (const each of ended) if (each.status === "rejected") throw each.reason;
  return { died, completed };
}

/** Many commits on a few keys; for saving, half of them are in an index already. */
async function makeBase(path: string, does: "vacuum" | "save"): Promise<void> {
  const fill = async (from: number, sideIndex: boolean): Promise<void> => {
    await using db = await KV.open(path, { ...still, sideIndex });
    for (let round = from; round < from + ROUNDS; round++) {
      await db.beginTransaction();
      for (let i = 0; i < KEYS; i++) void db.set(["item", i], { round, text: `item ${i}` });
      await db.endTransaction();
    }
    for (let i = 0; i < 10; i++) await db.atomic().sum(["sum"], 1).commit();
  };
  if (does === "vacuum") return fill(0, false);
  await fill(0, true);
  await fill(ROUNDS, false);
}

interface Death {
  readonly steps: readonly string[];
  readonly died: string | undefined;
  readonly generation: number;
}

async function dieOnce(path: string, does: "vacuum" | "save", at: number): Promise<Death> {
  await using survivor = await KV.open(path, { ...still, sideIndex: false });
  const expected = new Map((await survivor.listAll([])).map((entry) => [nameOf(entry), entry.version as number]));
  await using program = new Program("dying.ts", { path, does, at });
  const { code, signal } = await program.exited;
  ok(code === 0 || signal === "SIGKILL", program.errors);
  const steps = program.messages.flatMap(({ name }) => (typeof name === "string" ? [name] : []));
  for (const { key, version } of program.messages as readonly Message[])
    if (typeof key === "string") expected.set(key, version as number);

  // As whoever opens it next finds it, before anybody else does anything about it.
  const copy = join(folderOf(path), "copy", basename(path));
  mkdirSync(folderOf(copy));
  for (const name of filesOf(path)) copyFileSync(join(folderOf(path), name), join(folderOf(copy), name));
  await verify(copy, new Map(expected), "opened anew");

  const { version } = await survivor.set(["survivor"], at);
  expected.set("survivor", version as number);
  const generation = survivor.stats().generation ?? 0;
  deepStrictEqual(versionsOf(await survivor.listAll([])), expected);
  await verify(path, expected, "gone on");
  return { steps, died: signal === null ? undefined : steps.at(-1), generation };
}

/** Everything acknowledged is there, before and after the next vacuum, which leaves nothing lying about; and nothing that was not begun. */
async function verify(path: string, expected: Map<string, number>, context: string): Promise<void> {
  const problems: unknown[] = [];
  const db = new KV(still);
  db.on("error", (error) => problems.push(error));
  await db.open(path);
  const { version } = await db.set(["fresh", context], 1);
  expected.set(`fresh/${context}`, version as number);
  const found = versionsOf(await db.listAll([]));
  // Its author may have died before it was told.
  const late = found.get("late");
  if (late !== undefined && !expected.has("late")) expected.set("late", late);
  deepStrictEqual(found, expected, context);
  ok(((await db.get<number>(["sum"])) ?? 0) % 10 === 0);
  await db.vacuum();
  deepStrictEqual(siblingsOf(path), [], context);
  deepStrictEqual(versionsOf(await db.listAll([])), expected, context);
  await db.close();
  await using again = await KV.open(path, { ...still, readOnly: true });
  deepStrictEqual(versionsOf(await again.listAll([])), expected, context);
  deepStrictEqual([again.stats().damage, problems], [[], []], context);
}

const folderOf = dirname;

const filesOf = (path: string): string[] =>
  readdirSync(folderOf(path)).filter((name) => name.startsWith(basename(path)));

const nameOf = (entry: Pick<Entry, "key">): string => entry.key.join("/");

const versionsOf = (entries: readonly Entry[]): Map<string, number> =>
  new Map(entries.map((entry) => [nameOf(entry), entry.version as number]));
