import type { Environment } from "./environment.ts";
import { InvalidArgumentError } from "./errors.ts";
import type { FileWork } from "./file-work.ts";
import type { Ledger } from "./ledger.ts";
import { show } from "./show.ts";

/** A `file:` URL: as much of `URL` as is used here. */
export interface FileUrl {
  readonly href: string;
}

/** What a database is opened on: the path of a file, its `file:` URL, or a ledger. */
export type OpenTarget = string | FileUrl | Ledger;

/** What the platform brings: clock, randomness, scheduling, and what a path means. */
export interface Platform {
  readonly environment: Environment;
  /** Makes a ledger of a path. Throws `UnsupportedTarget` where there is no file adapter. */
  readonly ledgerAt: (path: string | FileUrl, options: { readonly durability?: "relaxed" | "strict" }) => Ledger;
  /**
   * What ledgers in files ask for besides, and processes: without it `vacuum`, `backup` and `repair` of such ledgers reject with `UnsupportedTarget`, and a
   * `deleteAll` that has to wait keeps no place in the order of calls.
   */
  readonly fileWork?: FileWork;
}

/** The ledger that a call was given, or that lies at the path. `call`: which one, for messages. */
export function ledgerOf(
  target: OpenTarget,
  durability: "relaxed" | "strict" | undefined,
  { ledgerAt }: Platform,
  call = "open",
): Ledger {
  const isLedger =
    typeof target === "object" && target !== null && "open" in target && typeof target.open === "function";
  if (isLedger) {
    if (durability !== undefined) {
      throw new InvalidArgumentError(
        "InvalidOption",
        "open: durability belongs to the ledger; give it to the function that makes it",
      );
    }
    return target;
  }
  if (target === "") throw new InvalidArgumentError("InvalidArgument", `${call}: the path is empty`);
  if (typeof target === "string" || (typeof target === "object" && target !== null && "href" in target)) {
    return ledgerAt(target, durability === undefined ? {} : { durability });
  }
  throw new InvalidArgumentError("InvalidArgument", `${call} takes a path or a ledger; received ${show(target)}`);
}
