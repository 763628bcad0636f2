import { readdirSync, readlinkSync } from "node:fs";

/** How many descriptors of this process lead into a folder; undefined where the system does not tell. */
export function openFilesBelow(folder: string): number | undefined {
  if (process.platform !== "linux") return undefined;
  let count = 0;
  for (const fd of readdirSync("/proc/self/fd")) {
    try {
      if (readlinkSync(`/proc/self/fd/${fd}`).startsWith(folder)) count++;
    } catch {
      // The descriptor by which the list was read is closed by now.
    }
  }
  return count;
}
