import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";
import { LONG } from "./test/long.ts";

// Hundreds of processes are started that load the same files: what Node makes of these is kept, which saves three quarters of each start.
process.env.NODE_COMPILE_CACHE ??= fileURLToPath(new URL(".cache/compiled", import.meta.url));

/** Where a file comes in the list of long ones: behind all of it if it is not among them. */
function place({ moduleId }: TestSpecification): number {
  const at = LONG.findIndex((file) => moduleId.endsWith(`/${file}`));
  return at === -1 ? LONG.length : at;
}

class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return (await super.sort(files)).toSorted((a, b) => place(a) - place(b));
  }
}

const source = (path: string): string => fileURLToPath(new URL(`src/${path}`, import.meta.url));

export default defineConfig({
  resolve: {
    // Examples, and programs in the documents, import the package by its name, as users do. Here that is its source.
    alias: [
      { find: /^foliokv$/, replacement: source("index.node.ts") },
      { find: /^foliokv\/fs$/, replacement: source("adapters/fs/index.ts") },
      { find: /^foliokv\/memory$/, replacement: source("adapters/memory/index.ts") },
      { find: /^foliokv\/object$/, replacement: source("object/index.ts") },
      { find: /^foliokv\/s3$/, replacement: source("adapters/s3/index.ts") },
      { find: /^foliokv\/s3-fetch$/, replacement: source("adapters/s3-fetch/index.ts") },
      { find: /^foliokv\/r2$/, replacement: source("adapters/r2/index.ts") },
      { find: /^foliokv\/testing$/, replacement: source("testing/index.ts") },
      { find: /^foliokv\/unstorage$/, replacement: source("unstorage/index.node.ts") },
    ],
  },
  test: {
    include: ["test/**/*.test.ts"],
    // Tests start processes and measure nothing: slow machines get the time they need.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    pool: "forks",
    // Two processors are kept busy by three: many tests wait for timers and for processes and servers that they have started.
    maxWorkers: 3,
    // What a file imports is loaded and compiled once for all that use it, not once for each.
    isolate: false,
    sequence: { sequencer: LongFirst },
  },
});
