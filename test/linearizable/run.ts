import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { objectLedger } from "../../src/adapters/object/ledger.ts";
import { s3FetchStore } from "../../src/adapters/s3-fetch/index.ts";
import { KV } from "../../src/index.node.ts";
import { Random } from "../simulation/random.ts";
import { type Change, small, smallBucket } from "../simulation/sources.ts";
import { type Message, Program } from "../support/program.ts";
import { freshPrefix, type S3Server } from "../support/s3-server.ts";
import { nameOf, observed } from "./client.ts";
import { type DiedLine, type Line, parseLines, Recorder, timeSince } from "./history.ts";
import type { ProcessProfile, Profile } from "./profile.ts";
import type { BucketTarget, FileTarget, WorkerReport, WorkerTask } from "./worker.ts";

/** Longer than anything may take. */
const HANGS_MS = 180_000;
/** What a killed process has sent to a bucket, or what was held up on the way, has landed then. */
const LANDS_MS = 3500;
/** How much of what the one before it would have done the process does that takes its place. */
const REPLACED = 0.5;

export interface RunOptions {
  readonly profile: Profile;
  readonly seed: number;
  /** Exists, and is empty. */
  readonly folder: string;
  /** Of a run on a bucket. */
  readonly server?: S3Server;
  readonly defect?: readonly Change[];
}

export interface Run {
  readonly lines: readonly Line[];
  readonly kills: number;
  /** How often the ledger has begun anew. */
  readonly vacuums: number;
  readonly events: readonly string[];
  /** What must not be, and is no matter of order. */
  readonly problems: readonly string[];
}

/** Runs processes on one database, kills some of them, and gathers what they have recorded. */
export async function run(options: RunOptions): Promise<Run> {
  const { profile, seed, server } = options;
  const began = process.hrtime.bigint().toString();
  const place = placeOf(options);
  await (await place.open()).close();
  const random = new Random(seed);
  const common = {
    ...place,
    began,
    keys: profile.keys,
    keyCount: profile.keyCount,
    witnessBytesMax: profile.witnessBytesMax,
  };
  const world = new World(options, common, random);
  try {
    await world.live();
    if (server !== undefined) await delay(LANDS_MS);
    const lines = [...world.lines(), ...(await lookAtLast(place, options, began))];
    return { lines, kills: world.kills, vacuums: world.vacuums, events: [...world.events], problems: world.problems };
  } finally {
    await world.end();
  }
}

type Target = FileTarget | BucketTarget;

interface Place {
  /** Drawn anew for each process. */
  readonly targetOf: (random: Random) => Target;
  readonly open: () => Promise<KV>;
  readonly sources: readonly Change[];
}

function placeOf({ profile, folder, server, defect = [] }: RunOptions): Place {
  if (server === undefined) {
    const path = join(folder, "ledger.db");
    const target = { path, durability: profile.durability };
    const sources = [...(profile.small ? small : []), ...defect];
    return { targetOf: () => target, open: () => KV.open(path), sources };
  }
  const { bucket, endpoint, region, credentials, tellsTime, quotedEtags } = server;
  const store = { bucket, prefix: freshPrefix(), endpoint, region, credentials, tellsTime, quotedEtags };
  const faults = profile.faults;
  return {
    targetOf: (random) => ({ store, client: random.pick(["sdk", "fetch"] as const), faults }),
    open: () => KV.open(objectLedger(s3FetchStore(store))),
    sources: [...(profile.small ? smallBucket : []), ...defect],
  };
}

type Common = Place & Pick<WorkerTask, "began" | "keys" | "keyCount" | "witnessBytesMax">;

interface Living {
  readonly program: Program;
  readonly number: number;
  readonly profile: ProcessProfile;
}

/** The processes of a run. */
class World {
  readonly #options: RunOptions;
  readonly #common: Common;
  readonly #random: Random;
  readonly #programs: Program[] = [];
  readonly #ends: Promise<void>[] = [];
  readonly #histories: string[] = [];
  readonly #deaths: DiedLine[] = [];
  readonly events = new Set<string>();
  readonly problems: string[] = [];
  kills = 0;
  vacuums = 0;

  constructor(options: RunOptions, common: Common, random: Random) {
    this.#options = options;
    this.#common = common;
    this.#random = random;
  }

  async live(): Promise<void> {
    const hangs = new AbortController();
    const hanging = delay(HANGS_MS, undefined, { signal: hangs.signal }).then(
      () => this.problems.push(`some process has not ended after ${HANGS_MS / 1000} s`),
      () => undefined,
    );
    await Promise.race([this.#live(), hanging]);
    hangs.abort();
  }

  async #live(): Promise<void> {
    const { processes, killsAt } = this.#options.profile;
    const living = processes.map((each) => this.#begin(each));
    await Promise.all(living.map(({ program }) => program.next(({ ready }) => ready === true)));
    const began = performance.now();
    for (const { program } of living) program.send({ do: "go" });
    for (const at of killsAt) {
      await delay(Math.max(0, began + at - performance.now()));
      const index = this.#random.between(0, living.length - 1);
      const { program, profile } = living[index];
      // It may have come to its end before.
      program.signal("SIGKILL");
      if ((await program.exited).signal === "SIGKILL") this.#died(living[index]);
      living[index] = this.#begin({ ...profile, operations: Math.ceil(profile.operations * REPLACED) });
      living[index].program.send({ do: "go" });
    }
    await Promise.all(this.#ends);
  }

  #died({ number }: Living): void {
    this.kills++;
    if (this.#options.server === undefined)
      this.#deaths.push({ died: instanceOf(number), at: timeSince(this.#common.began) });
  }

  #begin(profile: ProcessProfile): Living {
    const number = this.#programs.length + 1;
    const { folder, seed } = this.#options;
    const history = join(folder, `history-${number}.jsonl`);
    const { targetOf, sources, ...common } = this.#common;
    const { open: _, ...shared } = common;
    const task: WorkerTask = {
      ...shared,
      ...profile,
      target: targetOf(this.#random),
      sources,
      instance: instanceOf(number),
      number,
      seed: seed * 100 + number,
      history,
    };
    const program = new Program("../../linearizable/worker.ts", task, { asSources: true });
    this.#programs.push(program);
    this.#histories.push(history);
    this.#ends.push(this.#ended(program, number));
    return { program, number, profile };
  }

  async #ended(program: Program, number: number): Promise<void> {
    const { code, signal } = await program.exited;
    if (signal === "SIGKILL") return;
    const last = program.messages.at(-1) as (Message & WorkerReport) | undefined;
    if (code !== 0 || last?.problems === undefined) {
      this.problems.push(`process ${number} ended with ${signal ?? code}: ${program.errors.slice(0, 2000)}`);
      return;
    }
    this.vacuums += last.vacuums;
    for (const event of last.events) this.events.add(event);
    this.problems.push(...last.problems);
  }

  lines(): Line[] {
    const recorded = this.#histories.filter(existsSync).flatMap((path) => parseLines(readFileSync(path, "utf8")));
    return [...recorded, ...this.#deaths];
  }

  async end(): Promise<void> {
    await Promise.all(this.#programs.map((program) => program[Symbol.asyncDispose]()));
  }
}

function instanceOf(number: number): string {
  return `p${number}`;
}

/** Somebody who opens the database when all is over reads everything, and finds the witnesses. */
async function lookAtLast({ open }: Place, { profile, folder }: RunOptions, began: string): Promise<Line[]> {
  const { keyCount } = profile;
  const keys = Array.from({ length: keyCount }, (_, key) => key);
  const path = join(folder, "history-end.jsonl");
  const recorder = new Recorder(path, { instance: "end", began });
  const db = await open();
  // One by one: in a history of single keys an operation has one.
  for (const key of keys) {
    const call = recorder.call({ kind: "read", consistency: "strong", keys: [key] });
    const reads = [observed(key, await db.getEntry<number>(nameOf(key), { consistency: "strong" }))];
    recorder.returned(call, { outcome: "read", reads });
  }
  const witnesses: Record<string, number> = {};
  for (const { key, version } of await db.listAll(["witness"])) witnesses[String(key[1])] = version as number;
  await db.close();
  return [...parseLines(readFileSync(path, "utf8")), { witnesses }];
}

/** Puts a history where the checker finds it. */
export function writeHistory(path: string, profile: Profile, lines: readonly Line[], about: unknown): void {
  const header = { header: { keys: profile.keys, keyCount: profile.keyCount, about } };
  writeFileSync(path, [header, ...lines].map((line) => `${JSON.stringify(line)}\n`).join(""));
}
