import { ok } from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { Acknowledgements } from "./acknowledged.ts";
import { temporaryFolder } from "./folder.ts";
import { Program } from "./program.ts";

const SIZES = [300, 100_000, 2000, 700_000];
const BURST = 3;

export interface StopFigures {
  readonly acknowledged: number;
  readonly found: number;
  /** The fewest commits that any of the others made while one was stopped. */
  readonly fewestMeanwhile: number;
}

/**
 * Stops writers in the middle of everything, one after the other, each for `stoppedMs`, while two others go on; then lets it go on and
 * waits until it has made commits again. Throws when something is not as it must be.
 */
export async function stopWriters(stops: number, stoppedMs: number): Promise<StopFigures> {
  using folder = temporaryFolder();
  const path = folder.file("ledger.db");
  const acknowledgements = new Acknowledgements();
  await using stack = new AsyncDisposableStack();
  const writers = ["a", "b", "c"].map((id) => {
    const writer = stack.use(new Program("writer.ts", { path, id, sizes: SIZES, burst: BURST, pauseMs: 10 }));
    acknowledgements.collect(id, SIZES, writer);
    return writer;
  });
  let fewestMeanwhile = Infinity;
  await Promise.all(writers.map((writer) => commits(writer, 1)));
  for (let i = 0; i < stops; i++) {
    const stopped = writers[i % writers.length];
    const others = writers.filter((writer) => writer !== stopped);
    stopped.signal("SIGSTOP");
    // What it had told before is on its way.
    const before = others.map((writer) => writer.messages.length);
    await Promise.all([delay(stoppedMs), ...others.map((writer) => commits(writer, 20))]);
    fewestMeanwhile = Math.min(fewestMeanwhile, ...others.map((writer, j) => writer.messages.length - before[j]));
    stopped.signal("SIGCONT");
    await commits(stopped, 20);
  }
  for (const writer of writers) writer.send({ do: "stop" });
  for (const writer of writers) {
    const { code } = await writer.exited;
    ok(code === 0 && !writer.messages.some((message) => "failed" in message), writer.errors);
  }
  const { commits: found } = await acknowledgements.verify(path);
  return { acknowledged: acknowledgements.count, found, fewestMeanwhile };
}

/** Waits for `count` acknowledgements from now on. */
async function commits(writer: Program, count: number): Promise<void> {
  const enough = writer.messages.length + count;
  while (writer.messages.length < enough) await writer.next();
}
