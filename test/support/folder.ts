import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A new folder below the system's temporary one, removed when the block ends that holds it with `using`. */
export function temporaryFolder(): Disposable & { readonly path: string; file(name: string): string } {
  const path = mkdtempSync(join(tmpdir(), "foliokv-"));
  return {
    path,
    file: (name) => join(path, name),
    [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }),
  };
}

/** Runs a test in such a folder. */
export async function inFolder(test: (path: string) => Promise<void>): Promise<void> {
  const folder = temporaryFolder();
  try {
    await test(folder.path);
  } finally {
    folder[Symbol.dispose]();
  }
}
