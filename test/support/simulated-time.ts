import type { Environment, Timer } from "../../src/core/environment.ts";
import { nodeEnvironment } from "../../src/platform/environment-node.ts";
import { randomSource } from "./random.ts";
import { sha256AtOnce } from "./sha256.ts";

interface Due {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
  cancelled: boolean;
}

/** Simulated time for very many timers: they lie in a heap, and time goes from one to the next. */
export class SimulatedTime implements Environment {
  readonly random: () => number;
  readonly crc32 = nodeEnvironment.crc32;
  readonly sha256 = sha256AtOnce;
  #now = 1_700_000_000_000;
  #order = 0;
  readonly #heap: Due[] = [];

  constructor(seed = 1) {
    this.random = randomSource(seed);
  }

  now = (): number => this.#now;
  monotonic = (): number => this.#now;
  randomBytes = (length: number): Uint8Array => Uint8Array.from({ length }, () => Math.floor(this.random() * 256));
  macrotask = (callback: () => void): void => void this.setTimer(callback, 0);

  setTimer = (callback: () => void, ms: number): Timer => {
    const due: Due = { at: this.#now + ms, order: this.#order++, run: callback, cancelled: false };
    this.#push(due);
    return { cancel: () => void (due.cancelled = true) };
  };

  /** Lets time go on until the promise has settled. Whatever follows from a timer without another one happens before the next. */
  async until<T>(promise: Promise<T>): Promise<T> {
    let settled = false;
    const mark = (): void => void (settled = true);
    promise.then(mark, mark);
    for (;;) {
      await new Promise<void>((resolve) => void setImmediate(resolve));
      if (settled) return await promise;
      const next = this.#pop();
      if (next === undefined || next.cancelled) continue;
      this.#now = next.at;
      next.run();
    }
  }

  #push(due: Due): void {
    const heap = this.#heap;
    let at = heap.push(due) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(heap[at], heap[parent])) break;
      [heap[at], heap[parent]] = [heap[parent], heap[at]];
      at = parent;
    }
  }

  #pop(): Due | undefined {
    const heap = this.#heap;
    const first = heap.at(0);
    const last = heap.pop();
    if (first === undefined || last === undefined || heap.length === 0) return first;
    heap[0] = last;
    for (let at = 0; ;) {
      const [left, right] = [2 * at + 1, 2 * at + 2];
      let least = at;
      if (left < heap.length && isBefore(heap[left], heap[least])) least = left;
      if (right < heap.length && isBefore(heap[right], heap[least])) least = right;
      if (least === at) return first;
      [heap[at], heap[least]] = [heap[least], heap[at]];
      at = least;
    }
  }
}

function isBefore(a: Due, b: Due): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
