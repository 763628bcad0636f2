import { concatenated } from "./bytes.ts";
import { isPromise, type MaybePromise } from "./environment.ts";
import type { BuiltPart } from "./ledger.ts";
import type { RowWalk } from "./row-walk.ts";
import { RunBuilder } from "./run-builder.ts";
import { SHAPE, type StateRunContext } from "./state-run.ts";

/** Rows handled between two looks at the clock. */
const SLICE_ROWS = 16;

export interface StatePartsContext extends Omit<StateRunContext, "name"> {
  /** Through the state, in which nothing changes any more. */
  readonly walk: RowWalk;
}

/**
 * A whole state, deleted keys left out, in runs for ledgers that keep their state themselves: one behind the other in the order of keys, each ended when it has as many
 * bytes as that, so that memory holds one of them. No key is in two of them: which is looked at first does not matter, and a search looks into one.
 */
export async function* buildParts(
  { environment: { crc32 }, pacer, source, check, walk }: StatePartsContext,
  { upto, partBytes }: { readonly upto: number; readonly partBytes: number },
): AsyncGenerator<BuiltPart, void, undefined> {
  const rest = async (): Promise<void> => {
    await pacer.restInBackground();
    check();
  };
  let count = 0;
  /** The walk stands on a row that has yet to be added. */
  let isOnRow = false;
  for (let isLast = false; !isLast;) {
    const chunks: Uint8Array[] = [];
    const builder = new RunBuilder({ ...SHAPE, crc32, sink: (chunk) => void chunks.push(chunk) });
    for (;;) {
      if (!isOnRow) {
        const ok = walk.next();
        isLast = !(isPromise(ok) ? await ok : ok);
        if (isLast) break;
        if (++count % SLICE_ROWS === 0 && pacer.dueInBackground()) await rest();
        if (walk.row.deleted) continue;
        isOnRow = true;
      }
      // Not before there is something for another one.
      if (builder.length >= partBytes) break;
      const { key, row } = walk;
      const bytes: MaybePromise<Uint8Array | undefined> = row.numeric !== undefined ? undefined : source.bytes(row);
      builder.add(key, row, isPromise(bytes) ? await bytes : bytes);
      isOnRow = false;
    }
    const finishing = builder.finish({ base: 0, upto });
    let step = finishing.next();
    for (; step.done !== true; step = finishing.next()) if (pacer.dueInBackground()) await rest();
    const bytes = concatenated(chunks);
    // While it is on its way, this waits, and would keep it a second time.
    chunks.length = 0;
    yield { bytes, openFrom: step.value, isLast };
  }
}
