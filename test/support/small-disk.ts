import { spawnSync } from "node:child_process";
import { statfsSync } from "node:fs";
import { join } from "node:path";
import { temporaryFolder } from "./folder.ts";

/** A file system in memory. */
export interface SmallDisk extends Disposable {
  file(name: string): string;
  freeBytes(): number;
}

/** One of this many bytes, until disposed; or why there is none. */
export function smallDisk(bytes: number): SmallDisk | { readonly reason: string } {
  const folder = temporaryFolder();
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", `size=${bytes}`, "tmpfs", folder.path]);
  if (mounted.status !== 0) {
    folder[Symbol.dispose]();
    return { reason: `no tmpfs can be mounted here: ${mounted.error?.message ?? mounted.stderr.toString().trim()}` };
  }
  return {
    file: (name) => join(folder.path, name),
    freeBytes: () => {
      const { bavail, bsize } = statfsSync(folder.path);
      return bavail * bsize;
    },
    [Symbol.dispose]: () => {
      spawnSync("umount", ["--lazy", folder.path]);
      folder[Symbol.dispose]();
    },
  };
}
