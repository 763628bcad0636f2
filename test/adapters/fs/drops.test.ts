import { appendFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { nodeFileSystem } from "../../../src/adapters/fs/file-node.ts";
import { FrameKind, frameBytes, writeFrame } from "../../../src/adapters/fs/frame.ts";
import { type Generation, readBeginning } from "../../../src/adapters/fs/generation.ts";
import { encodeDrop, encodeSeal } from "../../../src/adapters/fs/payloads.ts";
import { Seals } from "../../../src/adapters/fs/seals.ts";
import { KV } from "../../../src/index.node.ts";
import { nodeEnvironment } from "../../../src/platform/environment-node.ts";
import { inFolder } from "../../support/folder.ts";

const SIBLING = "5b".repeat(16);
/** As many as `close` saves. */
const SAVED = 300;
/** What names them has more than 64 KiB. */
const DROPS = 3000;
const still = { autoSync: false } as const;

function append(path: string, kind: number, payload: Uint8Array): void {
  const frame = new Uint8Array(frameBytes(payload.length));
  const record = { writer: new Uint8Array(12), counter: 1, timestamp: 0, payload };
  writeFrame(frame, 0, kind, record, nodeEnvironment.crc32);
  appendFileSync(path, frame);
}

function generationOf(path: string): Generation {
  const file = nodeFileSystem.open(path, { write: false, create: false });
  try {
    const beginning = readBeginning(file, path, nodeEnvironment.crc32);
    if (beginning.is !== "ledger") throw new Error("not a ledger");
    return beginning.generation;
  } finally {
    file.close();
  }
}

/** The seal of an author that was taken for gone. */
function sealOf(path: string): Uint8Array {
  const { size } = statSync(path);
  const seal = {
    nonce: generationOf(path).header.nonce,
    siblingNonce: SIBLING,
    siblingName: "a.db.2-00ff",
    reload: false,
  };
  return encodeSeal({ ...seal, base: size, framesAt: 1000, syncedMark: size });
}

async function setMany(db: KV, count: number): Promise<void> {
  await Promise.all(Array.from({ length: count }, (_, i) => db.set(["n", i], i)));
}

test("a seal that names a dropped sibling is void too for who begins behind the drop, and for who begins behind what they have saved", () =>
  inFolder(async (folder) => {
    const path = join(folder, "a.db");
    const first = await KV.open(path, still);
    append(path, FrameKind.drop, encodeDrop(SIBLING));
    await setMany(first, SAVED);
    await first.close();
    // One that knows of the drop by the index alone, and saves another.
    const second = await KV.open(path, still);
    expect(second.stats().counts.commits).toBe(0);
    await setMany(second, SAVED);
    await second.close();
    const third = await KV.open(path, still);
    expect(third.stats().counts.commits).toBe(0);
    append(path, FrameKind.seal, sealOf(path));
    await using fourth = await KV.open(path, { ...still, sideIndex: false });
    for (const db of [third, fourth]) {
      await db.set(["behind"], 1);
      expect(db.stats().session.sealed).toBe(false);
    }
    await third.close();
    await using fifth = await KV.open(path, still);
    expect(await fifth.get(["behind"])).toBe(1);
    expect(await fifth.count([])).toBe(SAVED + 1);
  }));

test("an index that tells of thousands of drops serves whoever opens next, as any other", () =>
  inFolder(async (folder) => {
    const path = join(folder, "a.db");
    const first = await KV.open(path, still);
    for (let i = 0; i < DROPS; i++)
      append(path, FrameKind.drop, encodeDrop(i === 0 ? SIBLING : i.toString(16).padStart(32, "0")));
    await setMany(first, SAVED);
    const problems: unknown[] = [];
    first.on("error", (error) => problems.push(error));
    await first.close();
    for (let i = 1; i <= 3; i++) {
      const db = await KV.open(path, still);
      expect(db.stats().counts).toMatchObject({ commits: 0, rebuilds: 0 });
      expect(await db.count([])).toBe(SAVED);
      db.on("error", (error) => problems.push(error));
      await setMany(db, SAVED);
      await db.close();
    }
    append(path, FrameKind.seal, sealOf(path));
    await using last = await KV.open(path, still);
    await last.set(["behind"], 1);
    expect(last.stats().session.sealed).toBe(false);
    expect(problems).toEqual([]);
  }));

test("a drop that is learned of before it is read makes only seals behind it void", () =>
  inFolder(async (folder) => {
    const path = join(folder, "a.db");
    await (await KV.open(path, still)).close();
    const { header } = generationOf(path);
    const seals = (): Seals => {
      const known = new Seals(header);
      known.learnDrop(SIBLING, 1000);
      return known;
    };
    expect(seals().seal(sealOf(path), 900)).toBe(true);
    expect(seals().seal(sealOf(path), 1100)).toBe(false);
    expect(seals().fork().seal(sealOf(path), 1100)).toBe(false);
    expect(seals().isDropped(SIBLING, 1000)).toBe(false);
    expect(seals().isDropped(SIBLING)).toBe(true);
  }));
