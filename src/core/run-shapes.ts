import { ByteWriter, equalBytes, MalformedBytes, toBinaryString } from "./bytes.ts";
import { itemEnd, shortTextLength } from "./cbor-items.ts";
import { hasCode } from "./errors.ts";
import { asProperty } from "./property-names.ts";
import type { Row, ValueHome } from "./resolve.ts";
import type { Run } from "./run.ts";
import { contentOf, type PiecePlace } from "./run-format.ts";
import type { RunPieces } from "./run-pieces.ts";
import { decodeValue } from "./value.ts";

/**
 * Shapes: what several values of a run have in common that are objects with the same properties, the head of the map and the names. They stand
 * once, in a section of the run, and in the entries what these values have beside them. docs/FORMAT.md gives the layout.
 */

/** Longer ones are rare, and candidates are kept in memory. */
const SHAPE_BYTES_MAX = 1024;
/** Of all shapes of a run, which are read at once, and kept as long as the run is open. */
const SECTION_BYTES_MAX = 16 * 1024;
/** So many are remembered of which there was one value. */
const CANDIDATES_MAX = 256;
/** What is no longer than the number of a shape may be saves nothing. */
const NUMBER_BYTES_MAX = 2;

/** A map of up to 23 pairs has their number in its first byte, one of up to 255 in the second. */
const MAP = 0xa0;
const LONG_MAP = 0xb8;

function headBytes(map: Uint8Array): number {
  return map[0] === LONG_MAP ? 2 : 1;
}

/** Of a map that begins with these bytes; 0 if none does, or one of more pairs. */
function pairsOf(map: Uint8Array): number {
  const first = map[0];
  if (first === LONG_MAP) return map[1];
  return first > MAP && first < LONG_MAP ? first - MAP : 0;
}

// --- writing ---------------------------------------------------------------------------------------------------------

export interface WrittenShape {
  readonly bytes: Uint8Array;
  /** Its place among the shapes of the run; -1 for a candidate. */
  number: number;
}

/** Finds the shapes of values. What is met a second time becomes one, as long as there is room. */
export class ShapeCollector {
  readonly #known = new Map<string, WrittenShape>();
  readonly #section = new ByteWriter();
  #count = 0;
  /** The one that was found last, which comes again as a rule. */
  #last: WrittenShape | undefined;
  /** The last value, cut in two. */
  #shape = new Uint8Array(0);
  #shapeLength = 0;
  #rest = new Uint8Array(0);
  #restLength = 0;

  /** The shape of which this value is kept without; undefined if it is kept as it is. */
  find(value: Uint8Array): WrittenShape | undefined {
    if (!this.#cut(value)) return undefined;
    const bytes = this.#shape.subarray(0, this.#shapeLength);
    let shape = this.#last;
    if (shape === undefined || !equalBytes(shape.bytes, bytes)) {
      const text = toBinaryString(bytes);
      shape = this.#known.get(text);
      if (shape === undefined) return this.#remember(text, bytes);
      this.#last = shape;
    }
    return shape.number >= 0 || this.#admit(shape) ? shape : undefined;
  }

  /** What the last value for which a shape was found has beside it. Valid until the next one. */
  get rest(): Uint8Array {
    return this.#rest.subarray(0, this.#restLength);
  }

  /** The content of the section; empty if there are no shapes. */
  content(): Uint8Array {
    return this.#section.view();
  }

  /** False if the value is no object, or one that no shape can be made of. */
  #cut(value: Uint8Array): boolean {
    const end = value.length;
    if (this.#rest.length < end) {
      this.#shape = new Uint8Array(end);
      this.#rest = new Uint8Array(end);
    }
    const shape = this.#shape;
    const rest = this.#rest;
    let shapeLength = 0;
    let restLength = 0;
    let at = 0;
    let nameAt = headBytes(value);
    for (let left = pairsOf(value); left > 0; left--) {
      const itemAt = nameAt + shortTextLength(value, nameAt);
      if (!(itemAt < end)) return false;
      shapeLength = copy(value, at, itemAt, shape, shapeLength);
      nameAt = itemEnd(value, itemAt, end);
      if (nameAt > end) return false;
      restLength = copy(value, itemAt, nameAt, rest, restLength);
      at = nameAt;
    }
    this.#shapeLength = shapeLength;
    this.#restLength = restLength;
    return at === end && shapeLength > NUMBER_BYTES_MAX;
  }

  #remember(text: string, bytes: Uint8Array): undefined {
    const known = this.#known;
    if (bytes.length > SHAPE_BYTES_MAX) return;
    if (known.size - this.#count >= CANDIDATES_MAX)
      for (const [each, { number }] of known) if (number < 0) known.delete(each);
    known.set(text, { bytes: bytes.slice(), number: -1 });
  }

  /** False if there is no room for one shape more. */
  #admit(shape: WrittenShape): boolean {
    const section = this.#section;
    const { bytes } = shape;
    if (section.length + bytes.length > SECTION_BYTES_MAX) return false;
    shape.number = this.#count++;
    section.varint(bytes.length);
    section.bytes(bytes);
    return true;
  }
}

// --- reading ---------------------------------------------------------------------------------------------------------

/** The home of values that have a shape, or of those whose shape cannot be read. */
interface ShapeHome extends ValueHome {
  readonly bytes: Uint8Array;
}

/** The section of a run that has none. */
const NOWHERE: PiecePlace = { place: -1, length: 0 };
const NO_BYTES = new Uint8Array(0);

/** The shapes of a run, decoded when the first one is asked for, or when the run is opened. */
export class StoredShapes {
  readonly #run: Run;
  readonly #pieces: RunPieces;
  readonly #section: PiecePlace;
  #shapes: readonly Shape[] | undefined;
  #lost: ShapeHome | undefined;

  constructor(run: Run, pieces: RunPieces, section: PiecePlace | undefined) {
    this.#run = run;
    this.#pieces = pieces;
    this.#section = section ?? NOWHERE;
  }

  /** Reads the section where it is among what was read already: reading it later may be one more round trip. */
  openAhead(): void {
    const { ahead } = this.#pieces;
    if (ahead === undefined || this.#section.place < ahead.from) return;
    try {
      this.#shapes = this.#decode(this.#section);
    } catch {
      // Bytes may have gone wrong on their way: they are asked for once more when somebody needs them.
    }
  }

  /** Where it cannot be read, one that says so to whoever asks for a value: what else entries say is whole, and counts. */
  get(number: number): ShapeHome {
    if (this.#lost !== undefined) return this.#lost;
    try {
      const shapes = (this.#shapes ??= this.#decode(this.#section));
      if (number < shapes.length) return shapes[number];
      throw malformed();
    } catch (error) {
      const failure = this.#run.failure(error);
      if (!hasCode(failure, "LedgerDamaged")) throw failure;
      const fail = (): never => {
        throw failure;
      };
      const lost = { bytes: NO_BYTES, value: fail, valueBytes: fail };
      // Where only this entry is wrong, the others are not.
      if (this.#shapes === undefined) this.#lost = lost;
      return lost;
    }
  }

  #decode(section: PiecePlace): readonly Shape[] {
    const shapes: Shape[] = [];
    if (section === NOWHERE) return shapes;
    const piece = this.#pieces.read(section);
    this.#pieces.decode(section, () => {
      const reader = contentOf(piece);
      while (reader.remaining > 0) shapes.push(new Shape(this.#run, reader.bytes(reader.varint())));
    });
    return shapes;
  }
}

/** One shape of a run, and the home of the values that have it. */
export class Shape implements ShapeHome {
  readonly bytes: Uint8Array;
  readonly #run: Run;
  #names: readonly string[] | undefined;

  constructor(run: Run, bytes: Uint8Array) {
    this.bytes = bytes;
    this.#run = run;
    const pairs = pairsOf(bytes);
    let count = 0;
    let end = headBytes(bytes);
    for (; end < bytes.length; count++) end += shortTextLength(bytes, end);
    if (count === 0 || count !== pairs || end !== bytes.length) throw malformed();
  }

  value(row: Row): unknown {
    const run = this.#run;
    const length = row.valueLength - this.bytes.length;
    const bytes = run.bytesOf(row, length);
    try {
      return decodeValue(bytes, run.valueFrom, run.valueFrom + length, (this.#names ??= this.#decodeNames()));
    } catch (error) {
      throw run.failure(error);
    }
  }

  #decodeNames(): string[] {
    const { bytes } = this;
    const names: string[] = [];
    for (let at = headBytes(bytes); at < bytes.length;) {
      const end = at + shortTextLength(bytes, at);
      names.push(asProperty(decodeValue(bytes, at, end) as string));
      if (names.includes("__proto__")) throw malformed();
      at = end;
    }
    return names;
  }

  valueBytes(row: Row): Uint8Array {
    const run = this.#run;
    const shape = this.bytes;
    const { valueLength } = row;
    const rest = run.bytesOf(row, valueLength - shape.length);
    const end = run.valueFrom + valueLength - shape.length;
    if (whole.length < valueLength) whole = new Uint8Array(valueLength);
    let to = 0;
    let at = run.valueFrom;
    let name = 0;
    let nameEnd = headBytes(shape);
    while (name < shape.length && at < end) {
      nameEnd += shortTextLength(shape, nameEnd);
      to = copy(shape, name, nameEnd, whole, to);
      name = nameEnd;
      const itemAt = at;
      at = itemEnd(rest, at, end);
      if (at <= end) to = copy(rest, itemAt, at, whole, to);
    }
    if (at !== end || to !== valueLength) throw run.failure(malformed());
    return whole.subarray(0, to);
  }
}

function malformed(): MalformedBytes {
  return new MalformedBytes("a value that does not fit its shape");
}

/** In which values are put together again: valid until the next one. */
let whole = new Uint8Array(4096);

/** Up to so many bytes are copied one by one: quicker than a call with a view. */
const SHORT = 32;

/** Copies [from, end) to `at`, and returns where they end there. */
function copy(source: Uint8Array, from: number, end: number, target: Uint8Array, at: number): number {
  if (end - from > SHORT) target.set(source.subarray(from, end), at);
  else for (let i = from, to = at; i < end; i++, to++) target[to] = source[i];
  return at + end - from;
}
