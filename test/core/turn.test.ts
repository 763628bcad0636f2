import { expect, test } from "vitest";
import { Turn } from "../../src/core/turn.ts";
import { settles } from "../support/database.ts";
import { ManualEnvironment } from "../support/manual-environment.ts";

test("what was awaited before a take-over never settles, and what is awaited afterwards does", async () => {
  const turn = new Turn(new ManualEnvironment());
  const value = turn.own(Promise.resolve(1));
  const error = turn.own(Promise.reject(new Error("no")));
  turn.takeOver();
  expect(await settles(value)).toBe(false);
  expect(await settles(error)).toBe(false);
  expect(await turn.own(Promise.resolve(2))).toBe(2);
  await expect(turn.own(Promise.reject(new RangeError("no")))).rejects.toBeInstanceOf(RangeError);
});

test("half a second without progress is a stall, and progress begins it anew", async () => {
  const environment = new ManualEnvironment();
  const turn = new Turn(environment);
  turn.begin();
  await environment.pass(499);
  expect(turn.isStalled).toBe(false);
  await turn.own(Promise.resolve());
  await environment.pass(499);
  expect(turn.isStalled).toBe(false);
  await environment.pass(1);
  expect(turn.isStalled).toBe(true);
});

test("work that was taken over is given twice the time, until it has come to an end", async () => {
  const environment = new ManualEnvironment();
  const turn = new Turn(environment);
  turn.takeOver();
  turn.begin();
  await environment.pass(999);
  expect(turn.isStalled).toBe(false);
  await environment.pass(1);
  expect(turn.isStalled).toBe(true);
  turn.end();
  turn.begin();
  await environment.pass(500);
  expect(turn.isStalled).toBe(true);
});
