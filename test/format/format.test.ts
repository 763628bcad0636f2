import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { describeValue } from "./describe.ts";
import { type Contents, READ_AT, readWithLibrary } from "./library.ts";
import { type ReadChange, type ReadEntry, readLedger } from "./reader.ts";

/** Golden files are what older versions have written. They are never made anew: whatever reads them has to go on reading them. */
const GOLDEN = fileURLToPath(new URL("golden/", import.meta.url));
const checksums = JSON.parse(readFileSync(join(GOLDEN, "checksums.json"), "utf8")) as Readonly<Record<string, string>>;
const names = Object.keys(checksums)
  .filter((file) => file.endsWith(".db"))
  .map((file) => file.slice(0, -".db".length));

function checksumOf(file: string): string {
  return createHash("sha256")
    .update(readFileSync(join(GOLDEN, file)))
    .digest("hex");
}

function contentsOf(name: string): Contents {
  return JSON.parse(readFileSync(join(GOLDEN, `${name}.json`), "utf8")) as Contents;
}

function readIndependently(path: string): Contents {
  const { entries, history, ...rest } = readLedger(readFileSync(path), READ_AT);
  const describeOne = ({ key, ...each }: ReadEntry | ReadChange): unknown => ({
    ...each,
    key: key.map(describeValue),
    ...("value" in each ? { value: describeValue(each.value) } : {}),
  });
  return { ...rest, readAt: READ_AT, entries: entries.map(describeOne), history: history.map(describeOne) };
}

describe.each(names)("%s", (name) => {
  test("the library reads what it must contain, and changes nothing", async () => {
    expect(await readWithLibrary(join(GOLDEN, `${name}.db`))).toEqual(contentsOf(name));
    expect(checksumOf(`${name}.db`)).toBe(checksums[`${name}.db`]);
  });

  test("the reader written from docs/FORMAT.md reads the same", () => {
    expect(readIndependently(join(GOLDEN, `${name}.db`))).toEqual(contentsOf(name));
  });

  test("what it must contain is what was written down", () => {
    expect(checksumOf(`${name}.json`)).toBe(checksums[`${name}.json`]);
  });
});

test("every golden file has its checksum, and none has gone", () => {
  const files = readdirSync(GOLDEN).filter((file) => file !== "checksums.json");
  expect(files.toSorted()).toEqual(Object.keys(checksums).toSorted());
});

test("the independent reader imports nothing of the library", () => {
  const source = readFileSync(new URL("reader.ts", import.meta.url), "utf8");
  const imports = [...source.matchAll(/^import .* from "(.*)";$/gm)].map(([, from]) => from);
  expect(imports).toEqual(["node:zlib"]);
});
