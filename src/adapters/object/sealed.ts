import { ByteReader, ByteWriter, equalBytes, MalformedBytes, readU32 } from "../../core/bytes.ts";
import type { Environment } from "../../core/environment.ts";
import { KVError } from "../../core/errors.ts";

/** What root and slots have in common: a magic of eight bytes and a format before their content, a checksum of everything behind it. */

const FORMAT_AT = 8;
/** Before the content, and behind it. */
export const SEALED_HEAD_BYTES: number = FORMAT_AT + 2;
export const SEAL_BYTES = 4;

/** The content is written next, then `seal`. */
export function beginSealed(magic: Uint8Array, format: number, initialBytes?: number): ByteWriter {
  const writer = new ByteWriter(initialBytes);
  writer.bytes(magic);
  writer.u16(format);
  return writer;
}

/** The whole object. */
export function seal(writer: ByteWriter, crc32: Environment["crc32"]): Uint8Array {
  writer.u32(crc32(writer.view()));
  return writer.take();
}

/** True for what begins with this magic. */
export function isSealed(bytes: Uint8Array, magic: Uint8Array): boolean {
  return equalBytes(bytes.subarray(0, FORMAT_AT), magic);
}

/** The content. Throws `MalformedBytes` where the checksum does not hold, and `UnsupportedFormat`. `name`: of the object, for messages. */
export function openSealed(
  bytes: Uint8Array,
  { format, name, crc32 }: { readonly format: number; readonly name: string; readonly crc32: Environment["crc32"] },
): ByteReader {
  const end = bytes.length - SEAL_BYTES;
  // Before the format is believed: of every format the checksum lies there, so that what is damaged is not taken for newer.
  if (end < SEALED_HEAD_BYTES || readU32(bytes, end) !== crc32(bytes.subarray(0, end))) {
    throw new MalformedBytes("its checksum does not hold");
  }
  const found = bytes[FORMAT_AT] | (bytes[FORMAT_AT + 1] << 8);
  if (found !== format) {
    throw new KVError("UnsupportedFormat", `${name} has format ${found}; this version reads format ${format}`);
  }
  return new ByteReader(bytes, SEALED_HEAD_BYTES, end);
}
