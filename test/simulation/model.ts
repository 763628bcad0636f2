import { crc32 } from "node:zlib";
import type { LedgerFile } from "./ledger-file.ts";

/**
 * What every replica must make of a ledger's files: all that ever happened, through all generations. Like the reader of the files it shares
 * nothing with the code under test.
 */

export type Scalar = number | bigint;

/** One commit as it lies in a ledger. */
export interface StoredCommit {
  /** Its version. */
  readonly address: number;
  readonly writer: string;
  readonly counter: number;
  readonly timestamp: number;
  readonly payload: Buffer;
}

const BIGINT_LIMIT = 1n << 2048n;

/** What a key holds after a commit. */
export interface ModelRow {
  readonly version: number;
  readonly order: number;
  readonly timestamp: number;
  readonly expiresAt: number;
  /** Undefined: deleted. Numbers and bigints as such, everything else as the hex of its CBOR. */
  readonly value: Scalar | string | undefined;
}

export interface ModelCommit {
  readonly version: number;
  readonly writer: string;
  readonly counter: number;
  readonly timestamp: number;
  readonly verdict: "applied" | "conflict" | "mismatch";
  /** What changed, one row a key, in the order of the last operations. Keys are encoded ones, one character a byte. */
  readonly changes: ReadonlyMap<string, ModelRow>;
  /** Names that the workload has put into its values. */
  readonly tokens: readonly string[];
}

type Operation =
  | { readonly kind: "check"; readonly key: string; readonly version: number }
  | {
      readonly kind: "set";
      readonly key: string;
      readonly expireIn: number;
      readonly expiresAt: number;
      readonly value: Buffer;
    }
  | { readonly kind: "delete"; readonly key: string }
  | { readonly kind: "purge"; readonly afterMs: number; readonly entries: readonly { key: string; version: number }[] }
  | { readonly kind: "sum" | "min" | "max"; readonly key: string; readonly expireIn: number; readonly value: Buffer };

/** What a key holds in a state and not in an earlier one; nothing if it was deleted. */
export interface Difference {
  readonly key: string;
  readonly row: ModelRow | undefined;
}

export class Model {
  readonly commits: ModelCommit[] = [];
  readonly byVersion = new Map<number, ModelCommit>();
  readonly #versions = new Map<string, number>();
  /** Every state that a key was ever in, oldest first. */
  readonly #history = new Map<string, ModelRow[]>();
  /** What whoever opens the last file finds in it that is no frame. */
  stumps = 0;
  lostBytes = 0;
  damage = 0;
  /** Where each generation's snapshot ends: the versions that history may begin at. */
  readonly bases: number[] = [];
  /** The last file is sealed, and the next one not in its place. */
  readonly isSealed: boolean;
  /** What must not be in any of the files. */
  readonly bad: string[] = [];
  /** By nonce: the address at which a generation ends. */
  readonly #ends = new Map<string, number>();
  /** Commits are in the ledger as what they came to: void ones are not there at all. */
  readonly authorsResolve: boolean = false;

  /** `files`: the generations of one ledger, the first one first. The last one is what the path leads to. */
  constructor(files: readonly LedgerFile[]) {
    files.forEach((file, i) => {
      const next = files[i + 1];
      this.#file(file, next?.header?.base ?? Infinity);
      this.bad.push(...file.bad);
      if (next !== undefined) this.bad.push(...breaksBetween(file, next));
    });
    // Nobody has created it yet.
    if (this.bases.length === 0) this.bases.push(0);
    const last = files.at(-1);
    this.isSealed = last?.sealedAt !== undefined;
    for (const piece of last?.pieces ?? []) {
      if (piece.verdict === "stump") this.stumps++;
      else if (piece.verdict === "lost") this.lostBytes += piece.to - piece.from;
      else this.damage++;
    }
  }

  /** What a generation adds: the frames below the place from which on the next one has copies of its own. */
  #file({ header, frames, sealedAt }: LedgerFile, until: number): void {
    if (header === undefined) return;
    this.#ends.set(header.nonce, sealedAt ?? Infinity);
    this.bases.push(header.generation === 1 ? 0 : header.base);
    for (const frame of frames) if (frame.kind === 2 && frame.address < until) this.add(frame);
  }

  /** What lies below is in this generation's file, or in an earlier one's. */
  endOf(nonce: string): number {
    return this.#ends.get(nonce) ?? -Infinity;
  }

  /** Of the commit that has written this token and took effect. */
  versionOf(token: string): number | undefined {
    return this.#versions.get(token);
  }

  get lastVersion(): number {
    return this.commits.at(-1)?.version ?? 0;
  }

  /** Versions from `from` on, up to `to`, with `from` itself. */
  versionsBetween(from: number, to: number): number[] {
    return [from, ...this.commits.map((commit) => commit.version).filter((version) => version > from && version <= to)];
  }

  get keys(): string[] {
    return [...this.#history.keys()].sort();
  }

  /** What `key` held at `version`, whatever the time. */
  at(key: string, version: number): ModelRow | undefined {
    const row = this.#history.get(key)?.findLast((each) => each.version <= version);
    return row?.value === undefined ? undefined : row;
  }

  /** The same for somebody whose clock shows `now`. */
  liveAt(key: string, version: number, now: number): ModelRow | undefined {
    const row = this.at(key, version);
    return row !== undefined && row.expiresAt !== 0 && row.expiresAt <= now ? undefined : row;
  }

  /** What differs between two versions, in key order, whatever the time. */
  differences(from: number, to: number): Difference[] {
    return this.keys.flatMap((key) => {
      const row = this.at(key, to);
      return row?.version === this.at(key, from)?.version ? [] : [{ key, row }];
    });
  }

  /** The next commit. */
  protected add(frame: StoredCommit): void {
    const operations = decodePayload(frame.payload);
    const changes = new Map<string, ModelRow>();
    const verdict = this.#resolve(frame, operations, changes);
    const tokens = [
      ...new Set(operations.flatMap((operation) => (operation.kind === "set" ? tokenOf(operation.value) : []))),
    ];
    const commit: ModelCommit = {
      version: frame.address,
      writer: frame.writer,
      counter: frame.counter,
      timestamp: frame.timestamp,
      verdict,
      changes: verdict === "applied" ? changes : new Map(),
      tokens,
    };
    this.commits.push(commit);
    this.byVersion.set(commit.version, commit);
    if (verdict === "applied") for (const token of tokens) this.#versions.set(token, commit.version);
    for (const [key, row] of commit.changes) {
      const rows = this.#history.get(key);
      if (rows === undefined) this.#history.set(key, [row]);
      else rows.push(row);
    }
  }

  #resolve(
    frame: StoredCommit,
    operations: readonly Operation[],
    changes: Map<string, ModelRow>,
  ): ModelCommit["verdict"] {
    const { address: version, timestamp } = frame;
    for (const operation of operations) {
      if (operation.kind !== "check") continue;
      if ((this.liveAt(operation.key, version, timestamp)?.version ?? 0) !== operation.version) return "conflict";
    }
    let order = -1;
    for (const operation of operations) {
      if (operation.kind === "check") continue;
      order++;
      if (operation.kind === "purge") {
        for (const { key, version: listed } of operation.entries) {
          const row = changes.get(key) ?? this.at(key, version);
          if (row?.value === undefined || row.version !== listed || row.expiresAt === 0) continue;
          if (row.expiresAt + operation.afterMs >= timestamp) continue;
          changes.delete(key);
          changes.set(key, { version, order, timestamp, expiresAt: 0, value: undefined });
        }
        continue;
      }
      const { key } = operation;
      const base = changes.get(key) ?? this.at(key, version);
      let expiresAt = "expireIn" in operation && operation.expireIn !== 0 ? timestamp + operation.expireIn : 0;
      let value: ModelRow["value"];
      if (operation.kind === "set") {
        value = scalar(operation.value) ?? operation.value.toString("hex");
        if (operation.expiresAt !== 0) ({ expiresAt } = operation);
      } else if (operation.kind !== "delete") {
        const operand = scalar(operation.value);
        if (operand === undefined) throw new Error(`an operand that is no number at ${version}`);
        value = operand;
        if (base?.value !== undefined && !(base.expiresAt !== 0 && base.expiresAt <= timestamp)) {
          value = combine(operation.kind, base.value, operand);
          expiresAt = base.expiresAt;
        }
        if (value === undefined || Number.isNaN(value)) return "mismatch";
        if (typeof value === "bigint" && (value >= BIGINT_LIMIT || value <= -BIGINT_LIMIT)) return "mismatch";
        if (value === 0) value = 0;
      }
      changes.delete(key);
      changes.set(key, { version, order, timestamp, expiresAt, value });
    }
    return "applied";
  }
}

/** What a sum, min or max comes to; undefined if the operand does not fit. */
export function combine(kind: "sum" | "min" | "max", base: Scalar | string, operand: Scalar): Scalar | undefined {
  if (typeof base === "number" && typeof operand === "number") {
    if (kind === "sum") return base + operand;
    if (Number.isNaN(base)) return undefined;
    return (kind === "min") === base < operand ? base : operand;
  }
  if (typeof base === "bigint" && typeof operand === "bigint") {
    if (kind === "sum") return base + operand;
    return (kind === "min") === base < operand ? base : operand;
  }
  return undefined;
}

/** What is wrong between a generation and the one that has taken its place. */
function breaksBetween(file: LedgerFile, next: LedgerFile): string[] {
  const { header, seal, sealedAt } = file;
  if (header === undefined || next.header === undefined) return ["a generation without a header"];
  const name = `generation ${next.header.generation}`;
  if (seal === undefined || sealedAt === undefined || seal.siblingNonce !== next.header.nonce)
    return [`${name} took the place of one that was not sealed for it`];
  if (next.header.generation !== header.generation + 1 || next.header.ledgerId !== header.ledgerId)
    return [`${name} follows generation ${header.generation}`];
  const sealed = file.bytes.subarray(seal.base - file.delta, sealedAt - file.delta);
  const copies = next.bytes.subarray(seal.base - next.delta, sealedAt - next.delta);
  return sealed.equals(copies) ? [] : [`${name} does not begin with what its predecessor was sealed with`];
}

/** A payload that sets one key. */
export function encodeSet(key: string, value: Uint8Array): Uint8Array {
  const checksum = Buffer.alloc(4);
  checksum.writeUInt32LE(crc32(value));
  const keyBytes = Buffer.from(key, "latin1");
  return Buffer.concat([Buffer.of(2), varint(keyBytes.length), keyBytes, varint(value.length), checksum, value]);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  return Buffer.from([...bytes, rest]);
}

// --- payloads --------------------------------------------------------------------------------------------------------

function decodePayload(payload: Buffer): Operation[] {
  const operations: Operation[] = [];
  let at = 0;
  const take = (length: number): Buffer => payload.subarray(at, (at += length));
  const number = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      if (at >= payload.length) throw new Error(`a payload of ${payload.length} bytes ends in the middle of an item`);
      const byte = payload[at++];
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  while (at < payload.length) {
    const item = payload[at++];
    const kind = (["", "check", "set", "delete", "sum", "min", "max", "purge"] as const)[item & 15];
    if (kind === "" || kind === undefined) throw new Error(`an item of kind ${item}`);
    if (kind === "purge") {
      const afterMs = take(8).readDoubleLE();
      const entries: { key: string; version: number }[] = [];
      for (let count = number(); count > 0; count--)
        entries.push({ key: take(number()).toString("latin1"), version: number() });
      operations.push({ kind, afterMs, entries });
      continue;
    }
    const key = take(number()).toString("latin1");
    if (kind === "check") operations.push({ kind, key, version: number() });
    else if (kind === "delete") operations.push({ kind, key });
    else {
      const expireIn = (item & 16) === 0 ? 0 : take(8).readDoubleLE();
      const expiresAt = (item & 32) === 0 ? 0 : take(8).readDoubleLE();
      const length = number();
      if (kind === "set") take(4);
      operations.push({ kind, key, expireIn, expiresAt, value: take(length) });
    }
  }
  return operations;
}

/** The number or bigint that some CBOR stands for, as far as this library writes them. */
function scalar(cbor: Buffer): Scalar | undefined {
  // Eight-byte integers are bigints, larger numbers are floats.
  if (cbor[0] === 0x1b) return cbor.readBigUInt64BE(1);
  if (cbor[0] === 0x3b) return -1n - cbor.readBigUInt64BE(1);
  const major = cbor[0] >> 5;
  if (major === 0) return argument(cbor);
  if (major === 1) return -1 - argument(cbor);
  if (cbor[0] === 0xfb) return cbor.readDoubleBE(1);
  if (cbor[0] !== 0xc2 && cbor[0] !== 0xc3) return undefined;
  const head = cbor[1] & 31;
  const digits = cbor.subarray(head < 24 ? 2 : head === 24 ? 3 : 4).toString("hex");
  const magnitude = digits === "" ? 0n : BigInt(`0x${digits}`);
  return cbor[0] === 0xc2 ? magnitude : -1n - magnitude;
}

function argument(cbor: Buffer): number {
  const low = cbor[0] & 31;
  return low < 24 ? low : low === 24 ? cbor[1] : low === 25 ? cbor.readUInt16BE(1) : cbor.readUInt32BE(1);
}

/** The workload's values are maps whose first entry is `t`, a short text. */
function tokenOf(cbor: Buffer): string[] {
  for (let at = 1; at <= 3; at += 1) {
    if (cbor[at] !== 0x61 || cbor[at + 1] !== 0x74) continue;
    const head = cbor[at + 2];
    if (cbor[0] >> 5 !== 5 || head >> 5 !== 3) return [];
    const length = head & 31;
    return length < 24 ? [cbor.toString("latin1", at + 3, at + 3 + length)] : [];
  }
  return [];
}
