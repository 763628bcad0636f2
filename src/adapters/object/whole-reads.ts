import { hasCode } from "../../core/errors.ts";
import type { ObjectStore } from "./object-store.ts";
import { pause, type Site } from "./site.ts";

/** Where a write is not one step, the beginning of an object may be there before its end: so often it is looked again, and so long waited first. */
const TORN = { triesMax: 7, waitMs: 5 } as const;

/**
 * Reads an object and makes sense of it. Bytes can go wrong on their way, so that what makes no sense is read a second time; and a store that cannot
 * compare and swap, a folder for example, may show an object that is just being written.
 */
export async function readWhole<T>(
  { capabilities }: Pick<ObjectStore, "capabilities">,
  environment: Site["environment"],
  read: () => Promise<T>,
): Promise<T> {
  const isWeak = !capabilities.create || !capabilities.replace;
  for (let tries = 1; ; tries++) {
    try {
      return await read();
    } catch (error) {
      const isSenseless = hasCode(error, "LedgerDamaged") || hasCode(error, "NotALedger");
      if (!isSenseless || tries >= (isWeak ? TORN.triesMax : 2)) throw error;
    }
    if (isWeak) await pause(environment, TORN.waitMs * 2 ** tries);
  }
}
