/** How fast bytes must come or go, at least, on top of the time that a request has anyway: 256 bytes a ms are 2 Mbit/s. */
const BYTES_PER_MS = 256;

/** The time that one request has. Ends it by `signal`, and whatever is raced against it; `clear` it when the request is over. */
export class Deadline {
  readonly #controller = new AbortController();
  readonly #ms: number;
  readonly #expired: Promise<never>;
  #timer: ReturnType<typeof setTimeout>;

  /** `bytes` is what is to be sent. */
  constructor(ms: number, bytes: number) {
    this.#ms = ms;
    this.#expired = new Promise((_resolve, reject) => {
      this.signal.addEventListener("abort", () => reject(this.signal.reason as Error), { once: true });
    });
    // Whoever races learns of it; nobody else has to.
    this.#expired.catch(() => undefined);
    this.#timer = this.#start(bytes);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Begins anew: an answer has begun that announces so many bytes. */
  extend(bytes: number): void {
    clearTimeout(this.#timer);
    this.#timer = this.#start(bytes);
  }

  /** As the promise, or rejects when the time is over. What the promise then does is of no interest. */
  race<T>(promise: Promise<T>): Promise<T> {
    return Promise.race([promise, this.#expired]);
  }

  clear(): void {
    clearTimeout(this.#timer);
  }

  #start(bytes: number): ReturnType<typeof setTimeout> {
    const ms = this.#ms + bytes / BYTES_PER_MS;
    return setTimeout(() => this.#controller.abort(new DeadlinePassed(`no answer within ${Math.round(ms)} ms`)), ms);
  }
}

/** What a request ends with whose time is over. */
export class DeadlinePassed extends Error {
  override readonly name = "DeadlinePassed";
}
