import type { FileSystemCalls } from "../../src/adapters/fs/file.ts";
import { changingFiles } from "./generations.ts";

/** The system's calls, and how much was read by them. */
export function countingReads(): {
  readonly calls: FileSystemCalls;
  readonly counts: { reads: number; bytesRead: number; opens: number };
} {
  const counts = { reads: 0, bytesRead: 0, opens: 0 };
  const calls = changingFiles((file) => {
    counts.opens++;
    return {
      read: (target, position) => {
        const count = file.read(target, position);
        counts.reads++;
        counts.bytesRead += count;
        return count;
      },
    };
  });
  return { calls, counts };
}
