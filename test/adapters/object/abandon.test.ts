import { expect, test } from "vitest";
import { Bucket, isCreateOfSlot } from "../../support/bucket.ts";
import { settles } from "../../support/database.ts";

test.each(["before", "after"] as const)(
  "an append that was given up %s its request arrived is settled by the next call, with the same bytes",
  async (place) => {
    for (const next of ["append", "read"] as const) {
      const bucket = new Bucket();
      const a = await bucket.open();
      const sent: (Uint8Array | undefined)[] = [];
      bucket.faulty.fate = (request) => {
        if (isCreateOfSlot(request)) sent.push(request.bytes);
        return undefined;
      };
      const gate = bucket.faulty.gate(isCreateOfSlot, place);
      const given = a.append(a.commit(4));
      await gate.arrived;
      a.session.abandon?.();
      if (next === "append") expect(await a.append(a.commit(5))).toEqual({ status: "behind" });
      await a.follow();
      expect(a.commits.map(({ payload }) => payload[0])).toEqual([4]);
      gate.open();
      await bucket.environment.pass(60_000);
      expect(await settles(given)).toBe(false);
      for (const bytes of sent) expect(bytes).toEqual(sent[0]);
      expect(sent).toHaveLength(2);
      await a.write(a.commit(6));
      expect(a.position).toBe(2);
    }
  },
);

test("a call that was given up while it waited for its turn writes nothing any more", async () => {
  const bucket = new Bucket();
  const a = await bucket.open();
  const b = await bucket.open();
  await b.write(b.commit());
  await a.write(a.commit());
  bucket.requests.length = 0;
  // Having won while another one was there, it yields.
  const waiting = a.append(a.commit());
  a.session.abandon?.();
  await bucket.environment.pass(60_000);
  expect(await settles(waiting)).toBe(false);
  expect(bucket.requests.filter((each) => each.startsWith("create"))).toEqual([]);
});
