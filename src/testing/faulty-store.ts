import type { Environment } from "../core/environment.ts";
import { KVError } from "../core/errors.ts";
import type {
  ByteRange,
  CreateAnswer,
  DeleteAnswer,
  GetAnswer,
  ListAnswer,
  ListOptions,
  ObjectStore,
  ReplaceAnswer,
  StoreCapabilities,
  StoreRequest,
  Told,
} from "../adapters/object/object-store.ts";
import { seeded } from "./seeded.ts";

/**
 * What befalls one request between its sender and the store.
 *
 * - `unsent`: it never reaches the store. The sender cannot know that.
 * - `answer-lost`: the store has done it; the answer is lost.
 * - `late`: the sender gives up after `givesUpMs`; the store does it after `landsMs`, however long that is.
 * - `overloaded`: the store answers 503 and does nothing. The sender of a write cannot rely on that.
 * - `conflict`: the store answers a write with 409 and does nothing. Reads are not concerned.
 * - `truncated`: half of the bytes of a read arrive, and look like all of them. Writes are not concerned.
 */
export type StoreFault =
  | { readonly kind: "unsent" | "answer-lost" | "overloaded" | "conflict" | "truncated" }
  | { readonly kind: "late"; readonly givesUpMs: number; readonly landsMs: number };

/** The fate of one request. Nothing at all is a good fate. */
export interface StoreFate {
  readonly fault?: StoreFault;
  /** How long it is under way, and its answer, in ms of the environment's time. */
  readonly delayMs?: { readonly there: number; readonly back: number };
}

export interface FaultyStoreOptions {
  /** Its timers are the only ones that are waited for, so that hours may be simulated. */
  readonly environment: Environment;
  /** Asked before each request. Default: nothing befalls anybody. */
  readonly fate?: (request: StoreRequest) => StoreFate | undefined;
}

/** Where a request is parked: before the store has got it, or on the way back, when the store has done it. */
export type ParkingPlace = "before" | "after";

/** Parks the first request that it is meant for. */
export interface Gate {
  /** Resolves when the request stands at the gate. */
  readonly arrived: Promise<StoreRequest>;
  /** Lets the request go on; with `lose` its answer is lost on the way back. Before `arrived`: the gate parks nobody any more. */
  open(options?: { readonly lose?: boolean }): void;
}

interface GateState {
  readonly wants: (request: StoreRequest) => boolean;
  readonly place: ParkingPlace;
  readonly arrive: (request: StoreRequest) => void;
  readonly opened: Promise<boolean>;
}

/**
 * Stands between an adapter and a store, and does to requests what networks and stores do. Same fates and same environment: same course of
 * events.
 */
export class FaultyStore implements ObjectStore {
  readonly name: string;
  readonly capabilities: StoreCapabilities;
  readonly #store: ObjectStore;
  readonly #environment: Environment;
  #fate: (request: StoreRequest) => StoreFate | undefined;
  #gates: GateState[] = [];
  /** Writes that their senders have given up and that have not landed yet. */
  #underWay = 0;

  constructor(store: ObjectStore, options: FaultyStoreOptions) {
    this.name = store.name;
    this.capabilities = store.capabilities;
    this.#store = store;
    this.#environment = options.environment;
    this.#fate = options.fate ?? (() => undefined);
  }

  /** How many late requests the store has not got yet. */
  get underWay(): number {
    return this.#underWay;
  }

  /** From now on, something else befalls requests. */
  set fate(fate: (request: StoreRequest) => StoreFate | undefined) {
    this.#fate = fate;
  }

  /** Parks the next request that `wants` it. */
  gate(wants: (request: StoreRequest) => boolean, place: ParkingPlace): Gate {
    let arrive: (request: StoreRequest) => void = () => undefined;
    let open: (lose: boolean) => void = () => undefined;
    const arrived = new Promise<StoreRequest>((resolve) => (arrive = resolve));
    const opened = new Promise<boolean>((resolve) => (open = resolve));
    const state = { wants, place, arrive, opened };
    this.#gates.push(state);
    return {
      arrived,
      open: (options = {}) => {
        this.#gates = this.#gates.filter((each) => each !== state);
        open(options.lose ?? false);
      },
    };
  }

  get(key: string, range?: ByteRange): Promise<GetAnswer> {
    const request: StoreRequest = { kind: "get", keys: [key], range };
    return this.#read(request, async () => await this.#store.get(key, range));
  }

  list(prefix: string, options?: ListOptions): Promise<ListAnswer> {
    return this.#read({ kind: "list", keys: [prefix] }, async () => await this.#store.list(prefix, options));
  }

  delete(keys: readonly string[]): Promise<DeleteAnswer> {
    return this.#read({ kind: "delete", keys: [...keys] }, async () => await this.#store.delete(keys));
  }

  create(key: string, bytes: Uint8Array): Promise<CreateAnswer> {
    // A late request is made when its sender may long have used the bytes for something else.
    const sent = bytes.slice();
    const request: StoreRequest = { kind: "create", keys: [key], bytes: sent };
    return this.#write(request, async () => await this.#store.create(key, sent));
  }

  replace(key: string, bytes: Uint8Array, etag: string): Promise<ReplaceAnswer> {
    const sent = bytes.slice();
    const request: StoreRequest = { kind: "replace", keys: [key], bytes: sent };
    return this.#write(request, async () => await this.#store.replace(key, sent, etag));
  }

  async #read<A extends Answer>(request: StoreRequest, ask: () => Promise<A>): Promise<A | UnavailableFault> {
    const { answer, fault } = await this.#pass(request, ask);
    if (answer === undefined) return { status: "unavailable", error: failed(request, fault), time: undefined };
    return fault === "truncated" ? truncated(answer) : answer;
  }

  async #write<A extends Answer>(request: StoreRequest, ask: () => Promise<A>): Promise<A | WriteFault> {
    const { answer, fault } = await this.#pass(request, ask);
    if (answer !== undefined) return answer;
    if (fault === "conflict") return { status: "conflict", time: undefined };
    return { status: "ambiguous", error: failed(request, fault), time: undefined };
  }

  /** An answer, if one comes back. */
  async #pass<A>(
    request: StoreRequest,
    ask: () => Promise<A>,
  ): Promise<{ readonly answer?: A; readonly fault?: StoreFault["kind"] }> {
    const { fault, delayMs } = this.#fate(request) ?? {};
    const kind = fault?.kind;
    await this.#park(request, "before");
    await this.#sleep(delayMs?.there ?? 0);
    if (fault?.kind === "late") return await this.#passLate(fault, ask);
    const isWrite = request.kind === "create" || request.kind === "replace";
    const isStopped = kind === "unsent" || kind === "overloaded" || (kind === "conflict" && isWrite);
    const answer = isStopped ? undefined : await ask();
    const isLost = await this.#park(request, "after");
    await this.#sleep(delayMs?.back ?? 0);
    if (answer === undefined || isLost || kind === "answer-lost") {
      return kind === undefined || isLost ? { fault: "answer-lost" } : { fault: kind };
    }
    return kind === undefined ? { answer } : { answer, fault: kind };
  }

  async #passLate<A>(
    { givesUpMs, landsMs }: { readonly givesUpMs: number; readonly landsMs: number },
    ask: () => Promise<A>,
  ): Promise<{ readonly fault: "late" }> {
    this.#underWay++;
    const land = async (): Promise<void> => {
      await this.#sleep(landsMs);
      await ask();
      this.#underWay--;
    };
    void land();
    await this.#sleep(givesUpMs);
    return { fault: "late" };
  }

  /** True if the answer is lost. */
  async #park(request: StoreRequest, place: ParkingPlace): Promise<boolean> {
    const gate = this.#gates.find((each) => each.place === place && each.wants(request));
    if (gate === undefined) return false;
    this.#gates = this.#gates.filter((each) => each !== gate);
    gate.arrive(request);
    return await gate.opened;
  }

  async #sleep(ms: number): Promise<void> {
    if (ms <= 0) return;
    await new Promise<void>((resolve) => void this.#environment.setTimer(resolve, ms, { ref: true }));
  }
}

type Answer = Told & { readonly status: string };
type UnavailableFault = Extract<GetAnswer, { readonly status: "unavailable" }>;
type WriteFault = Extract<CreateAnswer, { readonly status: "ambiguous" | "conflict" }>;

function failed({ kind, keys }: StoreRequest, fault: StoreFault["kind"] = "answer-lost"): KVError {
  return new KVError("InputOutput", `The ${kind} of ${keys.join(", ")} failed, as asked for: ${fault}`);
}

function truncated<A extends Answer>(answer: A): A {
  const { bytes } = answer as { readonly bytes?: Uint8Array };
  return bytes === undefined ? answer : { ...answer, bytes: bytes.slice(0, bytes.length >> 1) };
}

/** How often what befalls requests, as probabilities from 0 to 1, each for itself, in this order. */
export interface StoreFaultRates {
  readonly unsent?: number;
  readonly answerLost?: number;
  /** Given up after a second; lands any time up to `lateMsMax`. */
  readonly late?: number;
  readonly conflict?: number;
  readonly truncated?: number;
  /** That a storm begins with this request: for `stormMs` every request of everybody is told 503. */
  readonly storm?: number;
  /** Default one hour. */
  readonly lateMsMax?: number;
  /** Default 5,000. */
  readonly stormMs?: number;
  /** Each way takes from 0 to so many ms. Default 0. */
  readonly delayMsMax?: number;
}

const HOUR = 3_600_000;
const GIVES_UP_MS = 1000;

/** Fates drawn by a seed: the same seed and the same requests, in the same order at the same times, have the same fates. */
export function seededFates(
  seed: number,
  rates: StoreFaultRates,
  environment: Environment,
): (request: StoreRequest) => StoreFate {
  const random = seeded(seed);
  const { lateMsMax = HOUR, stormMs = 5000, delayMsMax = 0 } = rates;
  let stormEnds = -Infinity;
  return () => {
    const delayMs = { there: random() * delayMsMax, back: random() * delayMsMax };
    const lands = random() * lateMsMax;
    // Everything is drawn each time: other rates for one fault leave the draws of the others as they are.
    const draws = Array.from({ length: 6 }, random);
    const hits = (i: number, rate: number | undefined): boolean => draws[i] < (rate ?? 0);
    const now = environment.monotonic();
    if (hits(0, rates.storm) && now >= stormEnds) stormEnds = now + stormMs;
    if (now < stormEnds) return { fault: { kind: "overloaded" }, delayMs };
    if (hits(1, rates.unsent)) return { fault: { kind: "unsent" }, delayMs };
    if (hits(2, rates.answerLost)) return { fault: { kind: "answer-lost" }, delayMs };
    if (hits(3, rates.late)) return { fault: { kind: "late", givesUpMs: GIVES_UP_MS, landsMs: lands }, delayMs };
    if (hits(4, rates.conflict)) return { fault: { kind: "conflict" }, delayMs };
    if (hits(5, rates.truncated)) return { fault: { kind: "truncated" }, delayMs };
    return { delayMs };
  };
}
