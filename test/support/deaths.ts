import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { copyFileSync, cpSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { type Entry, KV } from "../../src/index.node.ts";
import { temporaryFolder } from "./folder.ts";
import { Program } from "./program.ts";
import { siblingsOf } from "./siblings.ts";

const still = { autoSync: false } as const;
const KEYS = 850;
/** More operations than may lie beside an index when a database is closed. */
const ROUNDS = 12;
const AT_ONCE = 3;
const TRIES_MAX = 5;
const LISTS = 3;

/** There is one save or there are two, by how long the first one waits for others: then another step comes, or none, where one was expected. */
class StepNotMet extends Error {}

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
  let completed = 0;
  const died = await atEachStep(does, async (path, at, step) => {
    const death = await dieOnce(path, does, at);
    if (death.died !== step) throw new StepNotMet(`${death.died} came in its place`);
    if (step !== undefined && death.generation > 1) completed++;
    return death.steps;
  });
  return { died, completed };
}

/**
 * Lets a process sleep at each step of a vacuum, or of saving the index, until others have come two generations further and saved theirs. Throws
 * unless it then goes on as everybody, and everything acknowledged is there. Returns the steps.
 */
export function sleepAtEachStep(does: "vacuum" | "save"): Promise<readonly string[]> {
  return atEachStep(does, (path, at, step) => sleepOnce(path, does, { at, step }));
}

/** Tries each step on a database of its own, a few at once; step 0, which there is not, tells which there are. */
async function atEachStep(
  does: "vacuum" | "save",
  trial: (path: string, at: number, step: string | undefined) => Promise<readonly string[]>,
): Promise<readonly string[]> {
  using folder = temporaryFolder();
  const base = join(folder.path, "base");
  await makeBase(join(base, "ledger.db"), does);
  let made = 0;
  const tryAt = async (at: number, step: string | undefined): Promise<readonly string[]> => {
    for (let tries = 1; ; tries++) {
      const own = join(folder.path, `${does} ${at}, ${tries}, ${made++}`);
      cpSync(base, own, { recursive: true });
      try {
        return await trial(join(own, "ledger.db"), at, step);
      } catch (error) {
        if (error instanceof StepNotMet && tries < TRIES_MAX) continue;
        throw new Error(`${does}, step ${at}, ${step}`, { cause: error });
      }
    }
  };
  // Of several lists the shortest: a save more than there is as a rule would have steps that do not come again.
  let steps = await tryAt(0, undefined);
  for (let more = 1; more < LISTS; more++) {
    const others = await tryAt(0, undefined);
    if (others.length < steps.length) steps = others;
  }
  let next = 1;
  const worker = async (): Promise<void> => {
    while (next <= steps.length) {
      const at = next++;
      await tryAt(at, steps[at - 1]);
    }
  };
  // The folder stays until the last of them has ended.
  const ended = await Promise.allSettled(Array.from({ length: AT_ONCE }, worker));
  for (const each of ended) if (each.status === "rejected") throw each.reason;
  return steps;
}

/** Many commits on a few keys; for saving, half of them are in an index already. */
async function makeBase(path: string, does: "vacuum" | "save"): Promise<void> {
  const fill = async (from: number, sideIndex: boolean): Promise<void> => {
    await using db = await KV.open(path, { ...still, sideIndex });
    for (let round = from; round < from + ROUNDS; round++) {
      await fillRound(db, round);
    }
    for (let i = 0; i < 10; i++) await db.atomic().sum(["sum"], 1).commit();
  };
  if (does === "vacuum") return fill(0, false);
  await fill(0, true);
  await fill(ROUNDS, false);
}

async function fillRound(db: KV, round: number | string): Promise<void> {
  await db.beginTransaction();
  for (let i = 0; i < KEYS; i++) void db.set(["item", i], { round, text: `item ${i}` });
  await db.endTransaction();
}

interface Death {
  readonly steps: readonly string[];
  readonly died: string | undefined;
  readonly generation: number;
}

async function dieOnce(path: string, does: "vacuum" | "save", at: number): Promise<Death> {
  await using survivor = await KV.open(path, { ...still, sideIndex: false });
  const expected = versionsOf(await survivor.listAll([]));
  await using program = new Program("dying.ts", { path, does, at, signal: "SIGKILL" });
  const { code, signal } = await program.exited;
  ok(code === 0 || signal === "SIGKILL", program.errors);
  const steps = stepsOf(program);
  addTold(program, expected);

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

async function sleepOnce(
  path: string,
  does: "vacuum" | "save",
  { at, step }: { readonly at: number; readonly step: string | undefined },
): Promise<readonly string[]> {
  await using program = new Program("dying.ts", { path, does, at, signal: "SIGSTOP" });
  if (at > 0) {
    const { name } = await program
      .next((message) => message.step === at)
      .catch((cause: unknown) => Promise.reject(new StepNotMet("it did not come", { cause })));
    await untilStopped(program.pid);
    if (name !== step) throw new StepNotMet(`${String(name)} came in its place`);
  } else await program.exited;
  {
    await using other = await KV.open(path, { ...still, sideIndex: does === "save" });
    await other.set(["survivor"], at);
    for (let round = 0; (other.stats().generation ?? 0) < 3; round++) {
      if (does === "save") await fillRound(other, `while it slept, ${round}`);
      await other.vacuum();
      await other.set(["survivor", round], at);
    }
    // Enough to be saved when it is closed.
    if (does === "save") for (let round = 0; round < ROUNDS; round++) await fillRound(other, round);
  }
  if (at > 0) program.signal("SIGCONT");
  deepStrictEqual(await program.exited, { code: 0, signal: null }, program.errors);
  await using fresh = await KV.open(path, { ...still, readOnly: true });
  // Between the last look and the rename nobody can be kept from it; then the state is built anew once.
  if (does === "save" && step !== "rename") ok(fresh.stats().counts.commits < 3);
  const expected = versionsOf(await fresh.listAll([]));
  // What it was told since it woke up, too.
  const told = new Map<string, number>();
  addTold(program, told);
  for (const [key, version] of told) strictEqual(expected.get(key), version, key);
  await verify(path, expected, "woken up");
  return stepsOf(program);
}

/** Waits until the system says that a process is stopped. */
async function untilStopped(pid: number): Promise<void> {
  // The name of the program, in parentheses, stands before its state: proc(5).
  while (!/^\d+ \(.*\) T /.test(readFileSync(`/proc/${pid}/stat`, "utf8"))) await setImmediate();
}

const stepsOf = (program: Program): string[] =>
  program.messages.flatMap(({ name }) => (typeof name === "string" ? [name] : []));

/** The versions of which a program told that they were acknowledged. */
function addTold(program: Program, versions: Map<string, number>): void {
  for (const { key, version } of program.messages) if (typeof key === "string") versions.set(key, version as number);
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
