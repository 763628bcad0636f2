import { AsyncLocalStorage } from "node:async_hooks";
import type { Environment } from "../../src/core/environment.ts";
import { nodeEnvironment } from "../../src/platform/environment-node.ts";

/**
 * Requests that share a module and nothing else, as those of one workerd isolate do: timers and answers belong to the request that asked for
 * them, and never come once it is gone. What happens outside of any request comes always.
 */
export class Requests {
  readonly #current = new AsyncLocalStorage<Request>();
  readonly #around: Environment;
  readonly environment: Environment;

  /** `around`: whose time and chance it is. */
  constructor(around: Environment = nodeEnvironment) {
    this.#around = around;
    const { crc32, sha256, dropped } = around;
    this.environment = {
      crc32,
      sha256,
      ...(dropped && { dropped }),
      isolated: true,
      now: () => around.now(),
      monotonic: () => around.monotonic(),
      random: () => around.random(),
      randomBytes: (length) => around.randomBytes(length),
      setTimer: (callback, ms, options) => around.setTimer(this.#ofPresent(callback), ms, options),
      macrotask: (callback) => around.macrotask(this.#ofPresent(callback)),
    };
  }

  /** Begins a request, in a macrotask of its own. */
  begin<T>(handle: () => Promise<T>): RunningRequest<T> {
    const request: Request = { isGone: false };
    const response = new Promise<T>((resolve, reject) => {
      this.#around.macrotask(() => void this.#current.run(request, () => handle().then(resolve, reject)));
    });
    return {
      response,
      end: () => void (request.isGone = true),
    };
  }

  /** An object whose calls answer to the request that has made them, if it is still there. */
  bound<T extends object>(target: T): T {
    return new Proxy(target, {
      get: (object, property) => {
        const value: unknown = Reflect.get(object, property, object);
        if (typeof value !== "function") return value;
        return (...given: unknown[]): unknown => {
          if (this.#current.getStore()?.isGone === true) return new Promise(() => undefined);
          const result = (value as (...all: unknown[]) => unknown).apply(object, given);
          return result instanceof Promise ? this.#answer(result) : result;
        };
      },
    });
  }

  #answer<T>(result: Promise<T>): Promise<T> {
    const request = this.#current.getStore();
    return new Promise((resolve, reject) => {
      result.then(
        (value) => request?.isGone !== true && resolve(value),
        (error: unknown) => request?.isGone !== true && reject(error),
      );
    });
  }

  #ofPresent(callback: () => void): () => void {
    const request = this.#current.getStore();
    if (request === undefined) return callback;
    return () => void (request.isGone || this.#current.run(request, callback));
  }
}

interface Request {
  isGone: boolean;
}

export interface RunningRequest<T> {
  /** What it answers: never, once it has ended. */
  readonly response: Promise<T>;
  /** Its client is gone, and everything that it waits for. */
  end(): void;
}
