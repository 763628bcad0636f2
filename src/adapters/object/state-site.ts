import { toHex } from "../../core/bytes.ts";
import { KVError } from "../../core/errors.ts";
import { NAME_RANDOM_BYTES } from "./layout.ts";
import type { Mending } from "./mending.ts";
import type { FoundRoot, RootObject } from "./root-object.ts";
import type { Root } from "./root.ts";
import type { Site } from "./site.ts";
import type { SlotFacts } from "./tail.ts";

/** Where a session's state is kept, and what the session knows. */
export interface StateSite {
  /** Its requests belong to nobody's turn: what is done here goes on in the background. */
  readonly site: Site;
  readonly rootObject: RootObject;
  /** See `ObjectLedgerOptions.graceMs`. */
  readonly graceMs: number;
  readonly mending: Mending | undefined;
  /** The newest root that the session knows. */
  readonly found: () => FoundRoot;
  /** Told of newer ones. */
  readonly took: (found: FoundRoot) => void;
  /** What is remembered of a slot that was read or written. */
  readonly facts: (slot: number) => SlotFacts | undefined;
  /** Told that what was read here is not what everybody goes on with. */
  readonly gone: () => void;
}

/** A root that was read, with a time at which it was in force. */
export interface SeenRoot {
  readonly found: FoundRoot;
  /** By the store's clock, or by this one's where the store tells none; undefined for a root that was written here and not read since. */
  readonly at: number | undefined;
}

/** The incarnation is over, or nothing can be written for another reason that is none of this session's business. */
export class GaveUp extends Error {
  override readonly name = "GaveUp";
}

/** Reads the root. Throws what keeps it from being read, and `GaveUp` if it is that of another incarnation. */
export async function readRoot(state: StateSite): Promise<SeenRoot> {
  const found = await state.rootObject.present();
  take(state, found);
  return { found, at: found.time ?? state.site.environment.now() };
}

function take({ site, took, gone }: StateSite, found: FoundRoot): void {
  took(found);
  if (found.root.nonce === site.nonce) return;
  gone();
  throw new GaveUp("another incarnation");
}

/** `changed`: somebody else was first; the root is what they have written. */
export interface Replaced {
  readonly status: "replaced" | "changed";
  readonly seen: SeenRoot;
}

/** Replaces the root that was seen. Throws `AccessDenied` where that is not allowed, and what keeps it from being done or known. */
export async function replaceRoot(state: StateSite, { found }: SeenRoot, next: Root): Promise<Replaced> {
  const { site, rootObject } = state;
  const answer = await rootObject.replace(found, next);
  if (answer.status === "failed") throw answer.error;
  if (answer.status === "absent") throw new KVError("LedgerMissing", `The root of ${site.name} is gone`);
  if (answer.status === "denied") {
    throw new KVError("AccessDenied", `The credential may not replace the root of ${site.name}`);
  }
  take(state, answer.found);
  // What was written here has no time of an answer that showed it.
  return { status: answer.status, seen: { found: answer.found, at: answer.found.time } };
}

/** A random part of a name. */
export function drawRandom({ environment }: Pick<Site, "environment">): string {
  return toHex(environment.randomBytes(NAME_RANDOM_BYTES));
}
