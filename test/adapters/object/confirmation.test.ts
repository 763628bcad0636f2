import { describe, expect, test } from "vitest";
import { Bucket, failure, isGetOfRoot } from "../../support/bucket.ts";

const MINUTE = 60_000;
const FIVE = 5 * MINUTE;

describe("an answer about a slot", () => {
  test("costs a poll one request, and another one of the root once in five minutes of the store's time", async () => {
    const bucket = new Bucket();
    const a = await bucket.open();
    for (let minute = 0; minute < 12; minute++) {
      expect(await a.follow()).toBe("end");
      await bucket.environment.pass(MINUTE);
    }
    expect(bucket.requests.filter((each) => each === "get log/1 absent")).toHaveLength(12);
    expect(bucket.requests.filter((each) => each === "get root found")).toHaveLength(1);
    expect(bucket.requests).toHaveLength(13);
  });

  test("costs a commit one request, and another one of the root once in five minutes of the store's time", async () => {
    const bucket = new Bucket();
    const a = await bucket.open();
    for (let minute = 0; minute < 12; minute++) {
      await a.append(a.commit());
      await bucket.environment.pass(MINUTE);
    }
    expect(bucket.requests.filter((each) => each.startsWith("create"))).toHaveLength(12);
    expect(bucket.requests.filter((each) => each === "get root found")).toHaveLength(1);
    expect(bucket.requests).toHaveLength(13);
  });

  test("costs a request of the root each time where the store tells no time", async () => {
    const bucket = new Bucket({ tellsTime: false });
    const a = await bucket.open();
    await a.append(a.commit());
    await a.follow();
    await a.follow();
    expect(bucket.requests).toEqual([
      "create log/1 created",
      "get root found",
      "get log/2 absent",
      "get root found",
      "get log/2 absent",
      "get root found",
    ]);
  });

  test("is not saved from being confirmed by a clock of the store that was set back", async () => {
    const bucket = new Bucket();
    const a = await bucket.open();
    bucket.setBackMs = 10 * MINUTE;
    await a.follow();
    expect(bucket.requests).toEqual(["get log/1 absent", "get root found"]);
  });

  test("is confirmed by a root that was asked after it has arrived, not by one asked meanwhile", async () => {
    const bucket = new Bucket({ tellsTime: false });
    const a = await bucket.open();
    const gate = bucket.faulty.gate(({ kind }) => kind === "create", "after");
    const append = a.append(a.commit());
    await gate.arrived;
    expect(bucket.requests).toEqual([]);
    gate.open();
    expect(await append).toMatchObject({ status: "appended" });
    expect(bucket.requests).toEqual(["create log/1 created", "get root found"]);
  });

  test("that no root confirms keeps a commit unsettled until one does", async () => {
    const bucket = new Bucket({ tellsTime: false });
    const a = await bucket.open();
    let failures = 0;
    bucket.faulty.fate = (request) =>
      isGetOfRoot(request) && failures++ < 9 ? { fault: { kind: "overloaded" } } : undefined;
    expect(await a.append(a.commit())).toMatchObject({ status: "appended" });
    expect(failures).toBe(10);
  });

  test("is none where the root says that the slot may be gone", async () => {
    const bucket = new Bucket();
    const a = await bucket.open();
    for (let i = 0; i < 6; i++) await a.append(a.commit());
    const sleeper = await bucket.open();
    await sleeper.follow();
    for (let i = 0; i < 6; i++) await a.append(a.commit());
    await bucket.pretendCheckpoint(10, { isFloor: true });
    await bucket.environment.pass(FIVE + 1000);
    expect(await sleeper.follow()).toBe("moved");
    expect(sleeper.commits).toHaveLength(6);
    expect(await sleeper.append(sleeper.commit())).toEqual({ status: "behind" });
    expect(await sleeper.session.reopen(sleeper.position)).toEqual({ status: "replaced", ownCommits: "not committed" });
  });

  test("of a writer that wakes up late is none: it does not acknowledge what it wrote where a slot was", async () => {
    const bucket = new Bucket();
    const a = await bucket.open();
    const late = await bucket.open();
    const gate = bucket.faulty.gate(({ kind }) => kind === "create", "before");
    const parked = late.append(late.commit());
    await gate.arrived;
    for (let i = 0; i < 12; i++) await a.append(a.commit());
    await bucket.pretendCheckpoint(10, { isFloor: true });
    const { nonce } = await bucket.root();
    const keys = Array.from({ length: 9 }, (_, i) => `${nonce}/log/${String(i + 1).padStart(12, "0")}`);
    await bucket.store.delete(keys);
    await bucket.environment.pass(48 * 60 * MINUTE);
    gate.open();
    expect(await failure(parked)).toBe("CommitOutcomeUnknown, unknown");
    expect(await late.follow()).toBe("moved");
  });

  test("is none where the ledger is another one now", async () => {
    const bucket = new Bucket();
    const a = await bucket.open();
    await a.append(a.commit());
    const { nonce } = await bucket.root();
    await bucket.store.delete(["root", `${nonce}/log/000000000001`]);
    const other = await bucket.open();
    await other.append(other.commit());
    await bucket.environment.pass(FIVE + 1000);
    expect(await a.follow()).toBe("moved");
  });

  test("of a ledger whose root is gone is an error, and creates nothing", async () => {
    const bucket = new Bucket();
    const a = await bucket.open();
    await bucket.store.delete(["root"]);
    await bucket.environment.pass(FIVE + 1000);
    expect(await failure(a.follow())).toBe("LedgerMissing");
    expect(await failure(a.append(a.commit()))).toBe("LedgerMissing, unknown");
    expect((await bucket.store.get("root")).status).toBe("absent");
  });
});
