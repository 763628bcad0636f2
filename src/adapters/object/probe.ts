import type { Environment } from "../../core/environment.ts";
import { equalBytes, toHex } from "../../core/bytes.ts";
import { InvalidArgumentError, KVError } from "../../core/errors.ts";
import type { CreateAnswer, GetAnswer, ObjectStore, ReplaceAnswer } from "./object-store.ts";

/** What a store has to have for several writers, in the order in which it is tried. */
export const PROBED = ["absent", "create", "replace", "read-after-write", "range", "list", "delete"] as const;

/** One of them. */
export type ProbedProperty = (typeof PROBED)[number];

/** What was found out about one property. */
export interface ProbeVerdict {
  readonly property: ProbedProperty;
  /** `unclear` where the store or the network failed too often to tell. A property that holds here may still not hold under other circumstances. */
  readonly verdict: "holds" | "fails" | "unclear";
  /** What contradicts it, or could not be found out; empty where it holds. */
  readonly details: readonly string[];
}

/** What was found out about a store. */
export interface ProbeReport {
  readonly store: string;
  /** True if every property holds. */
  readonly suitable: boolean;
  readonly verdicts: readonly ProbeVerdict[];
}

/** How a store is asked. */
export interface ProbeOptions {
  /** Clock, chance and timers: the `environment` of `foliokv`. */
  readonly environment: Environment;
  /** The same folder over connections of their own, as those of other clients. Where there are none, all requests go to the one store. */
  readonly connections?: readonly ObjectStore[] | undefined;
  /** How many write one object at the same time: a whole number from 2 on. Default 50. */
  readonly racers?: number | undefined;
  /** How many objects they race for: a whole number from 1 on. Default 20. */
  readonly keys?: number | undefined;
}

/** `probeStore`, without a look at its arguments. */
export async function probe(store: ObjectStore, options: ProbeOptions): Promise<ProbeReport> {
  const asking = new Probe(store, options);
  const verdicts: ProbeVerdict[] = [];
  for (const property of PROBED) verdicts.push(await asking.verdict(property));
  await asking.clean();
  return { store: store.name, suitable: verdicts.every(({ verdict }) => verdict === "holds"), verdicts };
}

/**
 * Throws `StoreUnsuitable`, which names what is missing, unless every property holds.
 *
 * @throws InvalidArgumentError `InvalidArgument` for what is no report of `probeStore`.
 */
export function requireSuitable(report: ProbeReport): void {
  if (!Array.isArray((report as ProbeReport | undefined | null)?.verdicts)) {
    throw new InvalidArgumentError("InvalidArgument", "requireSuitable: a report of probeStore is needed");
  }
  if (report.suitable) return;
  const missing = report.verdicts
    .filter(({ verdict }) => verdict !== "holds")
    .map(({ property, verdict, details }) => `${property} ${verdict} (${details[0]})`);
  throw new KVError("StoreUnsuitable", `${report.store} is not for several writers: ${missing.join("; ")}`);
}

const TRIES_MAX = 5;
const WAIT_MS = 100;
/** An object of the probe: enough for parts that differ from each other. */
const OBJECT_BYTES = 1000;
const DETAILS_MAX = 5;

class Probe {
  readonly #environment: Environment;
  readonly #stores: readonly ObjectStore[];
  readonly #racers: number;
  readonly #keys: number;
  readonly #folder: string;
  readonly #written: string[] = [];
  #fails: string[] = [];
  #unclear: string[] = [];

  constructor(store: ObjectStore, { environment, connections = [], racers = 50, keys = 20 }: ProbeOptions) {
    this.#environment = environment;
    this.#stores = [store, ...connections];
    this.#racers = racers;
    this.#keys = keys;
    this.#folder = `probe-${toHex(environment.randomBytes(8))}`;
  }

  async verdict(property: ProbedProperty): Promise<ProbeVerdict> {
    this.#fails = [];
    this.#unclear = [];
    await this.#checks[property]();
    const verdict = this.#fails.length > 0 ? "fails" : this.#unclear.length > 0 ? "unclear" : "holds";
    const details = verdict === "fails" ? this.#fails : this.#unclear;
    return { property, verdict, details: [...new Set(details)].slice(0, DETAILS_MAX) };
  }

  async clean(): Promise<void> {
    const [{ capabilities }] = this.#stores;
    const keys = [...new Set(this.#written)];
    while (keys.length > 0) {
      const pieces = Array.from({ length: capabilities.parallel }, () => keys.splice(0, capabilities.deleteKeysMax));
      // Whatever is left lies in a folder that nobody reads.
      await Promise.all(pieces.filter(({ length }) => length > 0).map((piece) => this.#store(0).delete(piece)));
    }
  }

  readonly #checks: Readonly<Record<ProbedProperty, () => Promise<void>>> = {
    absent: async () => {
      for (const i of this.#stores.keys()) {
        const whole = await this.#settled(() => this.#store(i).get(this.#key("absent")));
        const part = await this.#settled(() => this.#store(i).get(this.#key("absent"), { from: 0, length: 1 }));
        for (const { status } of [whole, part]) {
          if (status !== "absent") this.#note(status, `an object that is not there is "${status}"`);
        }
      }
    },

    create: async () => {
      for (let k = 0; k < this.#keys; k++) await this.#raceCreates(this.#key(`create/${k}`));
    },

    replace: async () => {
      const key = this.#key("replace");
      for (let k = 0; k < this.#keys; k++) {
        const etag = k === 0 ? await this.#created(key) : await this.#etag(key);
        if (etag === undefined) return;
        await this.#raceReplaces(key, etag);
        await this.#replaceLate(key, etag);
      }
    },

    "read-after-write": async () => {
      for (let k = 0; k < this.#keys; k++) await this.#readFresh(this.#key(`fresh/${k}`), k);
    },

    range: async () => {
      const key = this.#key("range");
      const bytes = this.#content();
      await this.#create(key, bytes);
      for (const [from, length] of [
        [0, 10],
        [500, 1],
        [OBJECT_BYTES - 10, 10],
        [OBJECT_BYTES - 10, 50],
      ]) {
        const answer = await this.#settled(() => this.#store(from).get(key, { from, length }));
        const expected = bytes.subarray(from, from + length);
        const isRight = answer.status === "found" && equalBytes(answer.bytes, expected) && answer.size === OBJECT_BYTES;
        if (!isRight) this.#note(answer.status, `${length} bytes from ${from} on are "${answer.status}", or others`);
      }
      const { status } = await this.#settled(() => this.#store(0).get(key, { from: OBJECT_BYTES + 5, length: 5 }));
      if (status !== "beyond") this.#note(status, `a part behind the end is "${status}"`);
    },

    list: async () => {
      const keys = ["a-b", "a.b", "a/b", "a0b", "aAb"].map((name) => this.#key(`list/${name}`));
      for (const [i, key] of keys.entries()) {
        await this.#create(key, this.#content());
        const found: string[] = [];
        for (let more = true; more;) {
          const after = found.at(-1);
          const answer = await this.#settled(() =>
            this.#store(i).list(this.#key("list/"), { limit: 2, ...(after === undefined ? {} : { after }) }),
          );
          if (answer.status !== "listed") return this.#note(answer.status, `a list is "${answer.status}"`);
          found.push(...answer.objects.map((object) => object.key));
          more = answer.more && found.length <= keys.length;
        }
        if (found.join() !== keys.slice(0, i + 1).join())
          return this.#fail("a list is not of what was written, in order");
      }
    },

    delete: async () => {
      const key = this.#key("delete");
      await this.#create(key, this.#content());
      const { status } = await this.#settled(() => this.#store(0).delete([key]));
      if (status !== "deleted") return this.#note(status, `a delete is "${status}"`);
      for (const i of this.#stores.keys()) await this.#expectAbsent(i, key, "deleted");
    },
  };

  async #raceCreates(key: string): Promise<void> {
    const contents = Array.from({ length: this.#racers }, () => this.#content());
    this.#written.push(key);
    const answers = await Promise.all(contents.map((bytes, i) => this.#store(i).create(key, bytes)));
    const isThere = await this.#judge(key, { answers, contents, won: "created", before: undefined });
    if (!isThere) return;
    const again = await this.#store(1).create(key, this.#content());
    if (again.status === "created") this.#fail("a create overwrites what is there");
  }

  async #raceReplaces(key: string, etag: string): Promise<void> {
    const contents = Array.from({ length: this.#racers }, () => this.#content());
    const before = await this.#settled(() => this.#store(0).get(key));
    const answers = await Promise.all(contents.map((bytes, i) => this.#store(i).replace(key, bytes, etag)));
    await this.#judge(key, { answers, contents, won: "replaced", before });
  }

  /**
   * One winner at most, whose bytes stay; without one, only somebody whose fate is not certain can have written. True if there is an object in the
   * end.
   */
  async #judge(
    key: string,
    race: {
      readonly answers: readonly (CreateAnswer | ReplaceAnswer)[];
      readonly contents: readonly Uint8Array[];
      readonly won: "created" | "replaced";
      readonly before: GetAnswer | undefined;
    },
  ): Promise<boolean> {
    const { answers, contents, won, before } = race;
    let isThere = true;
    const having = (status: string): Uint8Array[] => contents.filter((_, i) => answers[i].status === status);
    const winners = having(won);
    if (winners.length > 1) this.#fail(`several of those who race for one object are told "${won}"`);
    for (const answer of answers) {
      if (answer.status === "denied" || answer.status === "refused") this.#fail(answer.error.message);
    }
    const possible = winners.length > 0 ? winners : having("ambiguous");
    if (winners.length === 0) this.#unclear.push(`nobody was told "${won}"`);
    for (const i of this.#stores.keys()) {
      const answer = await this.#settled(() => this.#store(i).get(key));
      if (answer.status === "found") {
        const isOld = winners.length === 0 && before?.status === "found" && equalBytes(before.bytes, answer.bytes);
        const isPossible = possible.some((bytes) => equalBytes(bytes, answer.bytes));
        if (!isPossible && !isOld) this.#fail(`what is read is not the bytes of who was told "${won}"`);
        continue;
      }
      isThere = false;
      if (answer.status !== "absent" || winners.length > 0) {
        this.#note(answer.status, `what somebody has ${won} is "${answer.status}"`);
      }
    }
    return isThere;
  }

  /** An etag of the past, also one after which the object was written twice. */
  async #replaceLate(key: string, etag: string): Promise<void> {
    const present = await this.#etag(key);
    if (present === undefined || present === etag) return;
    await this.#store(0).replace(key, this.#content(), present);
    for (const stale of [etag, present]) {
      if ((await this.#etag(key)) === stale) continue;
      const { status } = await this.#store(1).replace(key, this.#content(), stale);
      if (status === "replaced") this.#fail("a replace with an etag of the past takes place");
      else if (status !== "changed") this.#note(status, `a replace with an etag of the past is "${status}"`);
    }
    const { status } = await this.#store(0).replace(this.#key("absent"), this.#content(), etag);
    if (status === "replaced") this.#fail("a replace writes an object that is not there");
  }

  async #readFresh(key: string, k: number): Promise<void> {
    for (const i of this.#stores.keys()) await this.#expectAbsent(i, key, "not written yet");
    const first = this.#content();
    if (!(await this.#create(key, first))) return;
    const found = await this.#expectBytes(k, key, first, "created");
    if (found === undefined) return;
    const second = this.#content();
    const { status } = await this.#store(k).replace(key, second, found);
    if (status !== "replaced") return this.#note(status, `a replace that nobody contests is "${status}"`);
    for (const i of this.#stores.keys()) await this.#expectBytes(i + k, key, second, "replaced");
  }

  async #expectAbsent(i: number, key: string, why: string): Promise<void> {
    const { status } = await this.#settled(() => this.#store(i).get(key));
    if (status !== "absent") this.#note(status, `an object that was ${why} is "${status}"`);
  }

  /** Resolves with the etag, if that is what is read. */
  async #expectBytes(i: number, key: string, bytes: Uint8Array, why: string): Promise<string | undefined> {
    const answer = await this.#settled(() => this.#store(i).get(key));
    if (answer.status === "found" && equalBytes(answer.bytes, bytes)) return answer.etag;
    const what = answer.status === "found" ? "read with other bytes" : `"${answer.status}"`;
    this.#note(answer.status, `what was just ${why} is ${what}`);
    return undefined;
  }

  async #etag(key: string): Promise<string | undefined> {
    const answer = await this.#settled(() => this.#store(0).get(key));
    if (answer.status === "found") return answer.etag;
    this.#note(answer.status, `an object that was written is "${answer.status}"`);
    return undefined;
  }

  async #created(key: string): Promise<string | undefined> {
    return (await this.#create(key, this.#content())) ? await this.#etag(key) : undefined;
  }

  /** Creates an object that nobody else does. */
  async #create(key: string, bytes: Uint8Array): Promise<boolean> {
    this.#written.push(key);
    for (let tries = 1; ; tries++) {
      const { status } = await this.#store(0).create(key, bytes);
      if (status === "created") return true;
      const found = await this.#settled(() => this.#store(0).get(key));
      if (found.status === "found" && equalBytes(found.bytes, bytes)) return true;
      if (tries >= TRIES_MAX || status === "denied" || status === "refused" || found.status === "found") {
        this.#note(status, `a create that nobody contests is "${status}"`);
        return false;
      }
      await this.#wait(tries);
    }
  }

  /** Asks again while the store is unavailable, some times. */
  async #settled<A extends { readonly status: string }>(ask: () => Promise<A>): Promise<A> {
    for (let tries = 1; ; tries++) {
      const answer = await ask();
      if (answer.status !== "unavailable" || tries >= TRIES_MAX) return answer;
      await this.#wait(tries);
    }
  }

  #wait(tries: number): Promise<void> {
    const ms = WAIT_MS * 2 ** tries * this.#environment.random();
    return new Promise((resolve) => void this.#environment.setTimer(resolve, ms, { ref: true }));
  }

  #store(i: number): ObjectStore {
    return this.#stores[i % this.#stores.length];
  }

  #key(name: string): string {
    return `${this.#folder}/${name}`;
  }

  #content(): Uint8Array {
    return this.#environment.randomBytes(OBJECT_BYTES);
  }

  #fail(detail: string): void {
    this.#fails.push(detail);
  }

  /** What a store that could not answer did proves nothing. */
  #note(status: string, detail: string): void {
    if (status === "unavailable" || status === "ambiguous" || status === "conflict") this.#unclear.push(detail);
    else this.#fail(detail);
  }
}
