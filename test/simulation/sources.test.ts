import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { ownDefects } from "../linearizable/defects.ts";
import { bucketDefects } from "./bucket-defects.ts";
import { defects } from "./defects.ts";
import { small, smallBucket } from "./sources.ts";

test("every change that the simulation makes in the source has its one place there", () => {
  const lost = [small, smallBucket, ...[...defects, ...bucketDefects, ...ownDefects].map(({ changes }) => changes)]
    .flat()
    .filter(({ file, find }) => {
      const source = readFileSync(new URL(`../../src/${file}`, import.meta.url), "utf8");
      return source.split(find).length !== 2;
    });
  expect(lost).toEqual([]);
});
