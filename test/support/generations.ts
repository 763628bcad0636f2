import { appendFileSync, closeSync, openSync, readFileSync, renameSync, statSync, writeSync } from "node:fs";
import { dirname, join } from "node:path";
import type { FileHandle, FileSystemCalls } from "../../src/adapters/fs/file.ts";
import { nodeFileSystem } from "../../src/adapters/fs/file-node.ts";
import { readHeader, readPayload } from "../../src/adapters/fs/frame.ts";
import { readBeginning } from "../../src/adapters/fs/generation.ts";
import { createFsLedger } from "../../src/adapters/fs/ledger.ts";
import { decodeSeal } from "../../src/adapters/fs/payloads.ts";
import type { LedgerSession } from "../../src/core/ledger.ts";
import { nodeEnvironment } from "../../src/platform/environment-node.ts";

/** A session of a ledger file, without an engine. */
export function openSession(
  path: string,
  options: {
    readonly calls?: FileSystemCalls;
    readonly readOnly?: boolean;
    readonly createIfMissing?: boolean;
    readonly durability?: "strict";
  } = {},
): Promise<LedgerSession> {
  const { calls = nodeFileSystem, readOnly = false, createIfMissing = true, durability = "relaxed" } = options;
  return createFsLedger(path, { durability }, calls).open({
    createIfMissing,
    readOnly,
    allowNetworkFileSystem: false,
    environment: nodeEnvironment,
  });
}

/** The system's calls, with those on files that are opened changed. */
export function changingFiles(change: (file: FileHandle, path: string) => Partial<FileHandle>): FileSystemCalls {
  return {
    ...nodeFileSystem,
    open: (path, options) => {
      const file = nodeFileSystem.open(path, options);
      const unchanged: FileHandle = {
        read: (target, position) => file.read(target, position),
        append: (bytes) => file.append(bytes),
        status: () => file.status(),
        identity: () => file.identity(),
        syncData: () => file.syncData(),
        sync: () => file.sync(),
        close: () => file.close(),
      };
      return { ...unchanged, ...change(file, path) };
    },
  };
}

/**
 * Writes the sibling of a vacuum that finds nothing to leave out, and holds the seal back: `seal` appends it, `replace` completes the
 * sibling and renames it. Both at once, so that a test can put them between any two system calls.
 */
export async function nextGeneration(path: string): Promise<{ seal(): void; replace(): void }> {
  let frame = new Uint8Array(0);
  const holdingBack = changingFiles(() => ({
    append: (bytes) => {
      frame = bytes.slice();
      return bytes.length;
    },
  }));
  const session = await openSession(path, { calls: holdingBack, createIfMissing: false });
  let position = session.start;
  for (let status = "more"; status === "more";) {
    const result = await session.read(position, { bytes: 1 << 20, verify: false });
    ({ next: position, status } = result);
  }
  await session.vacuum?.({
    position: session.start,
    reload: false,
    writeRun: async () => ({ checksum: 0 }),
    progress: () => undefined,
    rest: () => undefined,
    check: () => undefined,
  });
  await session.close();
  const opened = nodeFileSystem.open(path, { write: false, create: false });
  const beginning = readBeginning(opened, path, nodeEnvironment.crc32);
  opened.close();
  if (beginning.is !== "ledger") throw new Error("There is no ledger");
  const { delta } = beginning.generation;
  const header = readHeader(frame, 0, nodeEnvironment.crc32);
  const payload = header && readPayload(frame, 0, header, nodeEnvironment.crc32);
  if (payload === undefined) throw new Error("There was no seal");
  const { base, framesAt, syncedMark, siblingName } = decodeSeal(payload);
  let sealedAt = -1;
  return {
    seal: () => {
      sealedAt = statSync(path).size;
      appendFileSync(path, frame);
    },
    replace: () => {
      const sibling = join(dirname(path), siblingName);
      const file = openSync(sibling, "r+");
      const rest = readFileSync(path).subarray(syncedMark - delta, sealedAt);
      writeSync(file, rest, 0, rest.length, framesAt + syncedMark - base);
      closeSync(file);
      renameSync(sibling, path);
    },
  };
}
