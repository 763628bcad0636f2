import { createHash } from "node:crypto";
import { nodeEnvironment } from "../../src/platform/environment-node.ts";
import { memoryStore } from "../../src/adapters/object/memory-store.ts";
import type { ObjectStore } from "../../src/adapters/object/object-store.ts";
import { decodeRoot, type Root } from "../../src/adapters/object/root.ts";
import { decodeSlot, type DecodedSlot, SLOT_VERSIONS } from "./bucket-slot.ts";
import type { World } from "./world.ts";

/** A slot that was created, whatever has become of it since. */
export interface CreatedSlot {
  readonly nonce: string;
  readonly slot: number;
  readonly bytes: Buffer;
  readonly decoded: DecodedSlot;
}

/** One incarnation of the ledger, with everything that was ever created for it. */
export interface Incarnation {
  readonly ledgerId: string;
  readonly nonce: string;
  readonly slots: CreatedSlot[];
  /** Where a history may begin: the slots that were ever the lowest to be retained. */
  readonly floors: Set<number>;
}

export interface BucketOptions {
  readonly tellsTime: boolean;
  /** How far the store's clock is ahead, in ms. */
  readonly clockOffset: number;
  /** How long everybody keeps slots that nobody needs. */
  readonly graceMs: number;
}

/** `<nonce>/<folder>/<name>` */
const KEY = /^([0-9a-f]{32})\/(log|run|staged)\/(.+)$/;

/**
 * The bucket: one store for everybody. It forgets what is deleted, as stores do; what was ever created is kept aside, so that it is known what
 * happened, and what nobody may delete is watched over.
 */
export class Bucket {
  readonly store: ObjectStore;
  readonly #world: World;
  /** The oldest one first. */
  readonly incarnations: Incarnation[] = [];
  /** Slots of incarnations that have no root any more when they come. */
  readonly strays: CreatedSlot[] = [];
  /** Every object of a nonce's folders that was ever created, by key. */
  readonly #created = new Map<string, Buffer>();
  readonly #deleted = new Set<string>();
  #root: Root | undefined;
  /** The store's time, in whole seconds; undefined where it tells none. */
  readonly #time: () => number | undefined;
  readonly #graceMs: number;
  /** By slot of the present incarnation: when it was created, and since when a root has said that nobody needs it. */
  #createdAt = new Map<number, number>();
  #unneededSince = new Map<number, number>();

  constructor(world: World, options: BucketOptions) {
    this.#world = world;
    this.#graceMs = options.graceMs;
    const now = (): number => world.wallClock() + options.clockOffset;
    this.#time = () => (options.tellsTime ? Math.floor(now() / 1000) * 1000 : undefined);
    const store = memoryStore({ name: "bucket", ...(options.tellsTime && { now }) });
    this.store = {
      name: store.name,
      capabilities: store.capabilities,
      get: (key, range) => store.get(key, range),
      list: (prefix, listOptions) => store.list(prefix, listOptions),
      create: async (key, bytes) => {
        const answer = await store.create(key, bytes);
        if (answer.status === "created") this.#put(key, Buffer.from(bytes));
        return answer;
      },
      replace: async (key, bytes, etag) => {
        const answer = await store.replace(key, bytes, etag);
        if (answer.status === "replaced") this.#put(key, Buffer.from(bytes));
        return answer;
      },
      delete: async (keys) => {
        for (const key of keys) this.#watchOver(key);
        for (const key of keys) this.#deleted.add(key);
        return await store.delete(keys);
      },
    };
  }

  /** The incarnation that the root names; undefined while there is none. */
  get present(): Incarnation | undefined {
    return this.#root === undefined ? undefined : this.incarnations.at(-1);
  }

  /** The version of the newest commit, 0 if there is none. */
  get newest(): number {
    const last = this.present?.slots.at(-1);
    return last === undefined ? 0 : last.slot * SLOT_VERSIONS + last.decoded.commits.length - 1;
  }

  get root(): Root | undefined {
    return this.#root;
  }

  /** A slot, and all those that it continues, the oldest one first. */
  chainTo(slot: CreatedSlot): CreatedSlot[] {
    const all = [...this.strays, ...this.incarnations.flatMap(({ slots }) => slots)];
    const chain = [slot];
    for (let first: CreatedSlot | undefined = slot; first !== undefined;) {
      const { predecessor }: DecodedSlot = first.decoded;
      first = all.find(({ bytes }) => sha256(bytes).equals(predecessor));
      if (first !== undefined) chain.unshift(first);
    }
    return chain;
  }

  /** What a slot refers to, whether it is still there or not. */
  staged(nonce: string, name: string): Buffer | undefined {
    return this.#created.get(`${nonce}/staged/${name}`);
  }

  /** Somebody deletes everything, the root first. */
  async clear(): Promise<void> {
    this.#root = undefined;
    await this.store.delete(["root"]);
    await this.clearRest();
  }

  async clearRest(): Promise<void> {
    const listed = await this.store.list("");
    if (listed.status !== "listed" || listed.objects.length === 0) return;
    // By now somebody may have begun another one.
    if ((await this.store.get("root")).status === "found") return;
    await this.store.delete(listed.objects.map(({ key }) => key).filter((key) => key !== "root"));
  }

  /** The contents of all that is there, for telling runs apart. */
  digest(): string {
    const hash = createHash("sha256");
    for (const [key, bytes] of this.#created) hash.update(key).update(bytes);
    return hash.digest("hex");
  }

  #put(key: string, bytes: Buffer): void {
    if (key === "root") return this.#putRoot(bytes);
    const [, nonce, folder, name] = KEY.exec(key) ?? [];
    if (nonce === undefined) return;
    const isFirst = !this.#created.has(key);
    if (isFirst) this.#created.set(key, bytes);
    this.#deleted.delete(key);
    if (folder !== "log") return;
    const slot = { nonce, slot: Number(name), bytes, decoded: decodeSlot(bytes) };
    const incarnation = this.incarnations.find((each) => each.nonce === nonce);
    const isPresent = incarnation !== undefined && incarnation === this.present;
    if (!isPresent) this.strays.push(slot);
    else if (isFirst) this.#putSlot(incarnation, slot);
    else if ((this.#root?.floor ?? 0) <= slot.slot)
      this.#world.fail(`slot ${slot.slot} was created a second time, above the floor`);
  }

  #putSlot(incarnation: Incarnation, slot: CreatedSlot): void {
    const before = incarnation.slots.at(-1);
    const time = this.#time();
    if (time !== undefined) this.#createdAt.set(slot.slot, time);
    incarnation.slots.push(slot);
    if (slot.slot !== (before?.slot ?? 0) + 1) this.#world.fail(`slot ${slot.slot} follows slot ${before?.slot ?? 0}`);
    if (slot.decoded.nonce !== slot.nonce || slot.decoded.slot !== slot.slot)
      this.#world.fail(`slot ${slot.slot} says that it is slot ${slot.decoded.slot}`);
    const expected = before === undefined ? Buffer.alloc(32) : sha256(before.bytes);
    if (!slot.decoded.predecessor.equals(expected))
      this.#world.fail(`slot ${slot.slot} does not continue the one before`);
    for (const { holes } of slot.decoded.commits)
      for (const hole of holes) this.#mustBeThere(`${slot.nonce}/staged/${hole.name}`, `slot ${slot.slot}`);
  }

  #putRoot(bytes: Buffer): void {
    const { root } = decodeRoot(bytes, nodeEnvironment.crc32, "bucket");
    const { ledgerId, nonce } = root;
    if (this.#root === undefined) {
      this.#createdAt = new Map();
      this.#unneededSince = new Map();
      this.incarnations.push({ ledgerId, nonce, slots: [], floors: new Set() });
    }
    for (const run of root.runs)
      this.#mustBeThere(
        `${nonce}/run/${digits(run.epoch)}-${digits(run.from)}-${digits(run.to)}-${run.random}`,
        "the root",
      );
    this.#root = root;
    this.present?.floors.add(root.floor);
    this.#watchFloor(root);
  }

  /** Where the store tells its time, it is known when slots were old enough, and since when a floor is in force. */
  #watchFloor(root: Root): void {
    const time = this.#time();
    if (time === undefined) return;
    for (let slot = root.firstSlot; slot < root.floor; slot++) {
      if (this.#unneededSince.has(slot)) continue;
      this.#unneededSince.set(slot, time);
      if (time - (this.#createdAt.get(slot) ?? 0) < this.#graceMs)
        this.#world.fail(`the floor is raised above slot ${slot}, which is young`);
    }
    const since = this.#unneededSince.get(root.floor - 1);
    if (root.floorAt !== undefined && since !== undefined && root.floorAt < since)
      this.#world.fail(`floor ${root.floor} is said to have been in force at ${root.floorAt}; it was at ${since}`);
  }

  #mustBeThere(key: string, who: string): void {
    if (!this.#created.has(key) || this.#deleted.has(key))
      this.#world.fail(`${who} refers to ${key}, which is not there`);
  }

  /** Nobody may delete what others are to find. */
  #watchOver(key: string): void {
    const root = this.#root;
    const [, nonce, folder, name = ""] = KEY.exec(key) ?? [];
    if (root === undefined || nonce !== root.nonce) return;
    if (folder === "log" && Number(name) >= root.floor) this.#world.fail(`slot ${name} is deleted, above the floor`);
    const unneededMs = (this.#time() ?? Infinity) - (this.#unneededSince.get(Number(name)) ?? -Infinity);
    if (folder === "log" && unneededMs < this.#graceMs)
      this.#world.fail(`slot ${name} is deleted ${unneededMs} ms after the floor was raised above it`);
    if (folder === "run" && root.runs.some(({ random }) => name.endsWith(random)))
      this.#world.fail(`run ${name} is deleted, which the root names`);
    const users = (this.present?.slots ?? []).filter(({ slot }) => folder === "staged" && slot >= root.floor);
    for (const { slot, decoded } of users)
      if (decoded.commits.some(({ holes }) => holes.some((hole) => hole.name === name)))
        this.#world.fail(`${name} is deleted, which slot ${slot} refers to`);
  }
}

function sha256(bytes: Buffer): Buffer {
  return createHash("sha256").update(bytes).digest();
}

function digits(slot: number): string {
  return slot.toString().padStart(12, "0");
}
