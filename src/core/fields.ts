import { type ByteReader, type ByteWriter, fromHex, MalformedBytes, toHex } from "./bytes.ts";

/**
 * Records of a few fields, as they lie among bytes: one description serves for writing and for reading. For what is read once, when something is opened;
 * what is read by the thousand is taken apart by hand.
 */
export interface Field<T> {
  write(writer: ByteWriter, value: T): void;
  /** Throws `MalformedBytes`. */
  read(reader: ByteReader): T;
}

/** See `ByteWriter.varint`. */
export const varint: Field<number> = {
  write: (writer, value) => writer.varint(value),
  read: (reader) => reader.varint(),
};

/** So many bytes. */
export function bytesOf(length: number): Field<Uint8Array> {
  return {
    write: (writer, value) => writer.bytes(value),
    read: (reader) => reader.bytes(length).slice(),
  };
}

/** So many bytes, told by their hexadecimal digits. */
export function hexOf(length: number): Field<string> {
  return {
    write: (writer, value) => writer.bytes(fromHex(value)),
    read: (reader) => toHex(reader.bytes(length)),
  };
}

/** Bytes behind their length. */
export const anyBytes: Field<Uint8Array> = {
  write: (writer, value) => {
    writer.varint(value.length);
    writer.bytes(value);
  },
  read: (reader) => reader.bytes(reader.varint()).slice(),
};

/** Characters with codes below 256, a byte each, behind their number. */
export const binaryString: Field<string> = {
  write: (writer, value) => {
    writer.varint(value.length);
    writer.binaryString(value);
  },
  read: (reader) => reader.binaryString(reader.varint()),
};

/** One of these, by its place among them. */
export function oneOf<T>(choices: readonly T[]): Field<T> {
  return {
    write: (writer, value) => writer.u8(choices.indexOf(value)),
    read: (reader) => {
      const at = reader.u8();
      if (at >= choices.length) throw new MalformedBytes(`a choice that there is not: ${at}`);
      return choices[at];
    },
  };
}

/** Several, behind their number, which is at most `max`. */
export function listOf<T>(item: Field<T>, max: number): Field<readonly T[]> {
  return {
    write: (writer, values) => {
      writer.varint(values.length);
      for (const value of values) item.write(writer, value);
    },
    read: (reader) => {
      const length = reader.varint();
      if (length > max) throw new MalformedBytes(`a list of ${length}`);
      return Array.from({ length }, () => item.read(reader));
    },
  };
}

/** These, one behind the other. */
export function recordOf<T extends object>(fields: { readonly [Name in keyof T]: Field<T[Name]> }): Field<T> {
  const names = Object.keys(fields) as (keyof T)[];
  return {
    write: (writer, value) => {
      for (const name of names) fields[name].write(writer, value[name]);
    },
    read: (reader) => {
      const value = {} as T;
      for (const name of names) value[name] = fields[name].read(reader);
      return value;
    },
  };
}
