import { type MaybePromise, isPromise } from "../../src/core/environment.ts";
import type { LedgerSession } from "../../src/core/ledger.ts";
import type { Process } from "./world.ts";

/** How much the calls of a session do at once, and how likely they answer with a promise. */
export interface Pace {
  /** Bytes that a read goes through at most: small, so that a replay has many steps. */
  readonly readBytes: number;
  /** How likely a call of the ledger answers with a promise, as other adapters do. */
  readonly asynchronous: number;
}

/** A session whose answers may come later, and that notices when the engine breaks the contract. */
export function pace(session: LedgerSession, process: Process, options: Pace): LedgerSession {
  let under: string | undefined;
  let closed = false;
  const exclusive = <T>(name: string, call: () => MaybePromise<T>): MaybePromise<T> => {
    if (under !== undefined) process.fail(`${name} while ${under} is under way`);
    if (closed) process.fail(`${name} after close`);
    under = name;
    const over = (): void => void (under = undefined);
    try {
      const result = paced(call);
      if (isPromise(result)) result.then(over, over);
      else over();
      return result;
    } catch (error) {
      over();
      throw error;
    }
  };
  const paced = <T>(call: () => MaybePromise<T>): MaybePromise<T> =>
    process.random.chance(options.asynchronous) ? process.sleep(process.random.next() * 3).then(call) : call();
  const replaced: Partial<LedgerSession> = {
    read: (position, budget) =>
      exclusive("read", () => session.read(position, { ...budget, bytes: Math.min(budget.bytes, options.readBytes) })),
    append: (commits, position) => exclusive("append", () => session.append(commits, position)),
    reopen: (position) => exclusive("reopen", () => session.reopen(position)),
    makeDurable: () => exclusive("makeDurable", () => session.makeDurable?.()),
    readValue: (version, place, length) => {
      // Whatever generation comes meanwhile: the read has begun in this one.
      const unpin = session.pin?.();
      let value: MaybePromise<Uint8Array> | undefined;
      try {
        value = paced(() => session.readValue(version, place, length));
        if (isPromise(value)) value = value.finally(unpin);
        return value;
      } finally {
        if (!isPromise(value)) unpin?.();
      }
    },
    close: () => {
      if (under !== undefined) process.fail(`close while ${under} is under way`);
      closed = true;
      return session.close();
    },
  };
  return new Proxy(session, {
    get(target, property) {
      const own: unknown = Reflect.get(replaced, property);
      if (own !== undefined) return own;
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === "function" ? (value as (...given: unknown[]) => unknown).bind(target) : value;
    },
  });
}
