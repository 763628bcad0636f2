import { MalformedBytes } from "../../core/bytes.ts";
import type { Environment } from "../../core/environment.ts";
import { KVError } from "../../core/errors.ts";
import { bytesOf, hexOf, listOf, oneOf, recordOf, varint } from "../../core/fields.ts";
import { NAME_RANDOM_BYTES, type RunName, SLOT_MAX, SLOT_VERSIONS } from "./layout.ts";
import { beginSealed, isSealed, openSealed, seal } from "./sealed.ts";

/**
 * The root of a ledger in a bucket: which incarnation of it there is, where its checkpoint lies, and how far slots may be gone. Encoding and
 * decoding are pure; docs/FORMAT.md gives the layout.
 */

export const ROOT_FORMAT = 1;

/** "folioobj" */
const MAGIC = Uint8Array.of(0x66, 0x6f, 0x6c, 0x69, 0x6f, 0x6f, 0x62, 0x6a);
export const WRITE_ID_BYTES = 16;
const ID_BYTES = 16;
const HASH_BYTES = 32;
const FLAG = oneOf([false, true]);

type Crc32 = Environment["crc32"];

/** A root is read as a whole at every turn. */
const RUNS_MAX = 4096;
const FORMERS_MAX = 4096;
/** Of a run, in bytes: larger than any store takes in one piece. */
const RUN_BYTES_MAX = 2 ** 40;

/** One run of the checkpoint. */
export interface RootRun extends RunName {
  /** Of the run, in bytes. The batch ids lie behind it. */
  readonly size: number;
  /** Where what opening it needs begins, the footer and what belongs to it: from there on it is read. */
  readonly footerPlace: number;
  /** How many of the newest slots that it covers have their batch ids behind it. */
  readonly batchIds: number;
}

/** An incarnation that a repair has left behind, and the last slot of it that the repair took over. */
export interface FormerIncarnation {
  readonly nonce: string;
  readonly lastSlot: number;
}

/** Whether the store was found to do what several writers need. `single`: it was not, and one writer was asked for. */
export type RootVerdict = "not probed" | "suitable" | "single";
const VERDICTS: readonly RootVerdict[] = ["not probed", "suitable", "single"];

export interface Root {
  /** Stays for the life of the ledger; 32 hexadecimal digits. */
  readonly ledgerId: string;
  /** Names this incarnation, and its folder; 32 hexadecimal digits. */
  readonly nonce: string;
  /** The first slot of this incarnation: 1, or after a repair one above every slot of those before. */
  readonly firstSlot: number;
  /** Newest first, without a gap between them. Empty if nothing is checkpointed. */
  readonly runs: readonly RootRun[];
  /** The runs hold what the slots up to this one have left. `firstSlot - 1` in a ledger without a checkpoint. */
  readonly checkpointSlot: number;
  /** That of the checkpoint before; `firstSlot - 1` as long as there was only one. */
  readonly previousCheckpointSlot: number;
  /** Version of the last commit of `checkpointSlot`, or of what was before; 0 for none. */
  readonly checkpointVersion: number;
  /** SHA-256 of the object of `checkpointSlot`, which the next slot names as its predecessor; zeros where that is none of this incarnation. */
  readonly checkpointHash: Uint8Array;
  /** Raised by each merge. */
  readonly epoch: number;
  /** The lowest slot that must exist. */
  readonly floor: number;
  /** A time of the store at which `floor` was already in force; undefined as long as nobody has seen one. */
  readonly floorAt: number | undefined;
  /** All slots below this one are deleted. */
  readonly swept: number;
  /** The highest slot that whoever wrote this had seen. */
  readonly tailHint: number;
  readonly verdict: RootVerdict;
  /** Newest first. */
  readonly formers: readonly FormerIncarnation[];
}

/** A root as it was read, and what tells one write of it from every other. */
export interface DecodedRoot {
  readonly root: Root;
  readonly writeId: Uint8Array;
}

/** The root of a ledger that holds nothing yet. */
export function emptyRoot(options: {
  readonly ledgerId: string;
  readonly nonce: string;
  readonly verdict: RootVerdict;
}): Root {
  return {
    ...options,
    firstSlot: 1,
    runs: [],
    checkpointSlot: 0,
    previousCheckpointSlot: 0,
    checkpointVersion: 0,
    checkpointHash: new Uint8Array(HASH_BYTES),
    epoch: 0,
    floor: 1,
    floorAt: undefined,
    swept: 1,
    tailHint: 0,
    formers: [],
  };
}

/** In the order in which they lie in the object, behind what tells one write from every other. */
const ROOT = recordOf<Root>({
  ledgerId: hexOf(ID_BYTES),
  nonce: hexOf(ID_BYTES),
  firstSlot: varint,
  checkpointSlot: varint,
  previousCheckpointSlot: varint,
  checkpointVersion: varint,
  checkpointHash: bytesOf(HASH_BYTES),
  epoch: varint,
  floor: varint,
  floorAt: {
    write: (writer, time) => {
      FLAG.write(writer, time !== undefined);
      if (time !== undefined) writer.uint53(time);
    },
    read: (reader) => (FLAG.read(reader) ? reader.uint53() : undefined),
  },
  swept: varint,
  tailHint: varint,
  verdict: oneOf(VERDICTS),
  runs: listOf(
    recordOf<RootRun>({
      epoch: varint,
      from: varint,
      to: varint,
      random: hexOf(NAME_RANDOM_BYTES),
      size: varint,
      footerPlace: varint,
      batchIds: varint,
    }),
    RUNS_MAX,
  ),
  formers: listOf(recordOf<FormerIncarnation>({ nonce: hexOf(ID_BYTES), lastSlot: varint }), FORMERS_MAX),
});
const DECODED = recordOf<DecodedRoot>({ writeId: bytesOf(WRITE_ID_BYTES), root: ROOT });

/** `writeId`: `WRITE_ID_BYTES` random bytes, others for each write. Throws `RangeError` for a root that breaks a rule. */
export function encodeRoot(decoded: DecodedRoot, crc32: Crc32): Uint8Array {
  const wrong = brokenRule(decoded.root);
  if (wrong !== undefined) throw new RangeError(`A root with ${wrong} must not be written`);
  const writer = beginSealed(MAGIC, ROOT_FORMAT);
  DECODED.write(writer, decoded);
  return seal(writer, crc32);
}

/**
 * Throws `NotALedger` for what is something else, `UnsupportedFormat` for a newer root, `LedgerDamaged` for one whose checksum does not hold, or
 * that says what no root may say. `name` is for messages.
 */
export function decodeRoot(bytes: Uint8Array, crc32: Crc32, name: string): DecodedRoot {
  if (!isSealed(bytes, MAGIC)) {
    throw new KVError("NotALedger", `${name} holds an object "root" that is none of a foliokv ledger`);
  }
  try {
    const reader = openSealed(bytes, { format: ROOT_FORMAT, name: `The root of ${name}`, crc32 });
    const decoded = DECODED.read(reader);
    if (reader.remaining !== 0) throw new MalformedBytes("a root that is too long");
    const wrong = brokenRule(decoded.root);
    if (wrong !== undefined) throw new MalformedBytes(`a root with ${wrong}`);
    return decoded;
  } catch (error) {
    if (!(error instanceof MalformedBytes)) throw error;
    throw new KVError("LedgerDamaged", `The root of ${name} is damaged`, { cause: error });
  }
}

/** What no root may say, in words; undefined if it is fine. */
function brokenRule(root: Root): string | undefined {
  const { firstSlot, checkpointSlot, previousCheckpointSlot, floor, swept, tailHint, runs, formers } = root;
  const slots = [firstSlot, checkpointSlot, previousCheckpointSlot, floor, swept, tailHint, root.epoch];
  if (!slots.every(isSlot)) return "a slot that is none";
  if (firstSlot < 1 || checkpointSlot < firstSlot - 1) return "a checkpoint before its first slot";
  if (previousCheckpointSlot > checkpointSlot || previousCheckpointSlot < firstSlot - 1)
    return "checkpoints out of order";
  if (swept < firstSlot || swept > floor) return "slots deleted that must exist";
  if (floor > Math.max(firstSlot, previousCheckpointSlot)) return "a floor above the previous checkpoint";
  if (tailHint < checkpointSlot) return "a tail before its checkpoint";
  if (!isVersionOf(root)) return "a version that is not of its checkpoint's slot";
  if (root.checkpointHash.length !== HASH_BYTES) return "a hash of another length";
  if (root.floorAt !== undefined && !(Number.isSafeInteger(root.floorAt) && root.floorAt >= 0)) return "a wrong time";
  if (formers.length > FORMERS_MAX || !formers.every(({ lastSlot }) => isSlot(lastSlot) && lastSlot < firstSlot)) {
    return "a former incarnation that reaches into this one";
  }
  return brokenRuns(runs, root);
}

function brokenRuns(runs: readonly RootRun[], { checkpointSlot, epoch, firstSlot }: Root): string | undefined {
  if (runs.length > RUNS_MAX) return "too many runs";
  if (runs.length === 0) return checkpointSlot >= firstSlot ? "a checkpoint without runs" : undefined;
  if (runs[0].to !== checkpointSlot) return "a newest run that does not reach up to its checkpoint";
  for (const [i, run] of runs.entries()) {
    if (!isSlot(run.to) || run.from < 1 || run.from > run.to) return "a run over no slots";
    if (!isSlot(run.epoch) || run.epoch > epoch) return "a run of a later epoch";
    if (run.batchIds > run.to - run.from + 1) return "more batch ids than slots";
    if (i > 0 && runs[i - 1].from !== run.to + 1) return "a gap between its runs";
    if (run.footerPlace >= run.size || run.size > RUN_BYTES_MAX) return "a run whose footer lies behind its end";
  }
  return runs[runs.length - 1].from > firstSlot ? "slots that no run covers" : undefined;
}

function isVersionOf({ checkpointVersion, checkpointSlot }: Root): boolean {
  return Number.isSafeInteger(checkpointVersion) && checkpointVersion < (checkpointSlot + 1) * SLOT_VERSIONS;
}

function isSlot(slot: number): boolean {
  return Number.isSafeInteger(slot) && slot >= 0 && slot <= SLOT_MAX;
}
