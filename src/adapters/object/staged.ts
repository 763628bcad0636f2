import { equalBytes, toHex } from "../../core/bytes.ts";
import { decodeCommit, ItemKind, VALUE_HEADER_BYTES } from "../../core/commit.ts";
import { KVError } from "../../core/errors.ts";
import type { CommitRecord } from "../../core/ledger.ts";
import { NAME_RANDOM_BYTES, STAGED_SLOTS_MAX, stagedKey, type StagedName } from "./layout.ts";
import { several } from "./several.ts";
import { pauseBetween, type Site } from "./site.ts";
import type { Hole } from "./slot.ts";

/** Smaller values are not worth a request of their own. */
export const STAGED_BYTES_MIN: number = 16 * 1024;
/** What a commit may carry inline before its large values are put elsewhere. */
export const INLINE_BYTES_MAX: number = 256 * 1024;
/** The first byte of a value stays with its commit: it says that the value is no number, which nobody could decode a commit without. */
const TYPE_BYTES = 1;
/** What comes to pass within this time is no reason to give up an upload. */
const UPLOAD_MS = 30_000;

/** Bytes of a value within a payload. */
interface Part {
  readonly offset: number;
  readonly length: number;
}

/** The values of a commit that are to lie in objects of their own, in order: the largest first until the rest is small, or no large one is left. */
export function partsToStage(payload: Uint8Array): readonly Part[] {
  if (payload.length < INLINE_BYTES_MAX) return [];
  const values: Part[] = [];
  for (const { kind, valueOffset, valueLength, numeric } of decodeCommit(payload).operations) {
    if (kind !== ItemKind.set || valueLength < STAGED_BYTES_MIN || numeric !== undefined) continue;
    const offset = valueOffset + VALUE_HEADER_BYTES + TYPE_BYTES;
    values.push({ offset, length: valueLength - TYPE_BYTES });
  }
  values.sort((a, b) => b.length - a.length);
  const chosen: Part[] = [];
  let inline = payload.length;
  for (const value of values) {
    if (inline < INLINE_BYTES_MAX) break;
    chosen.push(value);
    inline -= value.length;
  }
  return chosen.sort((a, b) => a.offset - b.offset);
}

/** What of a payload are checks, which are never written to a slot, at least. */
export function checksBytesMin(payload: Uint8Array): number {
  return decodeCommit(payload).checks.reduce((bytes, { key }) => bytes + key.length, 0);
}

/** A value that was uploaded. */
interface Upload {
  readonly bytes: Uint8Array;
  readonly staged: StagedName;
}

/**
 * Uploads large values before the slot that refers to them. What was uploaded for a slot that somebody else has got serves for the next ones, as long
 * as they are near enough: garbage collection deletes by the slot in the name.
 */
export class Stager {
  readonly #site: Site;
  /** What the slot refers to that is being made, or was made last. */
  #uploads: Upload[] = [];
  /** Likewise of the one before, as long as it is not in the ledger: as a rule this one is made of the same commits. */
  #before: readonly Upload[] = [];

  constructor(site: Site) {
    this.#site = site;
  }

  /** A slot is made: what neither the last one nor this one refers to is let go, so that commits that fail leave nothing here. */
  begin(): void {
    this.#before = this.#uploads;
    this.#uploads = [];
  }

  /**
   * The holes of a commit that is to lie in this slot, everything that belongs there uploaded. Throws what keeps it from being uploaded, "not
   * committed".
   */
  async stage({ payload }: CommitRecord, parts: readonly Part[], slot: number): Promise<readonly Hole[]> {
    const { parallel } = this.#site.store.capabilities;
    return await several(parts, parallel, async (part) => ({
      ...part,
      staged: await this.#staged(payload.subarray(part.offset, part.offset + part.length), slot),
    }));
  }

  /** The slot is in the ledger: what it refers to is nobody's upload any more. */
  settled(): void {
    this.#uploads = [];
    this.#before = [];
  }

  async #staged(bytes: Uint8Array, slot: number): Promise<StagedName> {
    const isThat = ({ staged, bytes: uploaded }: Upload): boolean =>
      slot <= staged.slot + STAGED_SLOTS_MAX && equalBytes(uploaded, bytes);
    const before = this.#uploads.find(isThat);
    if (before !== undefined) return before.staged;
    const upload = this.#before.find(isThat) ?? { bytes, staged: await this.#upload(bytes, slot) };
    this.#uploads.push(upload);
    return upload.staged;
  }

  async #upload(bytes: Uint8Array, slot: number): Promise<StagedName> {
    const { store, environment, nonce } = this.#site;
    const began = environment.monotonic();
    for (let tries = 0; ; tries++) {
      // Another name for each try: whatever came of the last one, nobody refers to it.
      const staged = { slot, random: toHex(environment.randomBytes(NAME_RANDOM_BYTES)) };
      const answer = await store.create(stagedKey(nonce, staged), bytes);
      if (answer.status === "created") return staged;
      const error = "error" in answer ? answer.error : undefined;
      const isFinal = answer.status === "denied" || answer.status === "refused";
      if (isFinal || environment.monotonic() - began >= UPLOAD_MS) {
        throw new KVError(error?.code ?? "InputOutput", error?.message ?? `${store.name} takes no large values`, {
          cause: error,
          outcome: "not committed",
        });
      }
      await pauseBetween(environment, tries);
    }
  }
}

/** `gone`: there is no such object. Whether that is damage, the root has to tell. */
export type StagedAnswer =
  { readonly status: "found"; readonly bytes: Uint8Array } | { readonly status: "gone"; readonly why: string };

/** Bytes of a staged value: `length` of them from `from` on. Throws what keeps them from being read. */
export async function readStaged({ store, nonce, name }: Site, hole: Hole, part: Part): Promise<StagedAnswer> {
  const key = stagedKey(nonce, hole.staged);
  const isWhole = part.offset === 0 && part.length === hole.length;
  const answer = await (isWhole ? store.get(key) : store.get(key, { from: part.offset, length: part.length }));
  if (answer.status === "absent") return { status: "gone", why: `${key} of ${name} is not there` };
  if (answer.status === "beyond") return { status: "gone", why: `${key} of ${name} is too short` };
  if (answer.status !== "found") throw answer.error;
  if (answer.size !== hole.length) return { status: "gone", why: `${key} of ${name} has ${answer.size} bytes` };
  return { status: "found", bytes: answer.bytes };
}
