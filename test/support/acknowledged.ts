import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { KV } from "../../src/index.node.ts";
import { makeValue, type WriterValue } from "../processes/programs/writer-value.ts";
import type { Program } from "./program.ts";

/** What writers were told, in order: for each writer the version of its nth commit. */
export class Acknowledgements {
  readonly #byWriter = new Map<string, { sizes: readonly number[]; versions: Map<number, number> }>();

  /** Listens to a program that runs writer.ts. */
  collect(id: string, sizes: readonly number[], writer: Program): void {
    const versions = new Map<number, number>();
    this.#byWriter.set(id, { sizes, versions });
    writer.onMessage(({ n, version }) => {
      if (typeof n === "number" && typeof version === "number") versions.set(n, version);
    });
  }

  get count(): number {
    let count = 0;
    for (const { versions } of this.#byWriter.values()) count += versions.size;
    return count;
  }

  /**
   * Opens the ledger anew and compares: everything acknowledged is there once, under the version that was told, with its value; each
   * writer's commits are there in order and without a gap; nothing else is there, nothing half.
   */
  async verify(path: string): Promise<{ readonly commits: number; readonly stumps: number; readonly bytes: number }> {
    await using db = await KV.open(path);
    const met = new Map<string, number>();
    const versions = new Map<string, number>();
    let commits = 0;
    for await (const entry of db.scan<WriterValue>([])) {
      if (entry.key[0] === "commits") continue;
      const [id, n] = entry.key as [string, number];
      const writer = this.#byWriter.get(id);
      strictEqual(n, (met.get(id) ?? 0) + 1, `${id}: commits out of order, doubled or missing`);
      met.set(id, n);
      versions.set(`${id}/${n}`, entry.version);
      const expected = makeValue(id, n, writer?.sizes ?? []);
      strictEqual(entry.value?.n, n);
      strictEqual(Buffer.compare(entry.value.bytes, expected.bytes), 0, `${id}/${n}: not the value that was set`);
      commits++;
    }
    for (const [id, writer] of this.#byWriter) {
      for (const [n, version] of writer.versions) strictEqual(versions.get(`${id}/${n}`), version, `${id}/${n}`);
    }
    strictEqual((await db.get<number>(["commits"])) ?? 0, commits);
    strictEqual(await db.count([{}, {}]), commits);
    const stats = db.stats();
    deepStrictEqual(stats.damage, []);
    return { commits, stumps: stats.counts.stumps, bytes: stats.session.bytes as number };
  }
}
