import { MalformedBytes } from "../../core/bytes.ts";

/**
 * Where the objects of a ledger lie below its prefix. Names that are found in objects are taken apart here and nowhere else: what does not
 * follow its pattern to the letter is damage, so that no object can make somebody read or delete another ledger's.
 */

/** The only object that ever changes. */
export const ROOT_KEY = "root";

/** Commits of one slot, at most: a version is slot x this + place in the slot. */
export const SLOT_VERSIONS = 65_536;

/** The highest slot whose versions are safe integers. */
export const SLOT_MAX: number = Math.floor(Number.MAX_SAFE_INTEGER / SLOT_VERSIONS) - 1;

/** A large value's slot may refer to it if it is at most so many slots behind the one it was first meant for. */
export const STAGED_SLOTS_MAX = 64;

/** Slots have so many digits in names, so that names sort as slots do. */
const SLOT_DIGITS = 12;
/** Bytes of the random part of a name, and its hexadecimal digits. */
export const NAME_RANDOM_BYTES = 8;
const NONCE = /^[0-9a-f]{32}$/;
const RANDOM_DIGITS = 16;
const RANDOM = /^[0-9a-f]{16}$/;
const SLOT = /^([0-9]{12})$/;
const RUN = /^([0-9]{12})-([0-9]{12})-([0-9]{12})-[0-9a-f]{16}$/;
const STAGED = /^([0-9]{12})-[0-9a-f]{16}$/;

/** What a run's name tells of it. */
export interface RunName {
  /** That of the root when it was made. */
  readonly epoch: number;
  /** The slots that it covers: the first and the last. */
  readonly from: number;
  readonly to: number;
  /** 16 hexadecimal digits. */
  readonly random: string;
}

/** What the name of a large value tells. */
export interface StagedName {
  /** The slot that it was first meant for. */
  readonly slot: number;
  /** 16 hexadecimal digits. */
  readonly random: string;
}

/** Folders of one incarnation of a ledger, for lists. */
export const logFolder = (nonce: string): string => `${checkedNonce(nonce)}/log/`;
export const runFolder = (nonce: string): string => `${checkedNonce(nonce)}/run/`;
export const stagedFolder = (nonce: string): string => `${checkedNonce(nonce)}/staged/`;

/** An object that lies in the folder of a ledger that is being created with a state, until there is a root that names it. */
export const unfinishedKey = (nonce: string): string => `${checkedNonce(nonce)}/unfinished`;

export const slotKey = (nonce: string, slot: number): string => logFolder(nonce) + slotDigits(slot);

export const runKey = (nonce: string, { epoch, from, to, random }: RunName): string =>
  runFolder(nonce) + [epoch, from, to].map(slotDigits).join("-") + randomPart(random);

export const stagedKey = (nonce: string, { slot, random }: StagedName): string =>
  stagedFolder(nonce) + slotDigits(slot) + randomPart(random);

/** Lies there once the root has named an incarnation that a repair has begun. */
export const begunKey = (nonce: string): string => `${checkedNonce(nonce)}/begun`;

/** The nonce whose folder a key lies in; undefined for one that lies elsewhere. */
export function nonceOf(key: string): string | undefined {
  const nonce = key.slice(0, key.indexOf("/"));
  return NONCE.test(nonce) ? nonce : undefined;
}

/** The slot that a key of `logFolder` names; undefined for a name that nobody here has made. */
export function parseSlotKey(nonce: string, key: string): number | undefined {
  return numbersIn(logFolder(nonce), key, SLOT)?.[0];
}

/** What a key of `runFolder` names; undefined for a name that nobody here has made. */
export function parseRunKey(nonce: string, key: string): RunName | undefined {
  const [epoch, from, to] = numbersIn(runFolder(nonce), key, RUN) ?? [];
  return from >= 1 && from <= to ? { epoch, from, to, random: key.slice(-RANDOM_DIGITS) } : undefined;
}

/** What a key of `stagedFolder` names; undefined for a name that nobody here has made. */
export function parseStagedKey(nonce: string, key: string): StagedName | undefined {
  const [slot] = numbersIn(stagedFolder(nonce), key, STAGED) ?? [];
  return slot === undefined ? undefined : { slot, random: key.slice(-RANDOM_DIGITS) };
}

/** The slots and epochs in a name of this pattern. */
function numbersIn(folder: string, key: string, pattern: RegExp): number[] | undefined {
  const numbers = key.startsWith(folder) ? pattern.exec(key.slice(folder.length))?.slice(1).map(Number) : undefined;
  return numbers?.every((number) => number <= SLOT_MAX) === true ? numbers : undefined;
}

function slotDigits(slot: number): string {
  if (!Number.isSafeInteger(slot) || slot < 0 || slot > SLOT_MAX) throw new MalformedBytes(`no slot: ${slot}`);
  return slot.toString().padStart(SLOT_DIGITS, "0");
}

function checkedNonce(nonce: string): string {
  if (!NONCE.test(nonce)) throw new MalformedBytes(`no nonce: ${JSON.stringify(nonce)}`);
  return nonce;
}

function randomPart(random: string): string {
  if (!RANDOM.test(random)) throw new MalformedBytes(`no random part of a name: ${JSON.stringify(random)}`);
  return `-${random}`;
}
