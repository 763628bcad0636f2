import type { AbortSignalLike } from "../index.node.ts";

/** Who is talked to. */
export interface Terminal {
  /** A line of text. */
  readonly print: (text: string) => void;
  /** Values on one line, as they would be written in a program where they are small. */
  readonly show: (...values: readonly unknown[]) => void;
  readonly complain: (text: string) => void;
  /** Lines, when no command was given. */
  readonly lines: () => AsyncIterable<string>;
  /** Aborted when somebody wants no more of it. */
  readonly interrupted: () => AbortSignalLike;
}
