/** What a command-line program does: opens, sets one key, closes. Tells how many bytes it has read for that. */
import { createFsLedger } from "../../../src/adapters/fs/ledger.ts";
import { KV } from "../../../src/index.node.ts";
import { countingReads } from "../../support/counting-reads.ts";
import { argument, report } from "./report.ts";

const { path, n } = argument<{ path: string; n: number }>();

const counting = countingReads();
const db = await KV.open(createFsLedger(path, {}, counting.calls));
const { version } = await db.set(["run", n], n);
await db.close();
report({ version, ...counting.counts });
