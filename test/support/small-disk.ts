import { spawnSync } from "node:child_process";
import { readdirSync, rmSync, statfsSync } from "node:fs";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { temporaryFolder } from "./folder.ts";

const LOOKS_MAX = 100_000;

/** A file system in memory. */
export interface SmallDisk extends Disposable {
  file(name: string): string;
  /**
   * Removes what lies there. Resolves when all of its room is there again, for a file without a name may be closed by another thread; rejects when that
   * does not come.
   */
  empty(): Promise<void>;
}

/** One of this many bytes, until disposed; or why there is none. */
export function smallDisk(bytes: number): SmallDisk | { readonly reason: string } {
  const folder = temporaryFolder();
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", `size=${bytes}`, "tmpfs", folder.path]);
  if (mounted.status !== 0) {
    folder[Symbol.dispose]();
    return { reason: `no tmpfs can be mounted here: ${mounted.error?.message ?? mounted.stderr.toString().trim()}` };
  }
  const { bfree: blocks } = statfsSync(folder.path);
  return {
    file: (name) => join(folder.path, name),
    empty: async () => {
      for (const name of readdirSync(folder.path)) rmSync(join(folder.path, name));
      for (let looks = 0; statfsSync(folder.path).bfree < blocks; looks++) {
        if (looks === LOOKS_MAX) throw new Error("Something that was removed is still open");
        await setImmediate();
      }
    },
    [Symbol.dispose]: () => {
      spawnSync("umount", ["--lazy", folder.path]);
      folder[Symbol.dispose]();
    },
  };
}
