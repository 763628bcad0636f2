import { expect, test } from "vitest";
import { memoryLedger } from "../../src/adapters/memory/index.ts";
import { Pacer } from "../../src/core/pacer.ts";
import { KV } from "../../src/index.node.ts";
import { nodeEnvironment } from "../../src/platform/environment-node.ts";
import { onEachOrdering } from "../support/database.ts";

test("a rest is due when work has gone on for so long without a macrotask", async () => {
  let now = 0;
  const macrotasks: (() => void)[] = [];
  const pacer = new Pacer({
    ...nodeEnvironment,
    monotonic: () => now,
    macrotask: (callback) => void macrotasks.push(callback),
  });
  const run = (): void => macrotasks.splice(0).forEach((callback) => callback());
  expect(pacer.due()).toBe(false);
  // The work that asks comes first.
  expect(macrotasks).toHaveLength(0);
  now += 3;
  expect(pacer.dueInBackground()).toBe(false);
  now += 4;
  // What nobody waits for has less than what is waited for.
  expect([pacer.dueInBackground(), pacer.due()]).toEqual([true, false]);
  now += 1;
  expect(pacer.due()).toBe(true);
  let rested = false;
  const rest = pacer.rest().then(() => (rested = true));
  await Promise.resolve();
  expect([rested, pacer.due()]).toEqual([false, true]);
  run();
  await rest;
  expect(pacer.due()).toBe(false);
  // A macrotask that came by itself is a rest too.
  now += 100;
  await Promise.resolve();
  run();
  expect(pacer.due()).toBe(false);
});

test("a rest is due sooner while something goes on in the background, so that both fit into one turn", async () => {
  let now = 0;
  const macrotasks: (() => void)[] = [];
  const pacer = new Pacer({
    ...nodeEnvironment,
    monotonic: () => now,
    macrotask: (callback) => void macrotasks.push(callback),
  });
  const run = (): void => macrotasks.splice(0).forEach((callback) => callback());
  const rest = pacer.restInBackground();
  expect(pacer.due()).toBe(false);
  now += 4;
  expect(pacer.due()).toBe(true);
  run();
  await rest;
  expect(pacer.due()).toBe(false);
  now += 4;
  expect([pacer.dueInBackground(), pacer.due()]).toEqual([true, false]);
});

onEachOrdering((make) => {
  test("a loop of awaited calls lets the program's timers fire", async () => {
    using made = make();
    await using db = await KV.open(made.ledger);
    for (let i = 0; i < 100; i++) await db.set(["k", i], i);
    const loops: (() => Promise<unknown>)[] = [
      () => db.set(["a"], 1),
      () => db.get(["a"]),
      () => db.has(["k", 5]),
      () => db.getMany([["k", 5]]),
      () => db.listAll(["k"]),
      () => db.iterate(["k"]).next(),
      () => db.count(["k"]),
      () => db.atomic().sum(["n"], 1).commit(),
    ];
    for (const call of loops) {
      let fired = false;
      setTimeout(() => (fired = true), 1);
      let calls = 0;
      // Many times as many calls as fit into a millisecond, and an end for a loop that starves the timer.
      while (!fired && calls++ < 100_000) await call();
      expect(fired).toBe(true);
    }
  });
});

test("so does a long listing", async () => {
  await using db = await KV.open(memoryLedger());
  await db.beginTransaction();
  for (let i = 0; i < 120_000; i++) void db.set(["k", i], i);
  await db.endTransaction();
  for (const list of [() => db.listAll([]), () => db.listKeys([]), () => db.count([])]) {
    let turns = 0;
    let listing = true;
    const turn = (): void => {
      turns++;
      if (listing) setImmediate(turn);
    };
    setImmediate(turn);
    await list();
    listing = false;
    // More than the one that any await in the end gives way to, had it taken no rest.
    expect(turns).toBeGreaterThan(0);
  }
});
