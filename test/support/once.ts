import type { KV, KVEvents } from "../../src/index.node.ts";

/** The next event that satisfies the condition. */
export function once<E extends "sync" | "error">(
  db: KV,
  event: E,
  condition: (argument: Parameters<KVEvents[E]>[0]) => boolean = () => true,
): Promise<Parameters<KVEvents[E]>[0]> {
  return new Promise((resolve) => {
    const listener = (argument: Parameters<KVEvents[E]>[0]): void => {
      if (!condition(argument)) return;
      db.off(event, listener as KVEvents[E]);
      resolve(argument);
    };
    db.on(event, listener as KVEvents[E]);
  });
}
