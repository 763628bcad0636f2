import { expect, test } from "vitest";
import { slotKey } from "../../../src/adapters/object/layout.ts";
import { RootObject } from "../../../src/adapters/object/root-object.ts";
import { s3Ledger, s3Store } from "../../../src/adapters/s3/index.ts";
import { hasCode, KVError } from "../../../src/core/errors.ts";
import { KV } from "../../../src/index.node.ts";
import { nodeEnvironment } from "../../../src/platform/environment-node.ts";
import { sendHalf } from "../../support/half-sent.ts";
import { freshPrefix, s3Server } from "../../support/s3-server.ts";

/** Sets a key and adds one to the number of keys, until that is certain. */
async function commit(db: KV, key: string): Promise<void> {
  for (;;) {
    try {
      await db.atomic().set(["key", key], key).sum(["count"], 1).commit();
      return;
    } catch (error) {
      if (!(error instanceof KVError) || error.outcome !== "not committed") throw error;
    }
  }
}

// Some stores keep others out of an object while somebody sends it, for half a minute.
test("a slot that a dead client has sent half of holds up commits until the store lets go of it, and reads not at all", async () => {
  await using server = await s3Server();
  const { bucket, endpoint, region, credentials, tellsTime, quotedEtags } = server;
  const options = { bucket, prefix: freshPrefix(), endpoint, region, credentials, tellsTime, quotedEtags };
  await using db = await KV.open(s3Ledger(options), { autoSync: false });
  await commit(db, "a");
  const found = await new RootObject(s3Store(options), nodeEnvironment).read();
  if (found.status !== "found") throw new Error(found.status);
  const { nonce, firstSlot } = found.root;

  const socket = await sendHalf(server, `${options.prefix}/${slotKey(nonce, firstSlot + 1)}`);
  try {
    const began = performance.now();
    const told = commit(db, "b").then(
      () => "committed",
      (error: unknown) => (hasCode(error, "CommitOutcomeUnknown") ? "unknown" : Promise.reject(error)),
    );
    expect(await db.get(["key", "a"])).toBe("a");
    console.info(`${server.name}: ${await told} after ${Math.round(performance.now() - began)} ms`);
    // The slot is settled first.
    await commit(db, "c");
    expect(db.stats().session).toMatchObject({ hasUnsettledSlot: false });

    await using other = await KV.open(s3Ledger(options), { autoSync: false });
    const keys = (await other.listAll(["key"])).map(({ value }) => value);
    expect(keys).toEqual((await told) === "committed" ? ["a", "b", "c"] : expect.arrayContaining(["a", "c"]));
    expect(await other.get(["count"])).toBe(keys.length);
  } finally {
    socket.destroy();
  }
}, 180_000);
