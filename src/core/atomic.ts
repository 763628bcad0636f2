import type { CommitBuilder } from "./commit-builder.ts";
import { type CombineKind, ItemKind } from "./commit.ts";
import { InvalidArgumentError } from "./errors.ts";
import { encodeKey, type Key } from "./key.ts";
import { parseOptions, type SetOptions } from "./options.ts";
import { show } from "./show.ts";

/** A condition of an atomic commit. An entry that was read can be passed as it is. */
export interface VersionCheck {
  readonly key: Key;
  /** The version that the entry must have; `null`: there must be none. `undefined` is refused. */
  readonly version: number | null | undefined;
}

/** What became of an atomic commit: its version, or that a check failed and nothing was done. */
export type AtomicResult =
  { readonly ok: true; readonly version: number } | { readonly ok: false; readonly version?: undefined };

/**
 * Gathers conditions and operations and commits them as one, all or none. Operations are encoded when they are called: changing a value
 * afterwards changes nothing. Each can be committed once.
 */
export class Atomic {
  readonly #builder: CommitBuilder;
  readonly #commit: (builder: CommitBuilder) => Promise<AtomicResult>;

  /** Made by `db.atomic()`. */
  constructor(builder: CommitBuilder, commit: (builder: CommitBuilder) => Promise<AtomicResult>) {
    this.#builder = builder;
    this.#commit = commit;
  }

  /** Commits only if each of these entries still has the version given. Looks at the state before the commit. */
  check(...checks: readonly VersionCheck[]): this {
    // What was found absent is given as null.
    for (const given of checks as readonly (VersionCheck | null)[]) {
      const version = given?.version;
      if (version !== null && !(typeof version === "number" && Number.isSafeInteger(version) && version >= 1)) {
        throw new InvalidArgumentError(
          "InvalidArgument",
          `check takes an entry, or { key, version } with null for absent; received ${show(version ?? given)}`,
        );
      }
      this.#builder.check({ key: encodeKey((given as VersionCheck).key), version: version ?? 0 });
    }
    return this;
  }

  /** Writes a value. A plain `set` clears an expiry that the entry had. */
  set<T = unknown>(key: Key, value: T, options?: SetOptions): this {
    const { expireIn } = parseOptions("set", "set", options);
    this.#builder.set(encodeKey(key), value, expireIn);
    return this;
  }

  /** Deletes a key, whether there is something under it or not. */
  delete(key: Key): this {
    this.#builder.delete(encodeKey(key));
    return this;
  }

  /**
   * Adds `operand` to what is stored; absent counts as the operand alone. Numbers with numbers, bigints with bigints. An entry that is there keeps its
   * expiry; `expireIn` is for one that is not.
   */
  sum(key: Key, operand: number | bigint, options?: SetOptions): this {
    return this.#combine(ItemKind.sum, "sum", key, operand, options);
  }

  /** Keeps the smaller of `operand` and what is stored. Otherwise as `sum`. */
  min(key: Key, operand: number | bigint, options?: SetOptions): this {
    return this.#combine(ItemKind.min, "min", key, operand, options);
  }

  /** Keeps the larger of `operand` and what is stored. Otherwise as `sum`. */
  max(key: Key, operand: number | bigint, options?: SetOptions): this {
    return this.#combine(ItemKind.max, "max", key, operand, options);
  }

  /**
   * `{ ok: false }` if a check failed: nothing was done, for anybody. Rejects with `TypeMismatch` if an operand does not fit what is
   * stored: nothing was done either.
   */
  commit(): Promise<AtomicResult> {
    try {
      return this.#commit(this.#builder);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #combine(kind: CombineKind, name: string, key: Key, operand: number | bigint, options: SetOptions | undefined): this {
    const { expireIn } = parseOptions("set", name, options);
    this.#builder.combine(kind, encodeKey(key), checkOperand(name, operand), expireIn);
    return this;
  }
}

export function checkOperand(name: string, operand: unknown): number | bigint {
  if (typeof operand === "bigint" || (typeof operand === "number" && !Number.isNaN(operand))) return operand;
  throw new InvalidArgumentError(
    "InvalidArgument",
    `${name}: the operand is a bigint, or a number other than NaN; received ${show(operand)}`,
  );
}
