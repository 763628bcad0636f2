import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const source = (path: string): string => fileURLToPath(new URL(`src/${path}`, import.meta.url));

export default defineConfig({
  resolve: {
    // Examples, and programs in the documents, import the package by its name, as users do. Here that is its source.
    alias: [
      { find: /^foliokv$/, replacement: source("index.node.ts") },
      { find: /^foliokv\/fs$/, replacement: source("adapters/fs/index.ts") },
      { find: /^foliokv\/memory$/, replacement: source("adapters/memory/index.ts") },
      { find: /^foliokv\/object$/, replacement: source("adapters/object/index.ts") },
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
    maxWorkers: 2,
  },
});
