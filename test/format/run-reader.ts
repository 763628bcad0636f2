/**
 * A reader of runs, written from docs/FORMAT.md alone, like the one of ledger files beside it. It reads all of a run, and follows its index
 * and its sections the way a lookup would. Slow, and short.
 */
import { crc32 } from "node:zlib";

export interface ReadRunEntry {
  /** Hexadecimal. */
  readonly key: string;
  readonly version: number;
  readonly order: number;
  readonly timestamp: number;
  readonly expiresAt: number | undefined;
  readonly kind: "tombstone" | "value" | "number" | "reference" | "record";
  /** Of a value, number or record; hexadecimal. */
  readonly value?: string;
  /** Of a value that stands without its names: the number of these. */
  readonly shape?: number;
  /** Of a reference. */
  readonly place?: number;
  readonly valueLength?: number;
}

export interface ReadRun {
  readonly entries: ReadRunEntry[];
  readonly tombstones: number;
  readonly base: number;
  readonly upto: number;
  readonly highestVersion: number;
  readonly smallestKey: string;
  readonly largestKey: string;
  readonly extra: string;
  readonly voidVersions: number[];
  /** Whether the sections, as far as there are any, lead to the entry of this key (hexadecimal). */
  readonly lookup: ((key: string) => boolean) | undefined;
  readonly filter: ((key: string) => boolean) | undefined;
}

const KINDS = ["tombstone", "value", "number", "reference", "record", "shaped"] as const;

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

function check(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(`not as docs/FORMAT.md says: ${what}`);
}

/** Reads fields one after the other. */
class Fields {
  readonly bytes: Uint8Array;
  at: number;

  constructor(bytes: Uint8Array, at = 0) {
    this.bytes = bytes;
    this.at = at;
  }

  uint(length: number): number {
    let value = 0;
    for (let i = length - 1; i >= 0; i--) value = value * 256 + this.bytes[this.at + i];
    this.at += length;
    return value;
  }

  varint(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.uint(1);
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  }

  compact(): number {
    const first = this.uint(1);
    if (first < 192) return first;
    if (first < 248) return (first - 192) * 256 + this.uint(1) + 192;
    return this.uint(first - 247);
  }

  double(): number {
    return Buffer.from(this.take(8)).readDoubleLE();
  }

  take(length: number): Uint8Array {
    this.at += length;
    check(this.at <= this.bytes.length, "bytes that are missing");
    return this.bytes.slice(this.at - length, this.at);
  }
}

function unmask(bytes: Uint8Array): Uint8Array {
  return bytes.map((byte, i) => (i < 4 || i === bytes.length - 1 ? byte : byte ^ bytes[i % 4]));
}

/** A whole piece, unmasked. */
function pieceAt(run: Uint8Array, place: number, length: number): Uint8Array {
  const piece = unmask(run.slice(place, place + length));
  check(piece.length === length && piece[length - 1] === 0x5a && piece[4] === 0, "head and end of a piece");
  check(crc32(piece.slice(4, length - 5)) === new Fields(piece, length - 5).uint(4), "checksum of a piece");
  return piece;
}

function contentAt(run: Uint8Array, place: number, length: number): Fields {
  return new Fields(pieceAt(run, place, length).slice(5, length - 5));
}

/** Reads a whole run and checks all that its pieces say of each other. */
export function readRun(given: Uint8Array): ReadRun {
  const run = new Uint8Array(given);
  const tail = run.slice(run.length - 13);
  check(run[0] === 0xa5 && hex(tail.slice(4)) === "666f6c696f72756e5a", "first byte and tail");
  const footerBytes = new Fields(tail).uint(4);
  const footer = contentAt(run, run.length - 13 - footerBytes, footerBytes);
  check(footer.uint(2) === 1, "format");
  const numbers = Array.from({ length: 9 }, () => footer.varint());
  const [count, tombstones, base, upto, highestVersion, blocks, blocksEnd, topPlace, topLength] = numbers;
  const smallestKey = hex(footer.take(footer.varint()));
  const largestKey = hex(footer.take(footer.varint()));
  const extra = hex(footer.take(footer.varint()));
  const sections = new Map<number, Fields>();
  for (let left = footer.varint(); left > 0; left--) {
    const [id, place, length] = [footer.varint(), footer.varint(), footer.varint()];
    if (id <= 4) sections.set(id, contentAt(run, place, length));
  }
  const shapes = shapesOf(sections.get(4));
  const children = leavesOf(run, topPlace, topLength, blocks);
  check(children.length === blocks, "as many blocks as the footer says");
  const places = new Map<string, { readonly block: number; readonly offset: number }>();
  const entries: ReadRunEntry[] = [];
  children.forEach((child, block) => {
    check(child.place + child.length <= blocksEnd, "blocks before their end");
    for (const { offset, entry } of entriesOf(run, child, shapes)) {
      check(entries.length === 0 || entries[entries.length - 1].key < entry.key, "keys that ascend");
      check(child.key <= entry.key, "the key of a block at or below its entries'");
      check(block + 1 === blocks || entry.key < children[block + 1].key, "the key of a block above the entries before");
      places.set(entry.key, { block, offset });
      entries.push(entry);
    }
  });
  check(entries.length === count, "as many entries as the footer says");
  const lookup = sections.get(2);
  const filter = sections.get(1);
  const voids = sections.get(3);
  const voidVersions: number[] = [];
  while (voids !== undefined && voids.at < voids.bytes.length)
    voidVersions.push((voidVersions.at(-1) ?? 0) + voids.varint());
  return {
    entries,
    tombstones,
    base,
    upto,
    highestVersion,
    smallestKey,
    largestKey,
    extra,
    voidVersions,
    lookup: lookup === undefined ? undefined : lookupOf(run, lookup, places),
    filter: filter === undefined ? undefined : filterOf(run, filter),
  };
}

interface Child {
  readonly place: number;
  readonly length: number;
  readonly key: string;
  readonly prefixLength: number;
  readonly plain: boolean;
  readonly highestVersion: number;
  readonly lowestTimestamp: number;
}

function childrenOf(run: Uint8Array, place: number, length: number): { leaf: boolean; children: Child[] } {
  const node = contentAt(run, place, length);
  const leaf = node.uint(1) === 0;
  const count = node.uint(4);
  const prefix = hex(node.take(node.uint(2)));
  const records = Array.from({ length: count }, () => {
    const record = { place: node.uint(7), length: node.uint(4), keyEnd: node.uint(3) };
    const prefixField = leaf ? node.uint(2) : 0;
    const highestVersion = leaf ? node.uint(7) : 0;
    return { ...record, prefixField, highestVersion, lowestTimestamp: leaf ? node.uint(7) : 0 };
  });
  const keys = records.map(({ keyEnd }, i) => prefix + hex(node.take(keyEnd - (i === 0 ? 0 : records[i - 1].keyEnd))));
  check(node.at === node.bytes.length, "the end of a node");
  const children = records.map(({ prefixField, ...rest }, i) => ({
    ...rest,
    key: keys[i],
    prefixLength: prefixField & 0x7fff,
    plain: prefixField >= 0x8000,
  }));
  return { leaf, children };
}

function leavesOf(run: Uint8Array, place: number, length: number, blocks: number): Child[] {
  const top = childrenOf(run, place, length);
  check(top.leaf === blocks <= 1024, "a top that is a leaf up to 1,024 blocks");
  if (top.leaf) return top.children;
  return top.children.flatMap((child, i) => {
    const below = childrenOf(run, child.place, child.length);
    check(below.leaf, "leaves below the top");
    check(below.children[0].key === child.key, "the key of a leaf");
    check(below.children.length === 128 || i === top.children.length - 1, "leaves of 128 blocks");
    return below.children;
  });
}

interface Shape {
  readonly head: Uint8Array;
  /** As they are encoded. */
  readonly names: readonly Uint8Array[];
}

function shapesOf(section: Fields | undefined): Shape[] {
  const shapes: Shape[] = [];
  while (section !== undefined && section.at < section.bytes.length) {
    const shape = new Fields(section.take(section.varint()));
    const head = shape.bytes[0] === 0xb8 ? shape.take(2) : shape.take(1);
    const count = head.length === 2 ? head[1] : head[0] - 0xa0;
    const names = Array.from({ length: count }, () => item(shape));
    const isLong = head.length === 2 || count <= 23;
    check(count >= 1 && isLong && shape.at === shape.bytes.length, "the names of a shape");
    shapes.push({ head, names });
  }
  return shapes;
}

/** An item of CBOR, as it is encoded. */
function item(fields: Fields): Uint8Array {
  const from = fields.at;
  const first = fields.uint(1);
  const low = first & 31;
  const more = low < 24 ? new Uint8Array(0) : fields.take(2 ** (low - 24));
  const argument = low < 24 ? low : more.reduce((value, byte) => value * 256 + byte, 0);
  const major = first >> 5;
  if (major === 2 || major === 3) fields.take(argument);
  if (major === 4 || major === 5) for (let i = 0; i < argument * (major - 3); i++) item(fields);
  if (major === 6) item(fields);
  return fields.bytes.slice(from, fields.at);
}

function* entriesOf(
  run: Uint8Array,
  child: Child,
  shapes: readonly Shape[],
): Generator<{ offset: number; entry: ReadRunEntry }> {
  const piece = pieceAt(run, child.place, child.length);
  check(
    child.plain === run.slice(child.place, child.place + 4).every((byte) => byte === 0),
    "the sign of a plain block",
  );
  const block = new Fields(piece.slice(0, -5), 5);
  const count = block.compact();
  const prefix = block.take(block.compact());
  const highestVersion = block.compact();
  const lowestTimestamp = block.compact();
  check(highestVersion === child.highestVersion && lowestTimestamp === child.lowestTimestamp, "what the index says");
  check(prefix.length === child.prefixLength && child.key.startsWith(hex(prefix)), "the prefix that the index says");
  const ownAt = new Map<number, Uint8Array>();
  for (let i = 0; i < count; i++) {
    const offset = block.at;
    const kindAndFlags = block.uint(1);
    const kind = KINDS[kindAndFlags & 7];
    const lengths = block.uint(1);
    const ownLength = (lengths & 31) === 31 ? block.compact() : lengths & 31;
    let shared = new Uint8Array(0);
    if ((kindAndFlags & 64) !== 0) {
      const other = ownAt.get(offset - block.compact());
      check(other !== undefined, "an entry to share with");
      shared = other.slice(0, block.compact());
    }
    const own = block.take(ownLength);
    if ((kindAndFlags & 64) === 0) ownAt.set(offset, own);
    const key = hex(prefix) + hex(shared) + hex(own) + "00".repeat(lengths >> 5);
    const version = highestVersion - block.compact();
    const order = (kindAndFlags & 16) === 0 ? 0 : block.compact();
    const timestamp = (kindAndFlags & 32) === 0 ? lowestTimestamp + block.compact() : block.double();
    const expiresAt = (kindAndFlags & 8) === 0 ? undefined : block.double();
    const entry = { key, version, order, timestamp, expiresAt };
    const rest = kind === "shaped" ? shapedOf(block, shapes) : { kind, ...contentOf(run, block, kind) };
    check(crc32(piece.slice(offset, block.at)) === block.uint(4), "checksum of an entry");
    yield { offset, entry: { ...entry, ...rest } };
  }
  check(block.at === block.bytes.length, "the end of a block");
}

function shapedOf(block: Fields, shapes: readonly Shape[]): Pick<ReadRunEntry, "kind" | "value" | "shape"> {
  const shape = block.compact();
  check(shape < shapes.length, "the number of a shape");
  const { head, names } = shapes[shape];
  const values = new Fields(block.take(block.compact()));
  const value = hex(head) + names.map((name) => hex(name) + hex(item(values))).join("");
  check(values.at === values.bytes.length, "as many values as names");
  return { kind: "value", value, shape };
}

function contentOf(run: Uint8Array, block: Fields, kind: ReadRunEntry["kind"]): Partial<Omit<ReadRunEntry, "kind">> {
  if (kind === "tombstone") return {};
  if (kind === "value" || kind === "number") return { value: hex(block.take(block.compact())) };
  const place = block.compact();
  const valueLength = block.compact();
  if (kind === "reference") return { place, valueLength };
  const record = unmask(run.slice(place, place + valueLength + 5));
  const value = record.slice(4, -1);
  check(record.at(-1) === 0x5a && crc32(value) === block.uint(4), "checksum of a record");
  return { value: hex(value) };
}

function mix(bits: number): number {
  let hash = bits;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

function hashOf(key: string): number {
  return mix(Buffer.from(key, "hex").reduce((hash, byte) => Math.imul(hash ^ byte, 0x01000193), 0x811c9dc5));
}

function lookupOf(
  run: Uint8Array,
  head: Fields,
  places: ReadonlyMap<string, { readonly block: number; readonly offset: number }>,
): (key: string) => boolean {
  const [pairs, perPage, locationBytes, bits, firstPage, pageLength, pages] = Array.from({ length: 7 }, () =>
    head.varint(),
  );
  const found = new Set<string>();
  const firsts: { readonly first: number; readonly shift: number }[] = [];
  let before = 0;
  for (let page = 0; page < pages; page++) {
    const inPage = page < pages - 1 ? perPage : pairs - perPage * (pages - 1);
    const length = page < pages - 1 ? pageLength : 17 + inPage * (2 + locationBytes);
    const content = contentAt(run, firstPage + page * pageLength, length);
    const first = content.uint(4);
    check(first === head.uint(4) && first >= before, "the first hash of a page");
    before = first;
    const shift = content.uint(1);
    check(content.uint(2) === inPage, "the pairs of a page");
    const hashes = Array.from({ length: inPage }, () => content.uint(2));
    check(
      hashes.every((each, i) => i === 0 || hashes[i - 1] <= each),
      "hashes that ascend",
    );
    for (const each of hashes) {
      const location = content.uint(locationBytes);
      const offset = location % 2 ** bits;
      found.add(`${page} ${each} ${(location - offset) / 2 ** bits} ${offset}`);
    }
    firsts.push({ first, shift });
  }
  return (key) => {
    const hash = hashOf(key);
    const at = places.get(key);
    return firsts.some(({ first, shift }, page) => {
      if (hash < first || at === undefined) return false;
      return found.has(`${page} ${(hash - first) >>> shift} ${at.block} ${at.offset}`);
    });
  };
}

function filterOf(run: Uint8Array, head: Fields): (key: string) => boolean {
  const blocks = head.varint();
  const firstPage = head.varint();
  return (key) => {
    const hash = hashOf(key);
    const block = Math.floor((hash * blocks) / 2 ** 32);
    const page = Math.floor(block / 63);
    const inPage = Math.min(63, blocks - page * 63);
    const { bytes } = contentAt(run, firstPage + page * (63 * 64 + 10), inPage * 64 + 10);
    const bits = bytes.slice((block - page * 63) * 64);
    const g = mix(hash ^ 0x5bd1e995);
    return [g, mix(g)].every((word) =>
      [0, 9, 18].every((by) => {
        const bit = (word >>> by) & 511;
        return (bits[bit >> 3] & (1 << (bit & 7))) !== 0;
      }),
    );
  };
}
