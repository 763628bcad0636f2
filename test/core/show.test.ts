import { expect, test } from "vitest";
import { show } from "../../src/core/show.ts";

test("what was received is shown so that its type can be told", () => {
  const given = ["5", 5, 5n, null, undefined, [5], { five: 5 }, new Date(5), Object.create(null), () => 5, Symbol("5")];
  const shown = ['"5"', "5", "5n", "null", "undefined", "an array", "an object", "an instance of Date", "an object"];
  expect(given.map(show)).toEqual([...shown, "a function", "Symbol(5)"]);
});
