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

const WAIT_MS = { first: 50, max: 2000 } as const;

/** Waits before the same is sent again: ever longer, and nobody as long as another. */
export function pauseBetween(environment: Environment, tries: number): Promise<void> {
  return pause(environment, Math.min(WAIT_MS.first * 2 ** tries, WAIT_MS.max) * (0.5 + environment.random()));
}
