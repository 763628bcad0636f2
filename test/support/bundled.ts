import { renameSync } from "node:fs";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { buildSync } from "esbuild";

const files = new Map<string, string>();

/**
 * Makes one file of a program and of everything in this repository that it imports, and returns its path. A process that finds its hundred files in one
 * starts in less than half of the time.
 */
export function bundled(program: string): string {
  const known = files.get(program);
  if (known !== undefined) return known;
  const file = fileURLToPath(new URL(`../../.cache/programs/${basename(program, ".ts")}.mjs`, import.meta.url));
  // Several make it at once, of the same sources: whoever starts it finds one that is whole.
  const own = `${file}.${process.pid}`;
  buildSync({
    entryPoints: [program],
    outfile: own,
    bundle: true,
    packages: "external",
    format: "esm",
    platform: "node",
    target: "esnext",
    logLevel: "silent",
  });
  renameSync(own, file);
  files.set(program, file);
  return file;
}
