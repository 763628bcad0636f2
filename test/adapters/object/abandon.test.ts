import { describe, expect, test } from "vitest";
import { type Author, Bucket, isCreateOfSlot } from "../../support/bucket.ts";
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

describe("an append that was given up after its request arrived, while others have written hundreds of slots,", () => {
  async function givenUp(options: { readonly isFloor: boolean }): Promise<Author> {
    const bucket = new Bucket();
    const a = await bucket.open();
    const b = await bucket.open();
    const gate = bucket.faulty.gate(isCreateOfSlot, "after");
    void a.append(a.commit(4));
    await gate.arrived;
    a.session.abandon?.();
    gate.open();
    for (let i = 0; i < 300; i++) await b.write(b.commit());
    await bucket.pretendCheckpoint(b.position, options);
    // No root that was read before speaks for anything any more.
    await bucket.environment.pass(600_000);
    return a;
  }

  test("is met by reading, and not passed over for a checkpoint: else it would be appended again", async () => {
    const a = await givenUp({ isFloor: false });
    expect(await a.append()).toEqual({ status: "behind" });
    await a.follow();
    expect(a.commits[0]).toMatchObject({ writer: a.writer, payload: a.commit(4).payload });
    expect(await a.session.reopen(a.position)).toMatchObject({ ownCommits: "not committed" });
  });

  test("is of unknown outcome if its slot need not exist any more, and nobody remembers whose it was", async () => {
    const a = await givenUp({ isFloor: true });
    expect(await a.append()).toEqual({ status: "behind" });
    expect(await a.follow()).toBe("moved");
    expect(await a.session.reopen(a.position)).toEqual({ status: "replaced", ownCommits: "unknown" });
  });
});
