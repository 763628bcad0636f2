/**
 * Everything that the core must not take from its surroundings by itself: time, randomness, scheduling, checksums.
 * The entry files hand in the platform's; tests hand in a simulated one, under which the whole engine runs.
 */
export interface Environment {
  /**
   * True where an instance may be shared by requests that end independently of each other and take their timers and input/output with them, as in
   * workerd: then no promise is shared by callers, each waits with timers of its own, and work that makes no progress is taken over. The
   * limits for small runtimes hold as well.
   */
  readonly isolated?: boolean;
  /** Wall clock, ms since the epoch. May jump. Used for timestamps and expiry only. */
  now(): number;
  /** A clock that never goes backwards, in ms with fractions, from an arbitrary start. Used for intervals. */
  monotonic(): number;
  /** `length` unpredictable bytes, in a fresh array. */
  randomBytes(length: number): Uint8Array;
  /** A number in [0, 1), for waits and jitter; needs no cryptographic quality. */
  random(): number;
  /** Calls back once after `ms`. With `ref: false` the timer never keeps a process alive, where the platform can tell. */
  setTimer(callback: () => void, ms: number, options: { readonly ref: boolean }): Timer;
  /** Calls back in a fresh macrotask, after timers, signals and input/output had a chance to run. */
  macrotask(callback: () => void): void;
  /**
   * Whom to tell what is to be released when somebody was dropped without a word (`FinalizationRegistry`). Left out where the platform cannot
   * tell, or every run has to be like the other.
   */
  dropped?<T>(release: (held: T) => void): { register(holder: object, held: T): void };
  /** CRC-32 (IEEE 802.3, polynomial 0xEDB88320 reflected) of `bytes`, continuing from `seed` (0 at the start). Unsigned. */
  crc32(bytes: Uint8Array, seed?: number): number;
  /** SHA-256 (FIPS 180-4) of `bytes`, which stay as they are meanwhile. In a simulation at once, or its time would run ahead. */
  sha256(bytes: Uint8Array): MaybePromise<Uint8Array>;
}

/** A timer that was set and may be cancelled. */
export interface Timer {
  cancel(): void;
}

/** A value, or a promise of one: adapters that can answer at once do, and nothing waits for a microtask needlessly. */
export type MaybePromise<T> = T | Promise<T>;

export function isPromise<T>(value: MaybePromise<T>): value is Promise<T> {
  return typeof value === "object" && value !== null && typeof (value as { then?: unknown }).then === "function";
}
