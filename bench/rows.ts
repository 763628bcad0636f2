import type { Figures } from "./measure.ts";
import { bytesIn, type Child, type Databases, measured, start, type State } from "./runner.ts";

/** One line of the table. */
export interface Line {
  readonly label: string;
  /** Which of a measurement's figures it shows. */
  readonly figure: string;
  /** Where the processor time of one operation is told, in microseconds. */
  readonly processor?: string;
  readonly unit: Unit;
  /** What foliokv is to reach: a ratio to the best peer, or a figure of its own. */
  readonly aim?: { readonly ratio: number } | { readonly atMost: number } | { readonly atLeast: number };
}

export type Unit = "per second" | "ms" | "MiB" | "MB" | "% of a core" | "x";

/** What is measured together, in one or several processes of its own. */
export interface Row {
  readonly lines: readonly Line[];
  /** Left out: all of them. `shared`: those that several processes may have open. `own`: foliokv alone. */
  readonly peers?: "shared" | "own";
  measure(peer: string, context: Context): Promise<Figures>;
}

export interface Context {
  readonly databases: Databases;
  readonly entries: number;
}

const PROCESSES = 4;
const IDLE_PROCESSES = 20;
const IDLE_MS = 10_000;
const STRICT_SETS = 2000;
const STRICT_CONCURRENT = 10_000;

const perSecond = (label: string, ratio?: number): Line => ({
  label,
  figure: "perSecond",
  processor: "processorUs",
  unit: "per second",
  ...(ratio === undefined ? {} : { aim: { ratio } }),
});

const STATES: Readonly<Record<State, string>> = {
  shuffled: "as written",
  ordered: "in key order",
  vacuumed: "vacuumed",
};

export const rows: Readonly<Record<string, Row>> = {
  set: written("set", perSecond("awaited set, one after the other", 2)),
  batch: written("batch", perSecond("batches of 1000 in a transaction", 1.3)),
  concurrent: written("concurrent", perSecond("100 un-awaited sets at a time", 3)),
  ...forStates("get", "gets", (state, ratio) => [
    { ...perSecond(`random get, first pass, ${state}`, ratio), figure: "first", processor: "firstProcessorUs" },
    { ...perSecond(`random get, second pass, ${state}`, ratio), figure: "second", processor: "secondProcessorUs" },
  ]),
  miss: filled("misses", "vacuumed", [perSecond("get of a missing key, vacuumed", 1)]),
  ...forStates("scan", "scan", (state, ratio) => [perSecond(`full scan with values, ${state}`, ratio)]),
  ...forStates("ranges", "ranges", (state, ratio) => [perSecond(`ranges of 100 with values, ${state}`, ratio)]),
  open: filled("open", "ordered", [
    { label: "open after a clean close", figure: "openMs", processor: "processorUs", unit: "ms", aim: { atMost: 5 } },
    { label: "the same and one get", figure: "withGetMs", unit: "ms" },
  ]),
  openKilled: {
    lines: [
      { label: "open after kill -9", figure: "openMs", processor: "processorUs", unit: "ms", aim: { atMost: 50 } },
      { label: "the same and one get", figure: "withGetMs", unit: "ms" },
    ],
    measure: openAfterKill,
  },
  memory: filled("memory", "vacuumed", [
    { label: "resident memory, grown by opening", figure: "openMiB", unit: "MiB", aim: { atMost: 10 } },
    { label: "the same after reading everything", figure: "readMiB", unit: "MiB" },
  ]),
  processes: {
    peers: "shared",
    lines: [
      { ...perSecond(`${PROCESSES} processes, awaited sets, total`, 2), processor: "none" },
      { label: "the same, the longest wait of any", figure: "longestMs", unit: "ms", aim: { atMost: 25 } },
    ],
    measure: (peer, context) => severalProcesses(peer, context, { vacuums: false }),
  },
  processesVacuum: {
    peers: "own",
    lines: [
      { ...perSecond(`${PROCESSES} processes, one vacuums all the time`), processor: "none" },
      { label: "the same, the longest wait of any", figure: "longestMs", unit: "ms", aim: { atMost: 25 } },
    ],
    measure: (peer, context) => severalProcesses(peer, context, { vacuums: true }),
  },
  visibility: {
    peers: "shared",
    lines: [
      { label: "visibility in another process, median", figure: "medianMs", unit: "ms", aim: { ratio: 1 } },
      { label: "visibility in another process, p99", figure: "p99Ms", unit: "ms", aim: { ratio: 1 } },
    ],
    measure: visibility,
  },
  strict: {
    lines: [
      { ...perSecond("set that is on the disk, alone", 1), figure: "alone" },
      { ...perSecond("set that is on the disk, 100 at a time"), figure: "concurrent" },
      { label: "the same, as a multiple of alone", figure: "multiple", unit: "x", aim: { atLeast: 10 } },
    ],
    measure: strict,
  },
  disk: {
    lines: [{ label: "bytes on disk, vacuumed", figure: "MB", unit: "MB", aim: { atMost: 16 } }],
    measure: async (peer, { databases, entries }) => ({
      MB: bytesIn(await databases.filled(peer, entries, "vacuumed")) / 1e6,
    }),
  },
  idle: {
    peers: "own",
    lines: [
      {
        label: `processor time of ${IDLE_PROCESSES} idle processes`,
        figure: "idlePercent",
        unit: "% of a core",
        aim: { atMost: 1 },
      },
      { ...perSecond("awaited set beside them"), figure: "beside" },
      { label: "the same, as a multiple of alone", figure: "multiple", unit: "x", aim: { atLeast: 0.9 } },
    ],
    measure: idle,
  },
  blocks: {
    peers: "own",
    lines: [
      { label: "longest turn of the event loop, vacuum", figure: "vacuumMs", unit: "ms", aim: { atMost: 10 } },
      { label: "the same, processor time", figure: "vacuumProcessorMs", unit: "ms", aim: { atMost: 10 } },
      { label: "longest turn of the event loop, saves", figure: "saveMs", unit: "ms", aim: { atMost: 10 } },
      { label: "the same, processor time", figure: "saveProcessorMs", unit: "ms", aim: { atMost: 10 } },
    ],
    measure: blocks,
  },
};

function written(work: "set" | "batch" | "concurrent", line: Line): Row {
  return {
    lines: [line],
    measure: (peer, { databases, entries }) =>
      databases.within(databases.empty(), (folder) => measured({ peer, work, folder, entries })),
  };
}

function filled(work: "misses" | "open" | "memory" | "gets" | "scan" | "ranges", state: State, lines: Line[]): Row {
  return {
    lines,
    measure: async (peer, { databases, entries }) =>
      measured({ peer, work, folder: await databases.filled(peer, entries, state), entries }),
  };
}

/** A row for each way in which the database was written. The aims hold for those in which neighbours lie beside each other. */
function forStates(
  name: string,
  work: "gets" | "scan" | "ranges",
  lines: (state: string, ratio: number | undefined) => Line[],
): Record<string, Row> {
  return Object.fromEntries(
    (Object.keys(STATES) as State[]).map((state) => [
      `${name}:${state}`,
      filled(work, state, lines(STATES[state], state === "shuffled" ? undefined : 1.2)),
    ]),
  );
}

async function openAfterKill(peer: string, { databases, entries }: Context): Promise<Figures> {
  return databases.within(databases.copy(await databases.filled(peer, entries, "ordered")), async (folder) => {
    const writer = start({ peer, work: "killed", folder, entries });
    await writer.said("ready");
    writer.kill();
    await writer.ended;
    return measured({ peer, work: "open", folder, entries });
  });
}

/** All processes begin at one moment; the time runs from the first one's start to the last one's end. */
async function severalProcesses(
  peer: string,
  { databases, entries }: Context,
  { vacuums }: { readonly vacuums: boolean },
): Promise<Figures> {
  return databases.within(databases.empty(), async (folder) => {
    await measured({ peer, work: "fill", folder, entries: 1 });
    const startAt = Date.now() + 1500;
    const task = { peer, work: "together", folder, entries, parts: PROCESSES, startAt } as const;
    const children = Array.from({ length: PROCESSES }, (_, part) =>
      measured({ ...task, part, vacuums: vacuums && part === 0 }),
    );
    const results = await Promise.all(children);
    const begin = Math.min(...results.map((result) => result.start));
    const end = Math.max(...results.map((result) => result.end));
    const count = results.reduce((sum, result) => sum + result.count, 0);
    return {
      perSecond: (count / (end - begin)) * 1000,
      longestMs: Math.max(...results.map((result) => result.longestMs)),
      vacuumed: results[0].vacuumed,
    };
  });
}

async function visibility(peer: string, { databases }: Context): Promise<Figures> {
  return databases.within(databases.empty(), async (folder) => {
    await measured({ peer, work: "fill", folder, entries: 1 });
    const watching = start({ peer, work: "watch", folder, entries: 1 });
    await watching.said("ready");
    const writing = measured({ peer, work: "moments", folder, entries: 1 });
    const [figures] = await Promise.all([watching.ended, writing]);
    return figures ?? {};
  });
}

async function strict(peer: string, { databases, entries }: Context): Promise<Figures> {
  const sets = (work: "set" | "concurrent", limit: number): Promise<Figures> =>
    databases.within(databases.empty(), (folder) => measured({ peer, work, folder, entries, limit, strict: true }));
  const alone = await sets("set", STRICT_SETS);
  const concurrent = await sets("concurrent", STRICT_CONCURRENT);
  return {
    alone: alone.perSecond,
    concurrent: concurrent.perSecond,
    multiple: concurrent.perSecond / alone.perSecond,
  };
}

async function idle(peer: string, { databases, entries }: Context): Promise<Figures> {
  const folder = databases.copy(await databases.filled(peer, entries, "ordered"));
  return databases.within(folder, async () => {
    const writing = { peer, work: "setAnywhere", folder, entries, limit: 100_000 } as const;
    const alone = await measured(writing);
    const children: Child[] = [];
    for (let i = 0; i < IDLE_PROCESSES; i++) {
      const child = start({ peer, work: "idle", folder, entries });
      await child.said("ready");
      children.push(child);
    }
    // What the last ones do after opening belongs to that.
    await pause(IDLE_MS / 5);
    for (const child of children) child.line();
    await pause(IDLE_MS);
    for (const child of children) child.line();
    await Promise.all(children.map((child) => child.said("measured")));
    const beside = await measured(writing);
    for (const child of children) child.line();
    const shares = await Promise.all(children.map((child) => child.ended));
    return {
      idlePercent: shares.reduce((sum, figures) => sum + (figures?.share ?? 0), 0) * 100,
      alone: alone.perSecond,
      beside: beside.perSecond,
      multiple: beside.perSecond / alone.perSecond,
    };
  });
}

async function blocks(peer: string, { databases, entries }: Context): Promise<Figures> {
  const copy = databases.copy(await databases.filled(peer, entries, "ordered"));
  const vacuum = await databases.within(copy, (folder) => measured({ peer, work: "vacuumBlocks", folder, entries }));
  const save = await databases.within(databases.empty(), (folder) =>
    measured({ peer, work: "saveBlocks", folder, entries }),
  );
  return {
    vacuumMs: vacuum.longestMs,
    vacuumProcessorMs: vacuum.longestProcessorMs,
    saveMs: save.longestMs,
    saveProcessorMs: save.longestProcessorMs,
  };
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
