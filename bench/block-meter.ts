/**
 * Tells how long the event loop was busy with one turn, at the longest: while it runs, each turn ends with a look at the clock. Both by the clock and by
 * the processor time of the main thread, which other programs on the machine do not disturb.
 */
export class BlockMeter {
  #running = true;
  #longestMs = 0;
  #longestProcessorMs = 0;
  readonly #stopped: Promise<void>;

  constructor() {
    this.#stopped = this.#run();
  }

  async #run(): Promise<void> {
    let at = performance.now();
    let used = threadMs();
    while (this.#running) {
      await new Promise((resolve) => setImmediate(resolve));
      const now = performance.now();
      const nowUsed = threadMs();
      this.#longestMs = Math.max(this.#longestMs, now - at);
      this.#longestProcessorMs = Math.max(this.#longestProcessorMs, nowUsed - used);
      at = now;
      used = nowUsed;
    }
  }

  async stop(): Promise<{ readonly longestMs: number; readonly longestProcessorMs: number }> {
    this.#running = false;
    await this.#stopped;
    return { longestMs: this.#longestMs, longestProcessorMs: this.#longestProcessorMs };
  }
}

function threadMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}
