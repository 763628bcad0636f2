import { deepStrictEqual, ok } from "node:assert/strict";
import { setImmediate, setTimeout as delay } from "node:timers/promises";
import { KV } from "../../src/index.node.ts";
import { Acknowledgements } from "./acknowledged.ts";
import { temporaryFolder } from "./folder.ts";
import { type Message, Program } from "./program.ts";
import { siblingsOf } from "./siblings.ts";

export interface VacuumKillFigures {
  readonly kills: number;
  /** Of those killed, how many had begun a vacuum and not ended it. */
  readonly vacuuming: number;
  /** Times that the ledger came into another generation. */
  readonly generations: number;
  /** Siblings that the dead left behind at the end. */
  readonly left: number;
  readonly acknowledged: number;
  readonly found: number;
}

const SURVIVOR = { sizes: [200, 4000], burst: 2, pauseMs: 5 };
const VACUUMING_SURVIVOR = { ...SURVIVOR, vacuumEveryMs: 500 };
const VICTIM = { sizes: [300, 30_000], burst: 4, pauseMs: 2, vacuumEveryMs: 10 };
/** A new ledger after so many kills: what is to be vacuumed grows. */
const KILLS_PER_LEDGER = 20;
/** Victims alive at once. */
const VICTIMS = 2;
const AIM_MS_MAX = 500;
/** About how long a vacuum takes here. */
const VACUUM_MS = 30;

/**
 * Kills processes that vacuum all the time, at random moments, while others write and vacuum too; checks each ledger afterwards. Throws when
 * something is not as it must be.
 */
export async function killVacuums(
  kills: number,
  progress: (killed: number) => void = () => {},
): Promise<VacuumKillFigures> {
  const figures = { kills: 0, vacuuming: 0, generations: 0, left: 0, acknowledged: 0, found: 0 };
  while (figures.kills < kills) {
    const until = Math.min(kills, figures.kills + KILLS_PER_LEDGER);
    using folder = temporaryFolder();
    const path = folder.file("ledger.db");
    const acknowledgements = new Acknowledgements();
    await using stack = new AsyncDisposableStack();
    const begin = (id: string, task: typeof SURVIVOR): Program => {
      const program = stack.use(new Program("writer.ts", { ...task, path, id }));
      acknowledgements.collect(id, task.sizes, program);
      return program;
    };
    const survivors = [begin("a", SURVIVOR), begin("b", VACUUMING_SURVIVOR)];
    const victims: Program[] = [];
    for (; figures.kills < until; figures.kills++) {
      progress(figures.kills);
      while (victims.length < VICTIMS) victims.push(begin(`victim ${figures.kills} ${victims.length}`, VICTIM));
      const victim = victims.shift() as Program;
      await victim.next(acknowledged);
      const before = survivors.map((survivor) => survivor.messages.length);
      if (figures.kills % 4 !== 0) await untilVacuum(path);
      await delay(Math.random() * VACUUM_MS);
      victim.signal("SIGKILL");
      const { signal } = await victim.exited;
      ok(
        signal === "SIGKILL",
        `a process ended before it was killed: ${victim.errors} ${JSON.stringify(victim.messages.at(-1))}`,
      );
      if (victim.messages.findLast((message) => "vacuums" in message)?.vacuums === true) figures.vacuuming++;
      for (const [i, survivor] of survivors.entries())
        while (survivor.messages.length < before[i] + 3 * SURVIVOR.burst) await survivor.next();
    }
    for (const program of [...survivors, ...victims]) program.send({ do: "stop" });
    for (const program of [...survivors, ...victims]) {
      const { code } = await program.exited;
      ok(
        code === 0 && !program.messages.some(failed),
        `${program.errors} ${JSON.stringify(program.messages.filter(failed))}`,
      );
    }
    figures.left += siblingsOf(path).length;
    await acknowledgements.verify(path);
    {
      await using db = await KV.open(path);
      figures.generations += (db.stats().generation ?? 1) - 1;
      await db.vacuum();
    }
    deepStrictEqual(siblingsOf(path), []);
    const { commits } = await acknowledgements.verify(path);
    figures.acknowledged += acknowledgements.count;
    figures.found += commits;
  }
  return figures;
}

const acknowledged = (message: Message): boolean => message.version !== undefined;

/** Of a vacuum that another one was quicker than, nothing but that is told. */
const failed = ({ failed: failure, generation }: Message): boolean =>
  failure !== undefined ||
  (typeof generation === "object" && (generation as { code?: unknown }).code !== "LedgerSealed");

/** Looks until somebody has begun a vacuum, not for ever. */
async function untilVacuum(path: string): Promise<void> {
  const end = performance.now() + AIM_MS_MAX;
  const before = new Set(siblingsOf(path));
  while (performance.now() < end) {
    if (siblingsOf(path).some((name) => !before.has(name))) return;
    await setImmediate();
  }
}
