import { expect, test } from "vitest";
import { Waits } from "../../src/core/waits.ts";
import { macrotask, settles } from "../support/database.ts";
import { ManualEnvironment } from "../support/manual-environment.ts";
import { Requests } from "../support/requests.ts";

test("a waiter finds out by a timer of its own, whoever has brought about what it waits for", async () => {
  const requests = new Requests();
  const waits = new Waits(requests.environment);
  let settle: (value: string) => void = () => undefined;
  const maker = requests.begin(() => waits.promise<string>((resolve) => (settle = resolve)));
  await requests.begin(async () => settle("done")).response;
  expect(await maker.response).toBe("done");
});

test("what one waiter waits for comes to it though another that waits for the same is gone", async () => {
  const requests = new Requests();
  const waits = new Waits(requests.environment);
  let ready = false;
  const gone = requests.begin(() => waits.until(() => ready));
  const stays = requests.begin(() => waits.until(() => ready));
  await macrotask();
  gone.end();
  ready = true;
  await stays.response;
  expect(await settles(gone.response)).toBe(false);
});

test("whoever waits does the work, step by step, until what it waits for is there", async () => {
  const environment = new ManualEnvironment();
  const waits = new Waits(environment);
  let steps = 0;
  waits.drive = () => {
    steps++;
    return { ended: Promise.resolve(), isOver: () => true };
  };
  await environment.until(waits.until(() => steps === 3));
  expect(steps).toBe(3);
  expect(environment.timers).toBe(0);
});

test("work that is done at once needs no timer", async () => {
  const environment = new ManualEnvironment();
  const waits = new Waits(environment);
  let settle: (value: number) => void = () => undefined;
  const promise = waits.promise<number>((resolve) => (settle = resolve));
  waits.drive = () => {
    settle(1);
    return undefined;
  };
  expect(await promise).toBe(1);
  expect(environment.timers).toBe(0);
});

test("a step that never ends keeps nobody from looking, and nobody begins another before it was taken over", async () => {
  const environment = new ManualEnvironment();
  const waits = new Waits(environment);
  let isOver = false;
  let ready = false;
  let steps = 0;
  waits.drive = () => {
    if (steps++ === 0) return { ended: new Promise(() => undefined), isOver: () => isOver };
    ready = true;
    return undefined;
  };
  const wait = waits.until(() => ready);
  await environment.pass(10_000);
  expect(steps).toBe(1);
  isOver = true;
  await environment.until(wait);
  expect(steps).toBe(2);
});

test("those who begin to wait in one macrotask share a timer", async () => {
  const environment = new ManualEnvironment();
  const waits = new Waits(environment);
  let ready = false;
  const all = Array.from({ length: 100 }, () => waits.until(() => ready));
  expect(await settles(Promise.all(all))).toBe(false);
  expect(environment.timers).toBe(1);
  ready = true;
  await environment.until(Promise.all(all));
});

test("an error is the waiter's own", async () => {
  const environment = new ManualEnvironment();
  const waits = new Waits(environment);
  const error = new RangeError("no");
  await expect(environment.until(waits.promise((_, reject) => reject(error)))).rejects.toBe(error);
});
