import type { Environment } from "../../core/environment.ts";
import { equalBytes, toHex } from "../../core/bytes.ts";
import { KVError } from "../../core/errors.ts";
import type { CreateAnswer, ObjectStore, ReplaceAnswer } from "./object-store.ts";
import { retryReads } from "./retry-reads.ts";
import { deleteAll } from "./several.ts";
import { pause } from "./site.ts";
import type { StoreAnswer } from "./store-layer.ts";

/** What a store has to have for several writers, in the order in which it is tried. */
export const PROBED = ["absent", "create", "replace", "read-after-write", "range", "list", "delete"] as const;

/** One of them. */
export type ProbedProperty = (typeof PROBED)[number];

/** What was found out about one property. */
export interface ProbeVerdict {
  /** What was tried. */
  readonly property: ProbedProperty;
  /** `unclear` where the store or the network failed too often to tell. A property that holds here may still not hold under other circumstances. */
  readonly verdict: "holds" | "fails" | "unclear";
  /** What contradicts it, or could not be found out; empty where it holds. */
  readonly details: readonly string[];
  /** What kept it from being found out, where that says nothing about the store: a failure that may pass, or a credential that may not do it. */
  readonly error?: KVError | undefined;
}

/** What was found out about a store. */
export interface ProbeReport {
  /** What it is called. */
  readonly store: string;
  /** True if every property holds. */
  readonly suitable: boolean;
  /** Of each property, in the order in which they were tried. */
  readonly verdicts: readonly ProbeVerdict[];
}

/** How a store is asked. */
export interface ProbeOptions {
  /** Clock, chance and timers, for tests. Default: those of the runtime. */
  readonly environment?: Environment | undefined;
  /** The same folder over connections of their own, as those of other clients. Where there are none, all requests go to the one store. */
  readonly connections?: readonly ObjectStore[] | undefined;
  /** How many write one object at the same time: a whole number from 2 on. Default 50. */
  readonly racers?: number | undefined;
  /** How many objects they race for: a whole number from 1 on. Default 20. */
  readonly keys?: number | undefined;
}

/** Options that were looked at. */
export interface Probing extends ProbeOptions {
  readonly environment: Environment;
}

/** `probeStore`, without a look at its arguments. `goesOn`: whether what was found out leaves anything to ask for. */
export async function probe(
  store: ObjectStore,
  options: Probing,
  goesOn: (verdict: ProbeVerdict) => boolean = () => true,
): Promise<ProbeReport> {
  const asking = new Probe(store, options);
  const verdicts: ProbeVerdict[] = [];
  for (const property of PROBED) {
    const verdict = await asking.verdict(property);
    verdicts.push(verdict);
    if (!goesOn(verdict)) break;
  }
  await asking.clean();
  return { store: store.name, suitable: verdicts.every(({ verdict }) => verdict === "holds"), verdicts };
}

/** `requireSuitable`, without a look at its argument. */
export function judge({ store, suitable, verdicts }: ProbeReport): void {
  if (suitable) return;
  const missing = verdicts.filter(({ verdict, error }) => verdict === "fails" && error === undefined);
  if (missing.length > 0) {
    const named = missing.map(({ property, details }) => `${property} fails (${details[0]})`);
    throw new KVError("StoreUnsuitable", `${store} is not for several writers: ${named.join("; ")}`);
  }
  const [{ property, details, error }] = verdicts.filter(({ verdict }) => verdict !== "holds");
  const why = error?.message ?? details[0];
  const message = `Whether ${store} is for several writers could not be found out: ${property} (${why})`;
  throw new KVError(error?.code ?? "InputOutput", message, { cause: error });
}

/** Throws what `requireSuitable` throws of a store; as soon as it is known that nobody can tell. */
export async function requireProbed(store: ObjectStore, options: Probing): Promise<void> {
  judge(await probe(store, options, ({ verdict }) => verdict !== "unclear"));
}

const TRIES_MAX = 5;
const WAIT_MS = 100;
/** An object of the probe: enough for parts that differ from each other. */
const OBJECT_BYTES = 1000;
const DETAILS_MAX = 5;
/**
 * Two at one object, and as many objects at a time: of stores that look first and write then, two were found out as often as fifty, since a crowd waits in line;
 * what tells more is more objects (decision 58).
 */
const PAIRS = 8;
const ROUNDS_OF_PAIRS = 2;

/** What was noted. `fails` is a verdict, unless it comes of an error. */
interface Note {
  readonly verdict: "fails" | "unclear";
  readonly detail: string;
  readonly error: KVError | undefined;
}

class Probe {
  readonly #environment: Environment;
  readonly #stores: readonly ObjectStore[];
  readonly #racers: number;
  readonly #keys: number;
  readonly #folder: string;
  readonly #written: string[] = [];
  #notes: Note[] = [];
  /** Of the step, so that each has objects of its own. */
  #number = 0;
  /** What the store is good for is known, or that nobody can tell: whatever else is not clear is not tried again. */
  #isOver = false;

  constructor(store: ObjectStore, { environment, connections = [], racers = 50, keys = 20 }: Probing) {
    this.#environment = environment;
    this.#stores = [store, ...connections].map((each) =>
      retryReads(each, { environment, triesMax: TRIES_MAX, waitMs: WAIT_MS }),
    );
    this.#racers = racers;
    this.#keys = keys;
    this.#folder = `probe-${toHex(environment.randomBytes(8))}`;
  }

  async verdict(property: ProbedProperty): Promise<ProbeVerdict> {
    this.#notes = [];
    await this.#checks[property]();
    const judged = this.#notes.filter(({ verdict, error }) => verdict === "fails" && error === undefined);
    const failed = judged.length > 0 ? judged : this.#notes.filter(({ verdict }) => verdict === "fails");
    const verdict = failed.length > 0 ? "fails" : this.#notes.length > 0 ? "unclear" : "holds";
    const notes = failed.length > 0 ? failed : this.#notes;
    const details = [...new Set(notes.map(({ detail }) => detail))].slice(0, DETAILS_MAX);
    const error = notes.find((note) => note.error !== undefined)?.error;
    return { property, verdict, details, ...(error && { error }) };
  }

  async clean(): Promise<void> {
    // Whatever is left lies in a folder that nobody reads.
    await deleteAll(this.#store(0), [...new Set(this.#written)]).catch(() => undefined);
  }

  readonly #checks: Readonly<Record<ProbedProperty, () => Promise<void>>> = {
    absent: () =>
      this.#steps(this.#stores.length, async (i) => {
        for (const range of [undefined, { from: 0, length: 1 }]) {
          const answer = await this.#store(i).get(this.#key("absent"), range);
          this.#is("absent", answer, "an object that is not there");
        }
      }),

    create: async () => {
      await this.#steps(this.#keys, async () => {
        const key = this.#key("create");
        if (!(await this.#race(key))) return;
        const again = await this.#store(1).create(key, this.#content());
        if (again.status === "created") this.#fail("a create overwrites what is there");
      });
      await this.#racePairs("created");
    },

    replace: async () => {
      await this.#steps(this.#keys, async () => {
        const key = this.#key("replace");
        const etag = (await this.#create(key)) ? await this.#etag(key) : undefined;
        if (etag === undefined) return;
        await this.#race(key, etag);
        await this.#replaceLate(key, etag);
      });
      // For what the pairs have created.
      await this.#racePairs("replaced");
    },

    "read-after-write": () => this.#steps(this.#keys, (k) => this.#readFresh(this.#key("fresh"), k)),

    range: () =>
      this.#steps(1, async () => {
        const key = this.#key("range");
        const bytes = this.#content();
        if (!(await this.#create(key, bytes))) return;
        for (const [from, length] of [
          [0, 10],
          [500, 1],
          [OBJECT_BYTES - 10, 10],
          [OBJECT_BYTES - 10, 50],
        ]) {
          const answer = await this.#store(from).get(key, { from, length });
          const expected = bytes.subarray(from, from + length);
          const isRight =
            answer.status === "found" && equalBytes(answer.bytes, expected) && answer.size === OBJECT_BYTES;
          if (!isRight) this.#note(answer, `${length} bytes from ${from} on are "${answer.status}", or others`);
        }
        const behind = await this.#store(0).get(key, { from: OBJECT_BYTES + 5, length: 5 });
        this.#is("beyond", behind, "a part behind the end");
      }),

    list: () =>
      this.#steps(1, async () => {
        const keys = ["a-b", "a.b", "a/b", "a0b", "aAb"].map((name) => this.#key(`list/${name}`));
        for (const [i, key] of keys.entries()) {
          if (!(await this.#create(key))) return;
          const found: string[] = [];
          for (let more = true; more;) {
            const after = found.at(-1);
            const options = { limit: 2, ...(after === undefined ? {} : { after }) };
            const answer = await this.#store(i).list(this.#key("list/"), options);
            if (!this.#is("listed", answer, "a list")) return;
            found.push(...answer.objects.map((object) => object.key));
            more = answer.more && found.length <= keys.length;
          }
          if (found.join() !== keys.slice(0, i + 1).join())
            return this.#fail("a list is not of what was written, in order");
        }
      }),

    delete: () =>
      this.#steps(1, async () => {
        const key = this.#key("delete");
        // What may still be on its way would come back.
        if (!(await this.#create(key, this.#content(), { once: true }))) return;
        if (!this.#is("deleted", await this.#store(0).delete([key]), "a delete")) return;
        await this.#expectAbsent(key, "deleted");
      }),
  };

  /** Steps of a check, each of which is repeated, with other objects, while requests fail so that nothing is clear. */
  async #steps(count: number, step: (i: number) => Promise<void>): Promise<void> {
    for (let i = 0; i < count; i++) {
      const before = this.#notes;
      for (let tries = 1; ; tries++) {
        this.#notes = [];
        this.#number++;
        await step(i);
        if (this.#notes.length === 0) break;
        this.#isOver ||= tries >= TRIES_MAX || this.#notes.some(({ verdict }) => verdict === "fails");
        if (this.#isOver) break;
        await this.#wait(tries);
      }
      this.#notes.unshift(...before);
    }
  }

  /**
   * Many create one object, or with an etag replace it, at the same time. One winner at most, whose bytes stay; without one, nothing is clear. True if there is
   * an object in the end.
   */
  async #race(key: string, etag?: string): Promise<boolean> {
    const won = etag === undefined ? "created" : "replaced";
    const contents = Array.from({ length: this.#racers }, () => this.#content());
    this.#written.push(key);
    const before = etag === undefined ? undefined : await this.#store(0).get(key);
    const answers = await Promise.all(contents.map((bytes, i) => this.#write(i, key, bytes, etag)));
    const winners = contents.filter((_, i) => answers[i].status === won);
    if (winners.length > 1) this.#fail(`several of those who race for one object are told "${won}"`);
    for (const answer of answers) {
      if (answer.status === "denied" || answer.status === "refused") this.#note(answer, answer.error.message);
    }
    // Who is told that something is there may be in its own way, where somebody below has sent it twice.
    const possible = winners.length > 0 ? winners : before?.status === "found" ? [...contents, before.bytes] : contents;
    // Where nobody is known to have replaced it, and nobody knows what was there, it may be that.
    const isJudged = winners.length > 0 || before === undefined || before.status === "found";
    if (winners.length === 0) {
      const failed = answers.find((answer) => "error" in answer || answer.status === "conflict");
      this.#note({ status: "ambiguous", ...failed }, `nobody was told "${won}"`);
    }
    let isThere = true;
    for (const store of this.#stores) {
      const answer = await store.get(key);
      if (answer.status === "found") {
        const isPossible = !isJudged || possible.some((bytes) => equalBytes(bytes, answer.bytes));
        if (!isPossible) this.#fail(`what is read is not the bytes of who was told "${won}"`);
        // One that was sent twice is in its own way: but then something was written.
        if (answer.etag === etag && answers.every(({ status }) => status === "changed")) this.#failEtag(etag);
        continue;
      }
      isThere = false;
      if (answer.status !== "absent" || winners.length > 0) {
        this.#note(answer, `what somebody has ${won} is "${answer.status}"`);
      }
    }
    return isThere;
  }

  /** Two race for each of some objects, all at the same time. A race without a winner, or without an answer, says nothing here: there are others. */
  async #racePairs(won: "created" | "replaced"): Promise<void> {
    for (let round = 0; round < ROUNDS_OF_PAIRS && !this.#isOver; round++) {
      const keys = Array.from({ length: PAIRS }, (_, pair) => `${this.#folder}/pairs/${round * PAIRS + pair}`);
      if (won === "created") this.#written.push(...keys);
      const racePair = async (key: string, pair: number): Promise<void> => {
        const found = won === "created" ? undefined : await this.#store(pair).get(key);
        if (found !== undefined && found.status !== "found") return;
        const pairOf = [pair, pair + 1].map((i) => this.#write(i, key, this.#content(), found?.etag));
        const isWonTwice = (await Promise.all(pairOf)).every(({ status }) => status === won);
        if (isWonTwice) this.#fail(`several of those who race for one object are told "${won}"`);
      };
      await Promise.all(keys.map(racePair));
    }
  }

  #write(i: number, key: string, bytes: Uint8Array, etag: string | undefined): Promise<CreateAnswer | ReplaceAnswer> {
    const store = this.#store(i);
    return etag === undefined ? store.create(key, bytes) : store.replace(key, bytes, etag);
  }

  #failEtag(etag: string): void {
    const hint = etag.startsWith('"') ? ": where it wants it without quotes, quotedEtags: false helps" : "";
    this.#fail(`a replace with the present etag is told that the object has changed${hint}`);
  }

  /** An etag of the past, also one after which the object was written twice. */
  async #replaceLate(key: string, etag: string): Promise<void> {
    const present = await this.#etag(key);
    if (present === undefined || present === etag) return;
    await this.#store(0).replace(key, this.#content(), present);
    for (const stale of [etag, present]) {
      if ((await this.#etag(key)) === stale) continue;
      const answer = await this.#store(1).replace(key, this.#content(), stale);
      if (answer.status === "replaced") this.#fail("a replace with an etag of the past takes place");
      else this.#is("changed", answer, "a replace with an etag of the past");
    }
    const { status } = await this.#store(0).replace(this.#key("absent"), this.#content(), etag);
    if (status === "replaced") this.#fail("a replace writes an object that is not there");
  }

  async #readFresh(key: string, k: number): Promise<void> {
    await this.#expectAbsent(key, "not written yet");
    const first = this.#content();
    if (!(await this.#create(key, first))) return;
    const found = await this.#expectBytes(k, key, first, "created");
    if (found === undefined) return;
    const second = this.#content();
    const answer = await this.#store(k).replace(key, second, found);
    // One that was sent twice is in its own way: what is there, is read.
    if (answer.status !== "changed" && !this.#is("replaced", answer, "a replace that nobody contests")) return;
    for (const i of this.#stores.keys()) await this.#expectBytes(i + k, key, second, "replaced");
  }

  async #expectAbsent(key: string, why: string): Promise<void> {
    for (const store of this.#stores) this.#is("absent", await store.get(key), `an object that was ${why}`);
  }

  /** Resolves with the etag, if that is what is read. */
  async #expectBytes(i: number, key: string, bytes: Uint8Array, why: string): Promise<string | undefined> {
    const answer = await this.#store(i).get(key);
    if (!this.#is("found", answer, `what was just ${why}`)) return undefined;
    if (equalBytes(answer.bytes, bytes)) return answer.etag;
    this.#fail(`what was just ${why} is read with other bytes`);
    return undefined;
  }

  async #etag(key: string): Promise<string | undefined> {
    const answer = await this.#store(0).get(key);
    return this.#is("found", answer, "an object that was written") ? answer.etag : undefined;
  }

  /** Creates an object that nobody else does. With `once` only if nothing is still on its way. */
  async #create(key: string, bytes = this.#content(), { once = false } = {}): Promise<boolean> {
    this.#written.push(key);
    for (let tries = 1; ; tries++) {
      const answer = await this.#store(0).create(key, bytes);
      const { status } = answer;
      if (status === "created") return true;
      const isOpen = once && status === "ambiguous";
      const found = isOpen ? undefined : await this.#store(0).get(key);
      if (found?.status === "found" && equalBytes(found.bytes, bytes)) return true;
      const isFinal = status === "denied" || status === "refused" || found?.status === "found";
      if (isOpen || isFinal || tries >= TRIES_MAX) {
        this.#note(answer, `a create that nobody contests is "${status}"`);
        return false;
      }
      await this.#wait(tries);
    }
  }

  #wait(tries: number): Promise<void> {
    return pause(this.#environment, WAIT_MS * 2 ** tries * this.#environment.random());
  }

  #store(i: number): ObjectStore {
    return this.#stores[i % this.#stores.length];
  }

  #key(name: string): string {
    return `${this.#folder}/${this.#number}/${name}`;
  }

  #content(): Uint8Array {
    return this.#environment.randomBytes(OBJECT_BYTES);
  }

  /** Whether that is the answer; otherwise it is noted. `what`: was asked for. */
  #is<A extends StoreAnswer, Status extends A["status"]>(
    status: Status,
    answer: A,
    what: string,
  ): answer is Extract<A, { readonly status: Status }> {
    if (answer.status === status) return true;
    this.#note(answer, `${what} is "${answer.status}"`);
    return false;
  }

  #fail(detail: string): void {
    this.#notes.push({ verdict: "fails", detail, error: undefined });
  }

  /** What a store that could not answer did proves nothing, nor does what a credential may not do. */
  #note(answer: { readonly status: string; readonly error?: KVError | undefined }, detail: string): void {
    const { status } = answer;
    const isRefused = status === "conflict";
    const isUnclear = isRefused || status === "unavailable" || status === "ambiguous";
    const isVerdict = !isUnclear && status !== "denied";
    const error = isRefused ? new KVError("InputOutput", "the store lets nobody write at present") : answer.error;
    this.#notes.push({ verdict: isUnclear ? "unclear" : "fails", detail, error: isVerdict ? undefined : error });
  }
}
