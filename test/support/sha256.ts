import { createHash } from "node:crypto";

/** SHA-256 without a promise: where time is simulated it would pass while somebody computes. */
export function sha256AtOnce(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHash("sha256").update(bytes).digest());
}
