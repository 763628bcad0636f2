import type { KVOptions } from "../../src/index.node.ts";
import type { StoreFaultRates } from "../../src/testing/faulty-store.ts";
import type { Random } from "../simulation/random.ts";

/** What one run is like. */
export interface Profile {
  readonly keys: "single" | "several";
  readonly keyCount: number;
  /** Everything that happens once in many commits happens in this run too. */
  readonly small: boolean;
  readonly witnessBytesMax: number;
  readonly processes: readonly ProcessProfile[];
  /** When a process is killed, in ms after all have begun. Another one takes its place. */
  readonly killsAt: readonly number[];
  readonly durability: "relaxed" | "strict";
  /** On the way to a bucket. */
  readonly faults: StoreFaultRates;
}

export interface ProcessProfile {
  readonly clients: number;
  /** Of each client. */
  readonly operations: number;
  readonly thinkMsMax: number;
  readonly options: KVOptions;
  readonly watches: boolean;
  readonly readOnly: boolean;
  readonly vacuumEveryMs?: number;
}

/** On a file a call takes less than a millisecond, on a bucket it may take a second. */
const LASTS_MS = { file: 500, bucket: 10_000 };

/** Of what may befall a request, what passes in seconds. */
const FAULTS: StoreFaultRates = {
  unsent: 0.02,
  answerLost: 0.03,
  late: 0.02,
  lateMsMax: 3000,
  conflict: 0.02,
  truncated: 0.02,
  storm: 0.001,
  stormMs: 1000,
  delayMsMax: 40,
};

/** Draws a run of about a thousand calls on a file, of about two hundred on a bucket. */
export function drawProfile(ledger: "file" | "bucket", random: Random): Profile {
  const keys = random.pick(["single", "several"] as const);
  const isFile = ledger === "file";
  const kills = random.pick(isFile ? [0, 1, 2, 4] : [0, 1, 2]);
  const processes = Array.from({ length: isFile ? random.between(2, 5) : random.between(2, 3) }, () =>
    isFile ? drawOnFile(random) : drawOnBucket(random),
  );
  return {
    keys,
    keyCount: keys === "single" ? random.between(2, 6) : random.between(2, 4),
    small: random.chance(0.5),
    witnessBytesMax: random.pick(isFile ? [0, 300, 5000, 100_000] : [0, 300, 30_000]),
    processes,
    killsAt: Array.from({ length: kills }, () => random.next() * LASTS_MS[ledger]).toSorted((a, b) => a - b),
    durability: random.chance(0.1) ? "strict" : "relaxed",
    faults: isFile || random.chance(0.2) ? {} : FAULTS,
  };
}

/** A run in which whatever is wrong shows soon: many processes that want the same keys, vacuums, and faults on the way to a bucket. Nobody is killed. */
export function eventfulProfile(ledger: "file" | "bucket"): Profile {
  const isFile = ledger === "file";
  const process: ProcessProfile = {
    clients: 3,
    operations: isFile ? 60 : 15,
    thinkMsMax: isFile ? 2 : 100,
    options: { autoSync: false },
    watches: false,
    readOnly: false,
    ...(isFile ? { vacuumEveryMs: 20 } : {}),
  };
  return {
    ...{ keys: "several", keyCount: 3, small: false, witnessBytesMax: 300, killsAt: [], durability: "relaxed" },
    processes: [process, process, process],
    faults: isFile ? {} : FAULTS,
  };
}

function drawOnFile(random: Random): ProcessProfile {
  const clients = random.between(1, 4);
  const readOnly = random.chance(0.1);
  return {
    clients,
    operations: Math.round(random.between(150, 300) / clients),
    thinkMsMax: random.pick([0, 2, 5]),
    options: {
      autoSync: random.chance(0.7),
      syncIntervalMs: random.pick([5, 50, 1000]),
      sideIndex: random.chance(0.8),
    },
    watches: random.chance(0.3),
    readOnly,
    ...(!readOnly && random.chance(0.4) ? { vacuumEveryMs: random.pick([10, 100]) } : {}),
  };
}

function drawOnBucket(random: Random): ProcessProfile {
  const clients = random.between(1, 4);
  return {
    clients,
    operations: Math.round(random.between(50, 90) / clients),
    thinkMsMax: random.pick([0, 100, 500]),
    options: { autoSync: random.chance(0.7), syncIntervalMs: random.pick([100, 1000]), compaction: random.chance(0.3) },
    watches: random.chance(0.3),
    readOnly: random.chance(0.1),
    ...(random.chance(0.2) ? { vacuumEveryMs: 3000 } : {}),
  };
}
