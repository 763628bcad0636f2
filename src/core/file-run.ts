import { RunBuilder, type RunBuilderOptions } from "./run-builder.ts";
import { PointLookups } from "./run-lookup.ts";

/** Builds a run of a file, where small reads are quick: it has a point lookup. */
export function fileRunBuilder(options: Pick<RunBuilderOptions, "crc32" | "sink" | "entries">): RunBuilder {
  return new RunBuilder({ ...options, Lookups: PointLookups });
}
