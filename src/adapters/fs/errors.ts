import { type CommitOutcome, KVError, type KVErrorCode } from "../../core/errors.ts";
import { errorCode } from "./file.ts";

const CODES: Readonly<Record<string, KVErrorCode>> = {
  ENOENT: "LedgerMissing",
  ENOTDIR: "LedgerMissing",
  EACCES: "AccessDenied",
  EPERM: "AccessDenied",
  EROFS: "AccessDenied",
  EISDIR: "NotALedger",
  ENOSPC: "NoSpace",
  EDQUOT: "NoSpace",
  EFBIG: "NoSpace",
  NotCapable: "AccessDenied",
  PermissionDenied: "AccessDenied",
  NotFound: "LedgerMissing",
};

/** A system error as one of ours. */
export function fromSystem(error: unknown, action: string, outcome?: CommitOutcome): KVError {
  if (error instanceof KVError) return error;
  // Deno's own errors tell their kind by name.
  const name = error instanceof Error ? error.name : "";
  const code = CODES[errorCode(error) ?? ""] ?? CODES[name] ?? "InputOutput";
  const message = `${action}: ${error instanceof Error ? error.message : String(error)}`;
  return new KVError(code, message, outcome === undefined ? { cause: error } : { cause: error, outcome });
}
