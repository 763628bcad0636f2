import { execFile } from "node:child_process";
import { promisify } from "node:util";

/** What the checker says of one history. `unknown`: it has found nothing within its time, which proves nothing. */
export interface Verdict {
  readonly result: "ok" | "violation" | "unknown";
  readonly operations: number;
  /** Of these the number whose outcome nobody was told. */
  readonly unknown: number;
  readonly why?: readonly string[];
  readonly ms: number;
}

export interface JudgeOptions {
  readonly timeout: string;
  /** Where a history is drawn that is no good. */
  readonly html?: string;
}

/** Has a history checked by the program of `checker/`. */
export async function judge(program: string, history: string, { timeout, html }: JudgeOptions): Promise<Verdict> {
  const options = ["-timeout", timeout, ...(html === undefined ? [] : ["-html", html])];
  const { stdout } = await promisify(execFile)(program, [...options, history]);
  return JSON.parse(stdout) as Verdict;
}
