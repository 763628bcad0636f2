import type { Environment } from "../../src/core/environment.ts";
import type { ByteRange, ObjectStore, StoreRequest } from "../../src/adapters/object/object-store.ts";
import { FaultyStore, type StoreFate } from "../../src/testing/faulty-store.ts";
import type { NetworkFaults } from "./bucket-profile.ts";
import type { Random } from "./random.ts";
import { Process, type World } from "./world.ts";

const STORM_MS = 5000;
const HEALED_MS = 20;
const GIVES_UP_MS = 1000;
const PARKED_MS = [10_000, 360_000, 10_800_000];
const LANDS_MS = [2000, 60_000, 7_200_000];

/**
 * What lies between processes and the store. A request that was sent is on its way whatever becomes of its sender, and its answer waits for a
 * sender that is frozen. The faults themselves are those of the shipped fault layer.
 */
export class Network {
  readonly #world: World;
  readonly #store: ObjectStore;
  readonly #random: Random;
  /** Carries what is under way. */
  readonly #carrier: Process;
  #faults: NetworkFaults;
  #stormEnds = -Infinity;
  /** Nothing is on its way for longer. */
  #wayMsMax = Infinity;
  readonly #carriers: FaultyStore[] = [];
  /** Writes that have no answer yet, also of who is dead by now. */
  #writes = 0;
  /** Told of a process that dies as it sends a request. */
  died: (process: Process) => void = () => undefined;
  /** Told when a request of a process meets trouble: from then on it may have to leave something open. */
  trouble: (process: Process) => void = () => undefined;

  constructor(world: World, store: ObjectStore, faults: NetworkFaults) {
    this.#world = world;
    this.#store = store;
    this.#faults = faults;
    this.#random = world.random.fork();
    this.#carrier = new Process(world, "network");
  }

  /** No write is on its way any more, whoever has sent it. */
  get isQuiet(): boolean {
    return this.#writes === 0 && this.#carriers.every(({ underWay }) => underWay === 0);
  }

  /** From now on nothing goes wrong, and what was on its way arrives. */
  heal(): void {
    const { delayMsMax } = this.#faults;
    this.#faults = {
      unsent: 0,
      answerLost: 0,
      late: 0,
      conflict: 0,
      twice: 0,
      truncated: 0,
      storm: 0,
      parked: 0,
      crash: 0,
      delayMsMax: Math.min(HEALED_MS, delayMsMax),
    };
    this.#stormEnds = -Infinity;
    this.#wayMsMax = HEALED_MS;
    this.#carrier.hurry();
  }

  /** The store as a process reaches it. */
  storeFor(process: Process): ObjectStore {
    const environment: Environment = {
      ...this.#carrier.environment,
      setTimer: (callback, ms, options) =>
        this.#carrier.environment.setTimer(callback, Math.min(ms, this.#wayMsMax), options),
    };
    const fate = (request: StoreRequest): StoreFate => this.#fate(process, request);
    const faulty = new FaultyStore(this.#sentTwice(process), { environment, fate });
    this.#carriers.push(faulty);
    const write = <A>(answer: Promise<A>): Promise<A> => {
      this.#writes++;
      return answer.finally(() => this.#writes--);
    };
    const pass = <A extends { readonly status: string }>(what: string, send: () => Promise<A>): Promise<A> => {
      if (!process.isAlive || this.#crashes(process, what)) return never();
      const answer = send();
      this.#crashes(process, `${what}, which is sent`);
      return new Promise((resolve) => {
        void answer.then((answered) => {
          this.#world.note(process.name, () => `  ${what}: ${answered.status}`);
          process.later(`has the answer to ${what}`, 0, () => resolve(answered));
        });
      });
    };
    return {
      name: faulty.name,
      capabilities: faulty.capabilities,
      get: (key, range) => pass(`get ${key}${show(range)}`, () => faulty.get(key, range)),
      create: (key, bytes) => pass(`create ${key}`, () => write(faulty.create(key, bytes))),
      replace: (key, bytes, etag) => pass(`replace ${key}`, () => write(faulty.replace(key, bytes, etag))),
      list: (prefix, options) => pass(`list ${prefix}`, () => faulty.list(prefix, options)),
      delete: (keys) => pass(`delete ${keys.join(" ")}`, () => write(faulty.delete(keys))),
    };
  }

  /** The store, of which some answers are to a request that it has got before. */
  #sentTwice(process: Process): ObjectStore {
    const store = this.#store;
    const repeats = (what: string): boolean => {
      if (!this.#random.chance(this.#faults.twice)) return false;
      this.#world.note(process.name, () => `${what} is sent twice`);
      this.trouble(process);
      return true;
    };
    return {
      name: store.name,
      capabilities: store.capabilities,
      get: (key, range) => store.get(key, range),
      create: async (key, bytes) => {
        if (repeats(`create ${key}`)) await store.create(key, bytes);
        return await store.create(key, bytes);
      },
      replace: async (key, bytes, etag) => {
        if (repeats(`replace ${key}`)) await store.replace(key, bytes, etag);
        return await store.replace(key, bytes, etag);
      },
      list: (prefix, options) => store.list(prefix, options),
      delete: (keys) => store.delete(keys),
    };
  }

  #crashes(process: Process, what: string): boolean {
    if (!process.isAlive || !this.#random.chance(this.#faults.crash / 2)) return false;
    this.#world.note(process.name, () => `dies with ${what}`);
    process.kill();
    this.died(process);
    return true;
  }

  #fate(process: Process, request: StoreRequest): StoreFate {
    const random = this.#random;
    const { unsent, answerLost, late, conflict, truncated, storm, parked, delayMsMax } = this.#faults;
    const draw = (): number => 0.01 + random.next() * delayMsMax * (random.chance(0.05) ? 10 : 1);
    const delayMs = { there: draw(), back: draw() };
    const told = (fate: StoreFate): StoreFate => {
      this.trouble(process);
      this.#world.note(
        process.name,
        () => `${request.kind} ${request.keys.join(" ")} is to meet ${JSON.stringify(fate)}`,
      );
      return fate;
    };
    if (random.chance(storm)) this.#stormEnds = this.#world.now + STORM_MS;
    if (this.#world.now < this.#stormEnds) return told({ fault: { kind: "overloaded" }, delayMs });
    if (random.chance(unsent)) return told({ fault: { kind: "unsent" }, delayMs });
    if (random.chance(answerLost)) return told({ fault: { kind: "answer-lost" }, delayMs });
    if (random.chance(late)) {
      const landsMs = random.next() * random.pick(LANDS_MS);
      return told({ fault: { kind: "late", givesUpMs: GIVES_UP_MS, landsMs }, delayMs });
    }
    if (random.chance(conflict)) return told({ fault: { kind: "conflict" }, delayMs });
    if (random.chance(truncated)) return told({ fault: { kind: "truncated" }, delayMs });
    if (!random.chance(parked)) return { delayMs };
    const parkedMs = random.next() * random.pick(PARKED_MS);
    return told({ delayMs: random.chance(0.5) ? { ...delayMs, there: parkedMs } : { ...delayMs, back: parkedMs } });
  }
}

function show(range: ByteRange | undefined): string {
  return range === undefined ? "" : ` from ${range.from}, ${range.length} bytes`;
}

function never<T>(): Promise<T> {
  return new Promise(() => undefined);
}
