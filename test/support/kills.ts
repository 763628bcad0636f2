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

type Profile = { readonly sizes: readonly number[]; readonly burst: number };
/** What victims write that are killed at any moment. */
const PROFILES: readonly Profile[] = [
  { sizes: [300], burst: 1 },
  { sizes: [5000], burst: 50 },
  { sizes: [300, 5000, 100_000, 1_000_000], burst: 4 },
];
/** What those write that are killed in the middle of a write: the larger the batch, the likelier it is torn. */
const LARGE_PROFILES: readonly Profile[] = [
  { sizes: [1_000_000], burst: 12 },
  { sizes: [100_000], burst: 60 },
];
const SURVIVORS = { sizes: [200, 4000], burst: 2, pauseMs: 5 };
/** A new ledger after so many kills: every writer begins by reading all of it. */
const KILLS_PER_LEDGER = 10;
const LIFE_MS_MAX = 40;
const AIM_MS_MAX = 1000;
const LARGE_BYTES = 64 * 1024;
const LOOKS = 20;

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
        const longLived = figures.kills % 4 === 3;
        const aimed = figures.kills % 2 === 0;
        const profiles = aimed ? LARGE_PROFILES : PROFILES;
        const { sizes, burst } = profiles[(figures.kills >> 1) % profiles.length];
        if (longLived) survivors.push(begin(`survivor ${figures.kills}`, SURVIVORS));
        const victim = longLived
          ? (survivors.shift() as Program)
          : begin(`victim ${figures.kills}`, { sizes: [...sizes], burst });
        try {
          await victim.next(acknowledged);
          await delay(Math.random() * LIFE_MS_MAX);
          if (aimed) untilLargeWrite(path);
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
  let before = statSync(path).size;
  for (let look = 1; performance.now() < end; look++) {
    const { size } = statSync(path);
    if (size - before > LARGE_BYTES) return;
    if (look % LOOKS === 0) before = size;
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
