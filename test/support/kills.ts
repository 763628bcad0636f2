import { ok } from "node:assert/strict";
import { statSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { Acknowledgements } from "./acknowledged.ts";
import { temporaryFolder } from "./folder.ts";
import { Program } from "./program.ts";

export interface KillFigures {
  readonly kills: number;
  readonly acknowledged: number;
  /** Commits found in the ledgers: those acknowledged, and those that were in before their writer could be told. */
  readonly found: number;
  /** Pieces of frames that dying writers left behind. */
  readonly stumps: number;
  readonly bytes: number;
}

/** What victims write: the larger the frame, the likelier a kill tears it. */
const PROFILES: readonly { readonly sizes: readonly number[]; readonly burst: number }[] = [
  { sizes: [300], burst: 1 },
  { sizes: [1_000_000], burst: 8 },
  { sizes: [5000], burst: 50 },
  { sizes: [300, 5000, 100_000, 1_000_000], burst: 4 },
  { sizes: [100_000], burst: 20 },
];
const SURVIVORS = { sizes: [200, 4000], burst: 2, pauseMs: 5 };
/** A new ledger after so many kills: every writer begins by reading all of it. */
const KILLS_PER_LEDGER = 12;
const LIFE_MS_MAX = 40;
const AIM_MS_MAX = 100;
const LARGE_BYTES = 32 * 1024;

/**
 * Kills writers at random moments while others go on, and checks each ledger afterwards. Every fourth victim is one of those that had been
 * going on for longer. Throws when something is not as it must be.
 */
export async function killWriters(kills: number, progress: (killed: number) => void = () => {}): Promise<KillFigures> {
  const figures = { kills: 0, acknowledged: 0, found: 0, stumps: 0, bytes: 0 };
  while (figures.kills < kills) {
    const until = Math.min(kills, figures.kills + KILLS_PER_LEDGER);
    using folder = temporaryFolder();
    const path = folder.file("ledger.db");
    const acknowledgements = new Acknowledgements();
    const begin = (id: string, profile: Omit<typeof SURVIVORS, "pauseMs"> & { pauseMs?: number }): Program => {
      const program = new Program("writer.ts", { pauseMs: 0, ...profile, path, id });
      acknowledgements.collect(id, profile.sizes, program);
      return program;
    };
    const survivors = [begin("a", SURVIVORS), begin("b", SURVIVORS)];
    try {
      await Promise.all(survivors.map((survivor) => survivor.next(acknowledged)));
      for (; figures.kills < until; figures.kills++) {
        progress(figures.kills);
        const { sizes, burst } = PROFILES[figures.kills % PROFILES.length];
        const longLived = figures.kills % 4 === 3;
        if (longLived) survivors.push(begin(`survivor ${figures.kills}`, SURVIVORS));
        const victim = longLived
          ? (survivors.shift() as Program)
          : begin(`victim ${figures.kills}`, { sizes: [...sizes], burst });
        try {
          await victim.next(acknowledged);
          await delay(Math.random() * LIFE_MS_MAX);
          if (figures.kills % 2 === 1 && !longLived) untilLargeWrite(path);
          await kill(victim);
        } finally {
          await victim[Symbol.asyncDispose]();
        }
        await Promise.all(survivors.map(goesOn));
      }
      for (const survivor of survivors) survivor.send({ do: "stop" });
      for (const survivor of survivors) {
        const { code } = await survivor.exited;
        ok(code === 0 && !survivor.messages.some((message) => "failed" in message), survivor.errors);
      }
    } finally {
      await Promise.all(survivors.map((survivor) => survivor[Symbol.asyncDispose]()));
    }
    const { commits, stumps, bytes } = await acknowledgements.verify(path);
    figures.acknowledged += acknowledgements.count;
    figures.found += commits;
    figures.stumps += stumps;
    figures.bytes += bytes;
  }
  return figures;
}

const acknowledged = (message: { readonly version?: unknown }): boolean => message.version !== undefined;

/** Looks at the size all the time until much is being written just now: only then a kill is likely to tear a write. */
function untilLargeWrite(path: string): void {
  const end = performance.now() + AIM_MS_MAX;
  let size = statSync(path).size;
  while (performance.now() < end) {
    const now = statSync(path).size;
    if (now - size > LARGE_BYTES) return;
    size = now;
  }
}

async function kill(program: Program): Promise<void> {
  program.signal("SIGKILL");
  const { signal } = await program.exited;
  ok(signal === "SIGKILL", `a writer ended before it was killed: ${program.errors}`);
}

/** Waits for commits that a writer began after this call. */
async function goesOn(writer: Program): Promise<void> {
  const before = writer.messages.length;
  const { burst } = SURVIVORS;
  for (let seen = 0; seen <= 2 * burst || writer.messages.length <= before + 2 * burst; seen++) {
    await writer.next(acknowledged);
  }
}
