import type { SystemFaults } from "./calls.ts";
import type { Expected } from "./client.ts";
import type { Random } from "./random.ts";

/** What happens in one run, and how often. */
export interface Profile {
  readonly system: SystemFaults;
  readonly processes: number;
  readonly processesMax: number;
  readonly actions: number;
  readonly kill: number;
  readonly tear: number;
  readonly close: number;
  readonly stop: number;
  readonly fill: number;
  readonly clock: number;
  readonly ghost: number;
  readonly asynchronous: number;
  readonly strict: number;
  /** Somebody deletes the file, or puts an older copy in its place. */
  readonly replace: number;
  /** Vacuums among the things that programs do. */
  readonly vacuum: number;
  /** How many of them are given up in the middle. */
  readonly abort: number;
  /** How many of them keep some of the history. */
  readonly keepHistory: number;
  /** Somebody deletes what lies beside the file: of the index, or a sibling that may be the next generation. */
  readonly tidyIndex: number;
  readonly tidySiblings: number;
  /** Steps between failures of the power, for each. */
  readonly losses: readonly number[];
  /** Whether a power failure may keep what was written later and lose what was written before. */
  readonly unordered: boolean;
  readonly sideIndex: number;
  readonly readOnly: number;
  /** How often replicas poll, in ms: one of these for each. */
  readonly pollsMs: readonly number[];
  /** Before all is looked at for the last time, somebody vacuums twice, and nothing must lie about any more. */
  readonly cleanUp: boolean;
}

/** What happens more often than it would, in runs that look for something rare. */
export type Leaning = Partial<Omit<Profile, "system">> & { readonly system?: Partial<SystemFaults> };

/** Each fault is on in some runs and off in others: one that is always on hides what others would show. */
export function drawProfile(random: Random, leaning: Leaning = {}): Profile {
  const drawn = draw(random);
  return { ...drawn, ...leaning, system: { ...drawn.system, ...leaning.system } };
}

function draw(random: Random): Profile {
  const sometimes = (probability: number, value: number): number =>
    random.chance(probability) ? value * random.next() : 0;
  const replace = sometimes(0.1, 0.04);
  // What a file that was put back from a copy is the successor of cannot be told.
  const vacuum = replace > 0 ? 0 : sometimes(0.6, 0.15);
  const losses = replace === 0 && random.chance(0.35) ? random.between(1, 3) : 0;
  return {
    system: {
      slowWrite: sometimes(0.7, 1),
      shortWrite: sometimes(0.2, 0.1),
      writeError: sometimes(0.2, 0.05),
      readError: sometimes(0.1, 0.01),
      shortRead: sometimes(0.3, 0.2),
      syncError: sometimes(0.2, 0.1),
      slowSync: sometimes(0.3, 0.3),
      crash: sometimes(0.15, 0.003),
      crashReplacing: sometimes(0.4, 0.1),
      hintLost: sometimes(0.5, 1),
      hintLateMs: random.pick([0.1, 1, 50]),
    },
    processes: random.between(1, 4),
    processesMax: random.between(4, 9),
    actions: random.chance(0.03) ? 150 : random.between(4, 30),
    kill: sometimes(0.5, 0.01),
    tear: sometimes(0.6, 0.1),
    close: sometimes(0.4, 0.01),
    stop: sometimes(0.3, 0.02),
    fill: sometimes(0.25, 0.02),
    clock: sometimes(0.3, 0.02),
    ghost: sometimes(0.5, 0.02),
    asynchronous: sometimes(0.2, 0.3),
    strict: random.chance(0.3) ? 1 : sometimes(0.3, 1),
    replace,
    vacuum,
    abort: 0.15,
    keepHistory: 0.4,
    tidyIndex: sometimes(0.15, 0.02),
    tidySiblings: vacuum > 0 ? sometimes(0.06, 0.02) : 0,
    losses: Array.from({ length: losses }, () => random.between(5, random.pick([30, 300, 2500]))),
    unordered: random.chance(0.5),
    sideIndex: random.pick([0, 0.8, 1]),
    readOnly: 0.1,
    pollsMs: [5, 50, 1000],
    cleanUp: random.chance(0.5),
  };
}

/** What a run of this profile explains. `damaged`: the power failed, and what was left is damaged. */
export function expectedOf(profile: Profile, damaged: boolean): Expected {
  const { system } = profile;
  const codes = new Set(["Closed", "TransactionConflict", "ReadOnly"]);
  if (profile.fill > 0 || system.shortWrite > 0) codes.add("NoSpace");
  if (system.writeError + system.readError + system.syncError > 0) codes.add("InputOutput");
  const replaced = profile.replace > 0;
  if (replaced) for (const code of ["LedgerMissing", "SnapshotExpired"]) codes.add(code);
  const vacuumed = profile.vacuum > 0 || (profile.cleanUp && !replaced);
  if (vacuumed || damaged) codes.add("LedgerSealed");
  if (profile.losses.length > 0 || profile.tidySiblings > 0 || damaged) codes.add("LedgerDamaged");
  const unknown = replaced || damaged || system.readError + system.syncError > 0;
  if (unknown) codes.add("CommitOutcomeUnknown");
  const sealsEnd = profile.losses.length === 0 && profile.tidySiblings === 0 && !replaced && !damaged;
  return { codes, unknown, replaced, reloads: replaced || vacuumed || damaged, sealsEnd };
}
