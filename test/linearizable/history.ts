import { openSync, writeSync } from "node:fs";

/**
 * The history of one run, as lines of JSON in the order in which they were written, a file for each process. The checker reads all of them, one process
 * after the other. Keys are numbers from 0 on, values whole numbers; each value that is set is set once.
 */

/** First line. `single`: each operation touches one key. `several`: some touch more. */
export interface Header {
  readonly header: { readonly keys: "single" | "several"; readonly keyCount: number; readonly about: unknown };
}

export interface Change {
  readonly key: number;
  readonly kind: "set" | "delete" | "sum" | "min" | "max";
  /** Of a delete 0. */
  readonly value: number;
}

/** `version` 0: absent. */
export interface Check {
  readonly key: number;
  readonly version: number;
}

/** What was found under a key: `value` null is nothing, `version` null what the read does not tell. */
export interface Observation {
  readonly key: number;
  readonly value: number | null;
  readonly version: number | null;
}

/**
 * What is called. A `witnessed` commit also sets a key that no other one does, by which its outcome and its version are known in the end, whatever
 * its author was told. A transaction says what it has read and will change by a line `try` before each attempt to commit.
 */
export interface Operation {
  readonly kind: "set" | "delete" | "atomic" | "staged" | "transaction" | "read";
  readonly consistency?: "strong" | "eventual";
  /** Those that it may touch. */
  readonly keys: readonly number[];
  readonly checks?: readonly Check[];
  readonly changes?: readonly Change[];
  readonly witnessed?: boolean;
}

/** `read`: of what commits nothing. `failed`: a read that found nothing out. An operation without a return is one of unknown outcome. */
export interface Result {
  readonly outcome: "committed" | "conflict" | "not committed" | "unknown" | "read" | "failed";
  readonly version?: number;
  readonly reads?: readonly Observation[];
  /** Code of what it has thrown. */
  readonly code?: string;
}

export interface CallLine extends Operation {
  readonly call: string;
  readonly instance: string;
  readonly at: number;
}

export interface TryLine {
  readonly try: string;
  readonly reads: readonly Observation[];
  readonly changes: readonly Change[];
}

export interface ReturnLine extends Result {
  readonly return: string;
  readonly at: number;
}

/** The process was killed, and is gone: nothing that it has called can take effect any more. On a bucket that cannot be said. */
export interface DiedLine {
  readonly died: string;
  readonly at: number;
}

/** Last line. The version of each witness in the ledger. */
export interface WitnessesLine {
  readonly witnesses: Readonly<Record<string, number>>;
}

export type Line = Header | CallLine | TryLine | ReturnLine | DiedLine | WitnessesLine;

/** Writes lines so that each is in the file, even if the process is killed then, before anything that follows it can happen. */
export class Recorder {
  readonly #file: number;
  readonly #instance: string;
  readonly #began: string;
  #calls = 0;

  /** `began`: what `process.hrtime` said when the run began: on one machine all processes have one clock. */
  constructor(path: string, { instance, began }: { readonly instance: string; readonly began: string }) {
    this.#file = openSync(path, "a");
    this.#instance = instance;
    this.#began = began;
  }

  /** To be called right before the call itself. Returns what names it. */
  call(operation: Operation): string {
    const call = `${this.#instance}.${++this.#calls}`;
    this.#write({ call, instance: this.#instance, at: timeSince(this.#began), ...operation });
    return call;
  }

  attempt(call: string, reads: readonly Observation[], changes: readonly Change[]): void {
    this.#write({ try: call, reads, changes });
  }

  /** To be called right after the call has settled. */
  returned(call: string, result: Result): void {
    this.#write({ return: call, at: timeSince(this.#began), ...result });
  }

  #write(line: Line): void {
    const bytes = Buffer.from(`${JSON.stringify(line)}\n`);
    for (let at = 0; at < bytes.length;) at += writeSync(this.#file, bytes, at);
  }
}

/** ns since `process.hrtime` said that, in whatever process. */
export function timeSince(began: string): number {
  return Number(process.hrtime.bigint() - BigInt(began));
}

/** The lines that a process has left; what it was killed in the middle of is none. */
export function parseLines(text: string): Line[] {
  const lines = text.split("\n");
  lines.pop();
  return lines.map((line) => JSON.parse(line) as Line);
}
