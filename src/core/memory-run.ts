import { concatenated } from "./bytes.ts";
import type { RunSink, StoredRun } from "./ledger.ts";

/** Tells runs in memory from each other, and from all stored ones. */
let made = 0;

/** A run that is kept in memory: for replicas that may not save one. */
export function memoryRun(): RunSink {
  const chunks: Uint8Array[] = [];
  return {
    write: (bytes) => void chunks.push(bytes),
    finish: () => Promise.resolve(stored(concatenated(chunks))),
    abandon: () => void chunks.splice(0),
  };
}

function stored(bytes: Uint8Array): StoredRun {
  return {
    id: `memory-${++made}`,
    length: bytes.length,
    isInMemory: true,
    smallReads: true,
    read: (place, length) => bytes.subarray(place, place + length),
    close: () => undefined,
  };
}
