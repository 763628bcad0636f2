import { expect, test } from "vitest";
import { slotKey } from "../../../src/adapters/object/layout.ts";
import type { ObjectStore } from "../../../src/adapters/object/object-store.ts";
import { KVError } from "../../../src/core/errors.ts";
import { Bucket } from "../../support/bucket.ts";
import { openDatabase, setKeys } from "../../support/bucket-database.ts";

test.each(["close", "signal", "revoked credential"] as const)(
  "a repair does not wait for those who have not heard of it behind a %s",
  async (how) => {
    const bucket = new Bucket();
    let isRevoked = false;
    const denied = { status: "denied" as const, error: new KVError("AccessDenied", "no"), time: undefined };
    const store: ObjectStore = {
      ...bucket.counting,
      get: async (key, range) => (isRevoked ? denied : await bucket.counting.get(key, range)),
    };
    const db = await openDatabase(bucket, { store });
    await setKeys(bucket, db, 0, 20);
    await bucket.store.delete([slotKey((await bucket.root()).nonce, 18)]);
    const controller = new AbortController();
    const repair = db.repair({ signal: controller.signal });
    const failed = repair.then(
      () => undefined,
      (error: unknown) => error,
    );
    await bucket.environment.pass(1000);
    expect((await bucket.root()).formers).toHaveLength(1);
    const began = bucket.environment.now();
    if (how === "close") await bucket.environment.until(db.close());
    else if (how === "signal") controller.abort(new Error("enough"));
    else isRevoked = true;
    const expected = { close: { code: "Closed" }, signal: { message: "enough" }, "revoked credential": denied.error };
    expect(await bucket.environment.until(failed)).toMatchObject(expected[how]);
    expect(bucket.environment.now() - began).toBeLessThanOrEqual(how === "revoked credential" ? 60_000 : 2000);
    // It is repaired all the same.
    const other = await openDatabase(bucket);
    expect(await bucket.environment.until(other.listKeys(["k"]))).toHaveLength(17);
  },
);
