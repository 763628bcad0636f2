import type { Environment } from "../../core/environment.ts";
import { KVError } from "../../core/errors.ts";
import type { CommitRecord } from "../../core/ledger.ts";
import { fromSystem } from "./errors.ts";
import type { FileHandle } from "./file.ts";
import { frameBytes, PAYLOAD_BYTES_MAX, writeFrames } from "./frame.ts";

/** A batch buffer that grew beyond this is let go afterwards. */
const BUFFER_KEPT_BYTES = 1024 * 1024;
const BUFFER_BYTES = 4096;

/** What came of the attempt to write a batch. After any trouble, reading on decides what is in. */
export interface WrittenBatch {
  /** All frames, valid until the next batch is written. */
  readonly bytes: Uint8Array;
  /** Where each commit's frame begins in `bytes`. */
  readonly starts: readonly number[];
  /** The file afterwards; `undefined` if the system would not tell. */
  readonly status: { readonly size: number; readonly links: number } | undefined;
  readonly failure: KVError | undefined;
}

/** Writes batches of commits at the end of a file: all frames in one buffer, one write, one fstat. */
export class BatchWriter {
  readonly #path: string;
  readonly #crc32: Environment["crc32"];
  #buffer = new Uint8Array(BUFFER_BYTES);
  readonly counts = { writes: 0, bytesWritten: 0 };

  /** `path` is for messages. */
  constructor(path: string, crc32: Environment["crc32"]) {
    this.#path = path;
    this.#crc32 = crc32;
  }

  /** @throws KVError `CommitTooLarge`, with nothing written. */
  write(file: FileHandle, commits: readonly CommitRecord[]): WrittenBatch {
    const length = this.#makeRoom(commits);
    const bytes = this.#buffer.subarray(0, length);
    const starts = writeFrames(bytes, commits, this.#crc32);
    let failure: KVError | undefined;
    try {
      this.counts.writes++;
      const count = file.append(bytes);
      this.counts.bytesWritten += count;
      if (count < bytes.length) {
        const message = `${this.#path} took ${count} of ${bytes.length} bytes: there is no room`;
        failure = new KVError("NoSpace", message, { outcome: "not committed" });
      }
    } catch (error) {
      failure = fromSystem(error, `${this.#path} cannot be written`, "not committed");
    }
    if (this.#buffer.length > BUFFER_KEPT_BYTES) this.#buffer = new Uint8Array(BUFFER_BYTES);
    return { bytes, starts, status: statusAfterWrite(file), failure };
  }

  /** Bytes of the frames of all commits. The buffer has room for them then. */
  #makeRoom(commits: readonly CommitRecord[]): number {
    let length = 0;
    for (const { payload } of commits) {
      if (payload.length > PAYLOAD_BYTES_MAX) {
        throw new KVError("CommitTooLarge", `A commit of ${payload.length} bytes does not fit into a frame`, {
          outcome: "not committed",
        });
      }
      length += frameBytes(payload.length);
    }
    if (length > this.#buffer.length) this.#buffer = new Uint8Array(Math.max(length, 2 * this.#buffer.length));
    return length;
  }
}

function statusAfterWrite(file: FileHandle): WrittenBatch["status"] {
  try {
    return file.status();
  } catch {
    // Reading on finds out what there is to know.
    return undefined;
  }
}
