import { ArrivingBytes, type BytesAt } from "../../core/bytes-at.ts";
import { KVError } from "../../core/errors.ts";
import type { StoredRun } from "../../core/ledger.ts";
import { batchIdsBytes, decodeBatchIds } from "./batch-ids.ts";
import { runKey, SLOT_VERSIONS } from "./layout.ts";
import type { ByteRange } from "./object-store.ts";
import type { RootObject } from "./root-object.ts";
import type { RootRun } from "./root.ts";
import type { Site } from "./site.ts";

/** A run of at most so many bytes is read at once, and kept as long as it is open. */
export const WHOLE_BYTES_MAX: number = 64 * 1024;
/** Whoever passes once through a whole run reads so much at a time. */
const CHUNK_BYTES = { process: 4 * 1024 * 1024, isolated: 1024 * 1024 } as const;
/** Chunks kept of a run that is passed through: an entry's value may lie in the one before. */
const CHUNKS_MAX = 2;

export interface RunObjectOptions {
  readonly site: Site;
  /** Asked whether a run that is gone is still named. */
  readonly rootObject: RootObject;
  /** Told when it is not: what was read here is not what everybody goes on with. */
  readonly gone: () => void;
  /** True for whoever reads all of it, once and in order. */
  readonly isPassed?: boolean;
  /** The run, if it was made here: what opening it needs is not read again. */
  readonly made?: Uint8Array;
}

/**
 * A run in an object store. Everything is read when it is asked for, and never twice at once. A run that nobody needs any more may be deleted while it is
 * open: reading it is `SnapshotExpired` then.
 */
export function runObject(run: RootRun, options: RunObjectOptions): StoredRun {
  const reader = new RunReader(run, options);
  const { site, isPassed = false, made } = options;
  const isWhole = run.size <= WHOLE_BYTES_MAX;
  const known = made && { from: isWhole ? 0 : run.footerPlace, bytes: made.slice(isWhole ? 0 : run.footerPlace) };
  const { isolated } = reader.environment;
  const source = new ArrivingBytes((place, length) => reader.load({ from: place, length }), { isolated });
  const bytes =
    isWhole || isPassed
      ? chunks(reader, source, { whole: isWhole ? run.size : undefined, known })
      : arriving(source, known);
  const openFrom = isWhole ? 0 : run.footerPlace;
  const stored: StoredRun = {
    id: `${site.name}/${reader.key}`,
    length: run.size,
    openFrom,
    covers: { from: run.from * SLOT_VERSIONS, to: (run.to + 1) * SLOT_VERSIONS },
    isInMemory: isWhole,
    read: (place, length) => bytes.read(place, length),
    readAnew: () => bytes.forget(),
    close: () => undefined,
  };
  ahead.set(stored, () => source.expect(openFrom, run.size - openFrom));
  return stored;
}

/** How the beginning of what opening a run reads is asked for. */
const ahead = new WeakMap<StoredRun, () => void>();

/** Bytes of a run, from a place on. */
interface Part {
  readonly from: number;
  readonly bytes: Uint8Array;
}

/** Bytes of which some may be kept. */
interface KeptBytes extends BytesAt {
  /** Keeps nothing of what was read so far. */
  forget(): void;
}

/** `known`: read once, and then let go. */
function arriving(source: BytesAt, known: Part | undefined): KeptBytes {
  let first = known;
  return {
    read: (place, length) => {
      const part = first;
      if (part === undefined || place !== part.from || length !== part.bytes.length) return source.read(place, length);
      first = undefined;
      return part.bytes;
    },
    forget: () => void (first = undefined),
  };
}

/** Asks for the beginning of what opening a run reads: for whoever is about to open it. */
export function prefetch(run: StoredRun): void {
  ahead.get(run)?.();
}

/** The batch ids behind a run, of its newest slots, oldest first. Throws as reading the run does. */
export async function readBatchIds(run: RootRun, options: RunObjectOptions): Promise<readonly Uint8Array[]> {
  if (run.batchIds === 0) return [];
  const reader = new RunReader(run, options);
  const bytes = await reader.load({ from: run.size, length: batchIdsBytes(run.batchIds) });
  return decodeBatchIds(bytes, run.batchIds, options.site.environment.crc32, reader.name);
}

/** Reads large parts, and keeps those read last. `whole`: the run's length, if all of it is one part. */
function chunks(
  reader: RunReader,
  source: BytesAt,
  { whole, known }: { readonly whole: number | undefined; readonly known: Part | undefined },
): KeptBytes {
  const { isolated = false } = reader.environment;
  const size = whole ?? (isolated ? CHUNK_BYTES.isolated : CHUNK_BYTES.process);
  const kept: Part[] = known === undefined ? [] : [known];
  const chunkAt = (place: number, least: number): Part => {
    const end = Math.min(reader.size, place + least);
    const found = kept.find(({ from, bytes }) => from <= place && from + bytes.length >= end);
    if (found !== undefined) return found;
    const from = whole === undefined ? place : 0;
    const chunk = { from, bytes: source.read(from, Math.min(Math.max(size, least), reader.size - from)) };
    kept.unshift(chunk);
    kept.length = Math.min(kept.length, CHUNKS_MAX);
    return chunk;
  };
  return {
    read: (place, length) => {
      const { from, bytes } = chunkAt(place, length);
      return bytes.subarray(place - from, Math.min(bytes.length, place - from + length));
    },
    forget: () => void kept.splice(0),
  };
}

/** Requests for one run. */
class RunReader {
  readonly key: string;
  readonly size: number;
  readonly #options: RunObjectOptions;

  constructor(run: RootRun, options: RunObjectOptions) {
    this.key = runKey(options.site.nonce, run);
    this.size = run.size;
    this.#options = options;
  }

  get environment(): Site["environment"] {
    return this.#options.site.environment;
  }

  /** For messages. */
  get name(): string {
    return `${this.key} of ${this.#options.site.name}`;
  }

  /** Exactly these bytes. */
  async load(range: ByteRange): Promise<Uint8Array> {
    const { store } = this.#options.site;
    for (let isLast = false; ; isLast = true) {
      const answer = await store.get(this.key, range);
      if (answer.status === "found") {
        if (answer.bytes.length === range.length) return answer.bytes;
        if (answer.size < range.from + range.length) throw this.#damaged(`only ${answer.size} bytes of it are there`);
        // Half of an answer may arrive once.
        if (isLast) throw new KVError("InputOutput", `Only a part of what was asked for of ${this.name} arrives`);
      } else if (answer.status === "absent") {
        throw await this.#missing();
      } else if (answer.status === "beyond") {
        throw this.#damaged("it is shorter than the root says");
      } else {
        throw answer.error;
      }
    }
  }

  async #missing(): Promise<KVError> {
    const { site, rootObject, gone } = this.#options;
    const answer = await rootObject.read();
    if (answer.status === "failed") return answer.error;
    if (answer.status === "found" && answer.root.nonce === site.nonce) {
      const isNamed = answer.root.runs.some((each) => runKey(site.nonce, each) === this.key);
      if (isNamed) return this.#damaged("it is not there");
    }
    gone();
    return new KVError("SnapshotExpired", `${this.name} is not kept any more: there is a newer state`);
  }

  #damaged(why: string): KVError {
    return new KVError("LedgerDamaged", `${this.name} is damaged: ${why}`);
  }
}
