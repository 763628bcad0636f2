import { crc32 } from "node:zlib";

/**
 * A plain reader of ledger files, written from the format's description and sharing nothing with the code under test: it takes a whole file,
 * slowly and simply, and says what every replica must have made of it.
 */

export type Scalar = number | bigint;

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

const MARKER = Buffer.from("fc666f6c696f6b76", "hex");
const BIGINT_LIMIT = 1n << 2048n;

interface Frame {
  readonly at: number;
  readonly kind: number;
  readonly writer: string;
  readonly counter: number;
  readonly timestamp: number;
  readonly payload: Buffer;
}

type Operation =
  | { readonly kind: "check"; readonly key: string; readonly version: number }
  | { readonly kind: "set"; readonly key: string; readonly expireIn: number; readonly value: Buffer }
  | { readonly kind: "delete"; readonly key: string }
  | { readonly kind: "sum" | "min" | "max"; readonly key: string; readonly expireIn: number; readonly value: Buffer };

export class Model {
  readonly commits: ModelCommit[] = [];
  readonly byVersion = new Map<number, ModelCommit>();
  /** Every state that a key was ever in, oldest first. */
  readonly #history = new Map<string, ModelRow[]>();
  /** Pieces that hold no frame and have something behind them. */
  stumps = 0;
  /** Pieces that the file's own damage, or a mistake, has made. */
  readonly bad: string[] = [];

  constructor(file: Uint8Array) {
    const bytes = Buffer.from(file);
    let begun = false;
    for (let at = 0; at < bytes.length;) {
      const frame = frameAt(bytes, at);
      if (frame === undefined) {
        at = this.#piece(bytes, at, begun);
        continue;
      }
      if (frame.kind === 1) begun = true;
      else if (!begun) this.bad.push(`a frame at ${at} before any header`);
      else if (frame.kind === 2) this.#commit(frame);
      else this.bad.push(`a frame of kind ${frame.kind} at ${at}`);
      at += 48 + frame.payload.length + 5;
    }
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

  /** Takes a piece without a frame into account, and returns where it ends. */
  #piece(bytes: Buffer, at: number, begun: boolean): number {
    const marker = bytes.indexOf(MARKER, at + 1);
    let end = marker < 0 ? bytes.length : marker;
    // Too little to tell: for all that anybody knows, it is still being written.
    if (marker < 0 && end - at < 48) return end;
    while (!isStump(bytes, at, end)) {
      const cut = [1, 2, 3, 4, 5, 6, 7].find((count) =>
        bytes.subarray(Math.max(at + 1, end - count), end).equals(MARKER.subarray(0, count)),
      );
      if (cut === undefined) {
        this.bad.push(`${end - at} bytes at ${at} that are no stump`);
        return end;
      }
      end -= cut;
    }
    // So may the last one.
    if (begun && end < bytes.length) this.stumps++;
    return end;
  }

  #commit(frame: Frame): void {
    const operations = decodePayload(frame.payload);
    const changes = new Map<string, ModelRow>();
    const verdict = this.#resolve(frame, operations, changes);
    const tokens = [
      ...new Set(operations.flatMap((operation) => (operation.kind === "set" ? tokenOf(operation.value) : []))),
    ];
    const commit: ModelCommit = {
      version: frame.at,
      writer: frame.writer,
      counter: frame.counter,
      timestamp: frame.timestamp,
      verdict,
      changes: verdict === "applied" ? changes : new Map(),
      tokens,
    };
    this.commits.push(commit);
    this.byVersion.set(commit.version, commit);
    for (const [key, row] of commit.changes) {
      const rows = this.#history.get(key);
      if (rows === undefined) this.#history.set(key, [row]);
      else rows.push(row);
    }
  }

  #resolve(frame: Frame, operations: readonly Operation[], changes: Map<string, ModelRow>): ModelCommit["verdict"] {
    const { at: version, timestamp } = frame;
    for (const operation of operations) {
      if (operation.kind !== "check") continue;
      if ((this.liveAt(operation.key, version, timestamp)?.version ?? 0) !== operation.version) return "conflict";
    }
    let order = -1;
    for (const operation of operations) {
      if (operation.kind === "check") continue;
      order++;
      const { key } = operation;
      const base = changes.get(key) ?? this.at(key, version);
      let expiresAt = "expireIn" in operation && operation.expireIn !== 0 ? timestamp + operation.expireIn : 0;
      let value: ModelRow["value"];
      if (operation.kind === "set") {
        value = scalar(operation.value) ?? operation.value.toString("hex");
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

function combine(kind: "sum" | "min" | "max", base: Scalar | string, operand: Scalar): Scalar | undefined {
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

function isStump(bytes: Buffer, at: number, end: number): boolean {
  const content = trimZeros(bytes.subarray(at, end));
  const declared = declaredLength(bytes, at, end);
  if (declared !== undefined) return end - at < declared;
  const agrees = content.subarray(0, 8).equals(MARKER.subarray(0, Math.min(8, content.length)));
  return content.length > 0 && content.length < 48 && agrees;
}

// --- frames ----------------------------------------------------------------------------------------------------------

function unmasked(bytes: Buffer, at: number, from: number, to: number): Buffer {
  const mask = bytes.subarray(at + 8, at + 12);
  const plain = Buffer.from(bytes.subarray(at + from, at + to));
  for (let i = 0; i < plain.length; i++) plain[i] ^= mask[(from + i) % 4];
  return plain;
}

function headerAt(bytes: Buffer, at: number): Buffer | undefined {
  if (bytes.length - at < 48 || !bytes.subarray(at, at + 8).equals(MARKER) || bytes[at + 47] !== 0xa5) return undefined;
  const fields = unmasked(bytes, at, 12, 47);
  return crc32(fields.subarray(0, 31)) === fields.readUInt32LE(31) ? fields : undefined;
}

function declaredLength(bytes: Buffer, at: number, end: number): number | undefined {
  const fields = headerAt(bytes.subarray(0, end), at);
  return fields === undefined ? undefined : 48 + fields.readUInt32LE(1) + 5;
}

function frameAt(bytes: Buffer, at: number): Frame | undefined {
  const fields = headerAt(bytes, at);
  if (fields === undefined) return undefined;
  const length = fields.readUInt32LE(1);
  const end = 48 + length + 5;
  if (at + end > bytes.length || bytes[at + end - 1] !== 0x5a) return undefined;
  const rest = unmasked(bytes, at, 48, end - 1);
  const checksum = crc32(rest.subarray(0, length), crc32(Buffer.concat([fields, Buffer.of(0xa5)])));
  if (checksum !== rest.readUInt32LE(length)) return undefined;
  return {
    at,
    kind: fields[0],
    writer: fields.subarray(5, 17).toString("hex"),
    counter: fields.readUIntLE(17, 6),
    timestamp: fields.readDoubleLE(23),
    payload: rest.subarray(0, length),
  };
}

/** True if a whole header stands anywhere in a file. */
export function holdsHeader(file: Uint8Array): boolean {
  const bytes = Buffer.from(file);
  for (let at = bytes.indexOf(MARKER); at >= 0; at = bytes.indexOf(MARKER, at + 1)) {
    if (frameAt(bytes, at)?.kind === 1) return true;
  }
  return false;
}

/** A whole frame, for who writes without the code under test. Only for payloads that hold no marker. */
export function encodeFrame(writer: Uint8Array, counter: number, timestamp: number, payload: Uint8Array): Uint8Array {
  const frame = Buffer.alloc(48 + payload.length + 5);
  MARKER.copy(frame);
  frame[12] = 2;
  frame.writeUInt32LE(payload.length, 13);
  frame.set(writer, 17);
  frame.writeUIntLE(counter, 29, 6);
  frame.writeDoubleLE(timestamp, 35);
  frame.writeUInt32LE(crc32(frame.subarray(12, 43)), 43);
  frame[47] = 0xa5;
  frame.set(payload, 48);
  frame.writeUInt32LE(crc32(frame.subarray(12, 48 + payload.length)), 48 + payload.length);
  frame[frame.length - 1] = 0x5a;
  return frame;
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

function trimZeros(bytes: Buffer): Buffer {
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end--;
  return bytes.subarray(0, end);
}

// --- payloads --------------------------------------------------------------------------------------------------------

function decodePayload(payload: Buffer): Operation[] {
  const operations: Operation[] = [];
  let at = 0;
  const take = (length: number): Buffer => payload.subarray(at, (at += length));
  const number = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = payload[at++];
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  while (at < payload.length) {
    const item = payload[at++];
    const kind = (["", "check", "set", "delete", "sum", "min", "max"] as const)[item & 15];
    if (kind === "" || kind === undefined) throw new Error(`an item of kind ${item}`);
    const key = take(number()).toString("latin1");
    if (kind === "check") operations.push({ kind, key, version: number() });
    else if (kind === "delete") operations.push({ kind, key });
    else {
      const expireIn = (item & 16) === 0 ? 0 : take(8).readDoubleLE();
      const length = number();
      if (kind === "set") take(4);
      operations.push({ kind, key, expireIn, value: take(length) });
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
