import type { Environment } from "../../core/environment.ts";
import type { ObjectStore } from "./object-store.ts";

/** Where one incarnation of a ledger lies, and with whose help it is reached. */
export interface Site {
  /** For messages. */
  readonly name: string;
  /** Repeats reads, and counts what it sends. */
  readonly store: ObjectStore;
  readonly environment: Environment;
  readonly nonce: string;
}

/** Waits so long. */
export function pause(environment: Environment, ms: number): Promise<void> {
  return new Promise((resolve) => void environment.setTimer(resolve, ms, { ref: true }));
}
