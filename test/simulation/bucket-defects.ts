import type { BucketLeaning } from "./bucket-profile.ts";
import type { Change } from "./sources.ts";

/** Defects that the simulation over a bucket has to find; see `defects.ts`. */
export interface BucketDefect {
  readonly name: string;
  readonly leaning?: BucketLeaning;
  readonly changes: readonly Change[];
}

export const bucketDefects: readonly BucketDefect[] = [];
