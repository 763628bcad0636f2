import { registerHooks } from "node:module";
import { fileURLToPath } from "node:url";

/** Changes of the source that are made while its files are loaded: the product holds nothing of them. */
export interface Change {
  /** Below `src/`. */
  readonly file: string;
  /** Occurs exactly once in the file. */
  readonly find: string;
  readonly replace: string;
}

const constant = (file: string, find: string, value: number): Change => ({
  file,
  find: `const ${find};`,
  replace: `const ${find.split(" = ")[0]} = ${value};`,
});

/** Everything that happens once in many commits, or with large files, happens in small runs too. */
export const small: readonly Change[] = [
  constant("core/checkpointer.ts", "OPERATIONS_DUE = 8 * 1024", 16),
  constant("core/checkpointer.ts", "BYTES_DUE = 8 * 1024 * 1024", 6000),
  constant("core/checkpointer.ts", "WAIT_MS = 250", 20),
  constant("core/tiers.ts", "RUNS_MAX = 12", 4),
  constant("core/overlay.ts", "PORTION = 1024", 5),
  constant("core/sorted-rows.ts", "PORTION = 1024", 5),
  constant("adapters/fs/side-index.ts", "BUSY_MS = 1000", 100),
  constant("adapters/fs/side-index.ts", "DROPPED_MS = 1000", 20),
  constant("core/row-copy.ts", "ROWS = 16", 3),
  constant("core/run-builder.ts", "BLOCK_BYTES = 4096", 256),
  constant("core/run-builder.ts", "CHUNK_BYTES = 64 * 1024", 400),
  constant("core/snapshot-run.ts", "SLICE_ROWS = 16", 2),
  constant("core/purge.ts", "PURGE_MAX = 1000", 2),
  constant("core/vacuum.ts", "READ_BYTES = 512 * 1024", 900),
  constant("core/purge.ts", "SLICE_ROWS = 256", 3),
  constant("core/history.ts", "READ_BYTES = 512 * 1024", 900),
  constant("core/pacer.ts", "BUDGET_MS = 8", 1),
  constant("core/pacer.ts", "BACKGROUND_MS = 4", 1),
  constant("core/auto-vacuum.ts", "GROWTH_BYTES_MIN = 16 * MIB", 5000),
  constant("core/auto-vacuum.ts", "PAUSE_MS = 60 * 1000", 40),
  constant("adapters/fs/vacuum.ts", "CHUNK_BYTES = 256 * 1024", 700),
  constant("adapters/fs/vacuum.ts", "LEFT_BYTES_MAX = 1024 * 1024", 600),
  constant("adapters/fs/help.ts", "CHUNK_BYTES = 1024 * 1024", 300),
];

/** Likewise for ledgers in a bucket. */
export const smallBucket: readonly Change[] = [
  constant("core/run-builder.ts", "BLOCK_BYTES = 4096", 256),
  constant("core/run-builder.ts", "CHUNK_BYTES = 64 * 1024", 400),
  constant("core/pacer.ts", "BUDGET_MS = 8", 1),
  constant("core/pacer.ts", "BACKGROUND_MS = 4", 1),
  constant("core/purge.ts", "PURGE_MAX = 1000", 2),
  constant("core/purge.ts", "SLICE_ROWS = 256", 3),
  constant("core/history.ts", "READ_BYTES = 512 * 1024", 900),
  constant("core/state-keeper.ts", "SLICE_ROWS = 64", 3),
  constant("core/state-run.ts", "SLICE_ROWS = 16", 3),
  { file: "core/state-run.ts", find: "blockBytes: 60_000", replace: "blockBytes: 300" },
  { file: "core/state-run.ts", find: "filterBytesMin: 64 * 1024", replace: "filterBytesMin: 600" },
  constant("adapters/object/merge-plan.ts", "DUE_SLOTS = 16", 3),
  constant("adapters/object/merge-plan.ts", "DUE_BYTES: number = 4 * 1024 * 1024", 6000),
  constant("adapters/object/merge-plan.ts", "TURN_SLOTS = 8", 2),
  constant("adapters/object/merge-plan.ts", "BACKGROUND_SLOTS = 32", 4),
  constant("adapters/object/merge-plan.ts", "MERGED_RUNS = 8", 3),
  constant("adapters/object/follow.ts", "RELOAD_SLOTS = 256", 12),
  constant("adapters/object/follow.ts", "LOOK_SLOTS = 64", 5),
  constant("adapters/object/store-ledger.ts", "FIRST_SLOTS = 16", 3),
  constant("adapters/object/layout.ts", "STAGED_SLOTS_MAX = 64", 4),
  constant("adapters/object/staged.ts", "STAGED_BYTES_MIN: number = 16 * 1024", 300),
  constant("adapters/object/staged.ts", "INLINE_BYTES_MAX: number = 256 * 1024", 900),
  constant("adapters/object/slot.ts", "SLOT_BYTES_MAX: number = 1024 * 1024", 4000),
  constant("adapters/object/batch-ids.ts", "BATCH_IDS_MAX = 65_536", 9),
  constant("adapters/object/run-object.ts", "WHOLE_BYTES_MAX: number = 64 * 1024", 900),
];

const SOURCE = new URL("../../src/", import.meta.url).href;

/**
 * Makes changes in every file of `src` that is loaded from now on. Returns a function that throws unless each of them was made: a source that
 * has moved on must not pass for one that was changed.
 */
export function changeSources(changes: readonly Change[]): () => void {
  const made = new Set<Change>();
  registerHooks({
    load(url, context, next) {
      const loaded = next(url, context);
      if (!url.startsWith(SOURCE) || loaded.source === undefined || loaded.source === null) return loaded;
      const file = fileURLToPath(url).slice(fileURLToPath(SOURCE).length);
      let source = Buffer.from(loaded.source as Uint8Array).toString();
      for (const change of changes.filter((each) => each.file === file)) {
        const parts = source.split(change.find);
        if (parts.length !== 2) throw new Error(`found ${parts.length - 1} times in ${file}: ${change.find}`);
        source = parts.join(change.replace);
        made.add(change);
      }
      return { ...loaded, source };
    },
  });
  return () => {
    const missing = changes.find((change) => !made.has(change));
    if (missing !== undefined) throw new Error(`${missing.file} was not loaded`);
  };
}
