import { crc32 } from "../core/crc32.ts";
import type { Environment, Timer } from "../core/environment.ts";

/**
 * The environment that every web-like runtime offers. Asks for nothing when it is loaded: in workerd, timers and randomness exist only
 * while a request is handled.
 */
export const webEnvironment: Environment = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  random: () => Math.random(),
  randomBytes: (length) => crypto.getRandomValues(new Uint8Array(length)),
  setTimer,
  macrotask: chooseMacrotask(),
  ...(typeof FinalizationRegistry === "undefined" || typeof WeakRef === "undefined"
    ? {}
    : { dropped: (release) => new FinalizationRegistry(release) }),
  crc32,
  // Types know of memory that threads share, which nobody uses here.
  sha256: async (bytes) => new Uint8Array(await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>)),
};

interface TimerHandle {
  unref?(): unknown;
}

function setTimer(callback: () => void, ms: number, options: { readonly ref: boolean }): Timer {
  const handle: unknown = setTimeout(callback, ms);
  if (!options.ref) unref(handle);
  return { cancel: () => clearTimeout(handle as ReturnType<typeof setTimeout>) };
}

/** Timers are objects in Node and Bun, numbers in Deno and on the web, where nothing is kept alive by them or the runtime is told. */
function unref(handle: unknown): void {
  if (typeof handle === "object" && handle !== null) (handle as TimerHandle).unref?.();
  else if (typeof handle === "number") {
    (globalThis as { Deno?: { unrefTimer?(id: number): void } }).Deno?.unrefTimer?.(handle);
  }
}

/** The quickest macrotask there is: `setImmediate`, or a timer of no time. */
function chooseMacrotask(): (callback: () => void) => void {
  const immediate = (globalThis as { setImmediate?: (callback: () => void) => unknown }).setImmediate;
  if (typeof immediate === "function") return (callback) => void immediate(callback);
  return (callback) => void setTimeout(callback, 0);
}
