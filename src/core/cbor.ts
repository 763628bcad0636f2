// oxlint-disable-next-line no-restricted-imports -- the one dependency, in the form that compiles no code
import { type Decoder as CborDecoder, Decoder, Encoder, Tag, addExtension } from "cbor-x/index-no-eval";

/** CBOR (RFC 8949) by cbor-x, set up so that what it writes is the same in every runtime. Nothing else imports it. */

const CBOR_OPTIONS = {
  useRecords: false,
  structuredClone: false,
  // Set by hand, in `value-forms-encoder.ts`: cbor-x would put it on the bytes inside other typed arrays too, where there is no Buffer.
  tagUint8Array: false,
  variableMapSize: true,
  copyBuffers: true,
} as const;

export const encoder = new Encoder(CBOR_OPTIONS);
export const decoder: CborDecoder = new Decoder(CBOR_OPTIONS);

/** Lets `decode` make what stands for content under a tag. */
export function decodeTag(tag: number, decode: (content: unknown) => unknown): void {
  // Its type asks for an encoder too, but ours are instances of Tag, which it encodes by itself.
  addExtension({ tag, decode } as Parameters<typeof addExtension>[0]);
}

/** Content under a tag. */
export { Tag };
