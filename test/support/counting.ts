import type { FileSystemCalls } from "../../src/adapters/fs/file.ts";
import { nodeFileSystem } from "../../src/adapters/fs/file-node.ts";
import { changingFiles } from "./generations.ts";

/** Calls to the system, and the bytes that they moved: of the ledger's file, and of its saved index. */
export interface Cost {
  appends: number;
  bytesAppended: number;
  /** Looks at the size. */
  fstats: number;
  reads: number;
  bytesRead: number;
  indexReads: number;
  indexBytesRead: number;
  /** Looks at where a path leads. */
  stats: number;
  syncs: number;
}

const NOTHING: Cost = {
  appends: 0,
  bytesAppended: 0,
  fstats: 0,
  reads: 0,
  bytesRead: 0,
  indexReads: 0,
  indexBytesRead: 0,
  stats: 0,
  syncs: 0,
};

/** The system's calls, counted. What a save or a vacuum writes to other files is not. */
export class CountingCalls {
  #cost: Cost = { ...NOTHING };

  readonly calls: FileSystemCalls = {
    ...changingFiles((file, path) => {
      const ofIndex = path.includes(".idx");
      return {
        read: (target, position) => {
          const count = file.read(target, position);
          this.#cost[ofIndex ? "indexReads" : "reads"]++;
          this.#cost[ofIndex ? "indexBytesRead" : "bytesRead"] += count;
          return count;
        },
        append: (bytes) => {
          this.#cost.appends++;
          this.#cost.bytesAppended += bytes.length;
          return file.append(bytes);
        },
        status: () => {
          if (!ofIndex) this.#cost.fstats++;
          return file.status();
        },
        syncData: () => {
          this.#cost.syncs++;
          return file.syncData();
        },
      };
    }),
    stat: (path) => {
      this.#cost.stats++;
      return nodeFileSystem.stat(path);
    },
  };

  /** What `work` costs; of what it costs nothing, nothing is told. */
  async of(work: () => Promise<unknown>): Promise<Partial<Cost>> {
    this.#cost = { ...NOTHING };
    await work();
    return Object.fromEntries(Object.entries(this.#cost).filter(([, count]) => count !== 0));
  }
}
