import { parseArgs } from "node:util";
import { type BucketDefect, bucketDefects } from "./bucket-defects.ts";
import { type Defect, defects } from "./defects.ts";

export const USAGE = `npm run simulate -- [options]

Runs seeds of the simulation of a ledger in a file, and stops at the first that fails, with the end of its trace.

  --bucket             of a ledger in a bucket instead
  --seeds N            so many seeds (1000)
  --from S             from this one on (1)
  --defect NAME        puts one of the deliberate defects in before, and lets happen more often what leads to it
  --leaning NAME       lets happen more often what leads to a defect, without it; given several times, runs the seeds with each
  --incidents "A|B"    fails, too, unless each of these words has stood in some trace
  --stop               with --incidents: stops as soon as they have, however few seeds that took

  --seed S             runs this one and prints its whole trace
  --digest S,S         runs each of these twice, watched and not, and prints what tells two runs apart
  --defects            prints the names of the deliberate defects
  --help               prints this
`;

/** What was asked for, checked. */
export interface SimulateOptions {
  readonly bucket: boolean;
  readonly seeds: number;
  readonly from: number;
  readonly defect: Defect | BucketDefect | undefined;
  /** Those whose leanings the seeds are run with, one after the other. */
  readonly leanings: readonly (Defect | BucketDefect)[];
  readonly incidents: readonly string[];
  readonly stop: boolean;
  readonly seed: number | undefined;
  readonly digest: readonly number[] | undefined;
  readonly defects: boolean;
  readonly help: boolean;
}

/** Throws a `RangeError` or a `TypeError` whose message says what is wrong. */
export function parseSimulateOptions(): SimulateOptions {
  const { values } = parseArgs({
    strict: true,
    options: {
      bucket: { type: "boolean", default: false },
      seeds: { type: "string", default: "1000" },
      from: { type: "string", default: "1" },
      defect: { type: "string" },
      leaning: { type: "string", multiple: true, default: [] },
      incidents: { type: "string" },
      stop: { type: "boolean", default: false },
      seed: { type: "string" },
      digest: { type: "string" },
      defects: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  const { bucket, stop, incidents, seed, digest, defect } = values;
  if (stop && incidents === undefined) throw new RangeError("--stop needs --incidents");
  const named = (name: string): Defect | BucketDefect => {
    const found = (bucket ? bucketDefects : defects).find((each) => each.name === name);
    if (found === undefined) throw new RangeError(`There is no defect "${name}"; --defects prints the names`);
    return found;
  };
  return {
    bucket,
    stop,
    seeds: wholeNumber("seeds", values.seeds),
    from: wholeNumber("from", values.from),
    defect: defect === undefined ? undefined : named(defect),
    leanings: values.leaning.map(named),
    incidents: incidents === undefined ? [] : incidents.split("|"),
    seed: seed === undefined ? undefined : wholeNumber("seed", seed),
    digest: digest?.split(",").map((each) => wholeNumber("digest", each)),
    defects: values.defects,
    help: values.help,
  };
}

function wholeNumber(option: string, text: string): number {
  if (!/^\d{1,10}$/.test(text)) throw new RangeError(`--${option} takes a whole number, not "${text}"`);
  return Number(text);
}
