import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { defects } from "./defects.ts";
import { small } from "./sources.ts";

test("every change that the simulation makes in the source has its one place there", () => {
  const lost = [small, ...defects.map(({ changes }) => changes)].flat().filter(({ file, find }) => {
    const source = readFileSync(new URL(`../../src/${file}`, import.meta.url), "utf8");
    return source.split(find).length !== 2;
  });
  expect(lost).toEqual([]);
});
