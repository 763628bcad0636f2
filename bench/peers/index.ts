import { classicLevel } from "./classic-level.ts";
import { foliokv } from "./foliokv.ts";
import { lmdb } from "./lmdb.ts";
import type { PeerKind } from "./peer.ts";
import { betterSqlite3, nodeSqlite } from "./sqlite.ts";

/** foliokv first. */
export const peers: readonly PeerKind[] = [foliokv, nodeSqlite, betterSqlite3, lmdb, classicLevel];

export function peerCalled(name: string): PeerKind {
  const peer = peers.find((each) => each.name === name);
  if (peer === undefined) throw new Error(`There is no peer ${name}; there are ${peers.map((p) => p.name).join(", ")}`);
  return peer;
}
