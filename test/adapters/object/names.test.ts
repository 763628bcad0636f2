import { expect, test } from "vitest";
import { hasCode } from "../../../src/core/errors.ts";
import { isObjectName, parsePrefix } from "../../../src/adapters/object/names.ts";

test("names are segments of letters, digits, underscore, dot and hyphen", () => {
  for (const name of ["a", "a/b", "A-Z_0.9", "a/.b", "..a/b..", "x".repeat(512)]) expect(isObjectName(name)).toBe(true);
});

test("names that some client changes are no names", () => {
  const names = [
    "",
    "/",
    "/a",
    "a/",
    "a//b",
    ".",
    "a/..",
    "./a",
    "a b",
    "a+b",
    "a%20b",
    "a~b",
    "a:b",
    "é",
    "a\0",
    "a\n",
  ];
  expect(names.filter(isObjectName)).toEqual([]);
});

test("a prefix has at most 512 bytes, and is a name", () => {
  expect(parsePrefix("x".repeat(512), "call")).toHaveLength(512);
  for (const prefix of ["x".repeat(513), "", "a/", "/a", "a/../b", undefined, null, 7, ["a"]]) {
    let thrown: unknown;
    try {
      parsePrefix(prefix, "call");
    } catch (error) {
      thrown = error;
    }
    expect(hasCode(thrown, "InvalidOption")).toBe(true);
  }
});
