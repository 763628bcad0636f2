import { MalformedBytes } from "../../core/bytes.ts";
import { decodeDrop, decodeSeal, type GenerationHeader, isSiblingName, type Seal } from "./payloads.ts";

/**
 * Which seal ends a generation: the first one that names its nonce and no sibling that was dropped before. Behind it everything is void but
 * a seal that ends the lost sibling's generation in its stead, written by a repair.
 */
export class Seals {
  readonly #header: GenerationHeader;
  /** Nonces of dropped siblings, and the addresses of their drops, of those behind what was read too: an index tells of them. */
  readonly #dropped: Map<string, number>;
  #winning: Seal | undefined;
  #sealedAt = -1;

  constructor(header: GenerationHeader, dropped: ReadonlyMap<string, number> = new Map()) {
    this.#header = header;
    this.#dropped = new Map(dropped);
  }

  /** The seal that names the next generation, as far as was read. */
  get winning(): Seal | undefined {
    return this.#winning;
  }

  /** Address of the seal that ended this generation; -1 before. A replacement does not change it. */
  get sealedAt(): number {
    return this.#sealedAt;
  }

  /** Takes a seal frame that was met. True if it ended the generation. */
  seal(payload: Uint8Array, address: number): boolean {
    const seal = ignoringMalformed(() => decodeSeal(payload));
    if (seal === undefined || !this.#mayWin(seal, address)) return false;
    this.#winning = seal;
    this.#sealedAt = address;
    return true;
  }

  /** Takes a seal frame that was met behind the winning one. True if it replaces that. */
  replace(payload: Uint8Array): boolean {
    const seal = ignoringMalformed(() => decodeSeal(payload));
    const lost = this.#winning?.siblingNonce;
    if (seal === undefined || seal.nonce !== lost || !this.#isNamedRight(seal)) return false;
    this.#winning = seal;
    return true;
  }

  /** Takes a drop frame that was met. */
  drop(payload: Uint8Array, address: number): void {
    const dropped = ignoringMalformed(() => decodeDrop(payload));
    if (dropped !== undefined) this.learnDrop(dropped, address);
  }

  /** Takes what somebody else has met: seals before that address may still name the sibling. */
  learnDrop(siblingNonce: string, address: number): void {
    this.#dropped.set(siblingNonce, Math.min(address, this.#dropped.get(siblingNonce) ?? Infinity));
  }

  /** The drops that are known, each with its address. */
  get drops(): ReadonlyMap<string, number> {
    return this.#dropped;
  }

  /** True if the seal in a payload names this sibling. */
  names(payload: Uint8Array, siblingNonce: string | undefined): boolean {
    return siblingNonce !== undefined && ignoringMalformed(() => decodeSeal(payload))?.siblingNonce === siblingNonce;
  }

  /** True if a drop before that address names this sibling. */
  isDropped(siblingNonce: string, before = Infinity): boolean {
    return (this.#dropped.get(siblingNonce) ?? Infinity) < before;
  }

  /** For looking ahead without having read. */
  fork(): Seals {
    return new Seals(this.#header, this.#dropped);
  }

  #mayWin(seal: Seal, address: number): boolean {
    return seal.nonce === this.#header.nonce && !this.isDropped(seal.siblingNonce, address) && this.#isNamedRight(seal);
  }

  #isNamedRight({ siblingName }: Seal): boolean {
    return isSiblingName(siblingName, this.#header.generation);
  }
}

function ignoringMalformed<T>(decode: () => T): T | undefined {
  try {
    return decode();
  } catch (error) {
    // A frame of the right kind and the wrong content is void, like one that names something else.
    if (error instanceof MalformedBytes) return undefined;
    throw error;
  }
}
