/** Takes slots apart by what docs/FORMAT.md says of them. Shares nothing with the code under test. */

/** Versions of one slot. */
export const SLOT_VERSIONS = 65_536;

export interface DecodedSlot {
  readonly nonce: string;
  readonly slot: number;
  readonly predecessor: Buffer;
  /** Hexadecimal. */
  readonly author: string;
  readonly commits: readonly SlotCommit[];
}

export interface SlotCommit {
  readonly counter: number;
  readonly timestamp: number;
  /** Of the whole payload. */
  readonly length: number;
  readonly inline: Buffer;
  readonly holes: readonly SlotHole[];
}

/** Bytes of a payload that lie in an object of their own. */
export interface SlotHole {
  readonly offset: number;
  readonly length: number;
  /** Within the folder of staged values. */
  readonly name: string;
}

export function decodeSlot(bytes: Buffer): DecodedSlot {
  if (bytes.toString("latin1", 0, 8) !== "folioslt" || bytes.readUInt16LE(8) !== 1) throw new Error("no slot");
  let at = 94;
  const take = (length: number): Buffer => bytes.subarray(at, (at += length));
  const number = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  const commits: SlotCommit[] = [];
  for (let count = take(4).readUInt32LE(); count > 0; count--) {
    const counter = number();
    const timestamp = take(8).readDoubleLE();
    const length = number();
    const holes: SlotHole[] = [];
    let end = 0;
    let inline = length;
    for (let left = number(); left > 0; left--) {
      const offset = end + number();
      const bytesLeftOut = number();
      const slot = number().toString().padStart(12, "0");
      holes.push({ offset, length: bytesLeftOut, name: `${slot}-${take(8).toString("hex")}` });
      end = offset + bytesLeftOut;
      inline -= bytesLeftOut;
    }
    commits.push({ counter, timestamp, length, holes, inline: take(inline) });
  }
  if (at !== bytes.length - 4) throw new Error(`a slot of ${bytes.length} bytes that ends at ${at}`);
  return {
    nonce: bytes.toString("hex", 10, 26),
    slot: bytes.readUInt32LE(26) + bytes.readUInt32LE(30) * 2 ** 32,
    predecessor: bytes.subarray(34, 66),
    author: bytes.toString("hex", 66, 78),
    commits,
  };
}
