import { ByteWriter } from "./bytes.ts";
import { CommitBuilder } from "./commit-builder.ts";
import type { Verdict } from "./commit-queue.ts";
import { ItemKind, NO_CHECKS, type Operation, writeDelete, writeSet } from "./commit.ts";
import type { Engine } from "./engine.ts";
import type { Environment } from "./environment.ts";
import type { EncodedKey } from "./key.ts";
import { typeMismatch } from "./staged.ts";
import { encodeValue } from "./value.ts";

/** What a write resolves to. */
export interface CommitResult {
  /** The version of the commit; `undefined` for a write that an open transaction has only staged. */
  readonly version: number | undefined;
}

/** What may become of a commit that is not refused. */
export type Outcome = Exclude<Verdict, "mismatch">;

/** So many bytes of pending commits share a buffer. */
const PAYLOADS_BYTES = 32 * 1024;

/** Puts commits of one instance into the queue; the promises tell what has become of them. */
export class CommitSender {
  readonly #environment: Environment;
  readonly #waitUntil: ((promise: Promise<unknown>) => void) | undefined;
  /** For commits of one operation. */
  readonly #writer = new ByteWriter(PAYLOADS_BYTES);

  constructor(environment: Environment, waitUntil: ((promise: Promise<unknown>) => void) | undefined) {
    this.#environment = environment;
    this.#waitUntil = waitUntil;
  }

  set(engine: Engine, key: EncodedKey, value: unknown, expireIn: number): Promise<CommitResult> {
    const writer = this.#writer;
    writer.reset();
    const numeric = typeof value === "number" || typeof value === "bigint" ? value : undefined;
    const operation = writeSet(writer, this.#environment.crc32, key, encodeValue(value), expireIn, numeric);
    return this.#sendOne(engine, operation);
  }

  delete(engine: Engine, key: EncodedKey): Promise<CommitResult> {
    this.#writer.reset();
    return this.#sendOne(engine, writeDelete(this.#writer, key));
  }

  /** The one operation that the writer holds. It has no condition and cannot misfit. */
  #sendOne(engine: Engine, operation: Operation): Promise<CommitResult> {
    const payload = this.#writer.detach();
    return engine.promise((resolve, reject) => {
      const commit = { checks: NO_CHECKS, operations: [operation] };
      const pending = engine.enqueue(payload, commit, (_, version) => resolve({ version }), reject);
      this.#waitUntil?.(engine.whenDone(pending));
    });
  }

  /** `expected`: about how many bytes its operations will have, if that is known. */
  builder(engine: Engine, expected?: number): CommitBuilder {
    return new CommitBuilder(this.#environment, engine.session.payloadBytesMax, expected);
  }

  /** Of a commit that only deletes. */
  deletesBuilder(engine: Engine): CommitBuilder {
    const { payloadBytesMax, deletesBytesMax = payloadBytesMax } = engine.session;
    return new CommitBuilder(this.#environment, deletesBytesMax);
  }

  /** Sends what has no condition. */
  send(engine: Engine, builder: CommitBuilder): Promise<CommitResult> {
    return this.sendChecked(engine, builder, versionOf);
  }

  /** `result` makes what the promise resolves to. */
  sendChecked<T>(engine: Engine, builder: CommitBuilder, result: (outcome: Outcome, version: number) => T): Promise<T> {
    return engine.promise((resolve, reject) => {
      const { payload, commit } = builder.finish();
      const pending = engine.enqueue(
        payload,
        commit,
        (verdict, version) => {
          if (verdict !== "mismatch") return resolve(result(verdict, version));
          const combined = commit.operations.find((o) => o.kind >= ItemKind.sum && o.kind <= ItemKind.max);
          reject(typeMismatch((combined ?? commit.operations[0]).key));
        },
        reject,
      );
      this.#waitUntil?.(engine.whenDone(pending));
    });
  }
}

const versionOf = (_: Outcome, version: number): CommitResult => ({ version });
