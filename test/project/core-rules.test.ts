import { spawnSync } from "node:child_process";
import { copyFileSync, globSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { temporaryFolder } from "../support/folder.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** What the core may not do, one line each, and the lint rule that says so. */
const VIOLATIONS: readonly (readonly [source: string, rule: string])[] = [
  ['export * from "node:fs";', "no-restricted-imports"],
  ['import "fs/promises";', "no-restricted-imports"],
  ['import path from "path"; export const a = path.sep;', "no-restricted-imports"],
  ['export const a = await import("node:os");', "no-restricted-imports"],
  ['import { Encoder } from "cbor-x"; export const a = Encoder;', "no-restricted-imports"],
  ['import { fsLedger } from "../adapters/fs/index.ts"; export const a = fsLedger;', "no-restricted-imports"],
  [
    'import { webEnvironment } from "../platform/environment.ts"; export const a = webEnvironment;',
    "no-restricted-imports",
  ],
  ['export const a = require("node:fs");', "no-restricted-globals"],
  ['export const a = Buffer.from("x");', "no-restricted-globals"],
  ["export const a = process.env;", "no-restricted-globals"],
  ["export const a = setTimeout(() => undefined, 1);", "no-restricted-globals"],
  ["queueMicrotask(() => undefined);", "no-restricted-globals"],
  ["export const a = performance.now();", "no-restricted-globals"],
  ["export const a = crypto.randomUUID();", "no-restricted-globals"],
  ["export const a = globalThis.Date;", "no-restricted-globals"],
  ['console.log("x");', "no-restricted-globals"],
  ["export const a = Date.now();", "no-restricted-properties"],
  ["const { now } = Date; export const a = now();", "no-restricted-properties"],
  ["export const a = Math.random();", "no-restricted-properties"],
  ['export const a = eval("1");', "no-eval"],
  ['export const a = new Function("return 1");', "no-new-func"],
];

describe("the lint configuration", () => {
  test("refuses every way to a runtime, a clock or randomness in the core", () => {
    using folder = temporaryFolder();
    copyFileSync(join(root, ".oxlintrc.json"), folder.file(".oxlintrc.json"));
    VIOLATIONS.forEach(([source], index) => write(folder.file(`src/core/violation-${index}.ts`), source));
    write(folder.file("src/core/fine.ts"), 'export { encodeKey } from "./key.ts"; export const a = new Date(0);');
    write(folder.file("src/adapters/fs/fine.ts"), 'export * from "node:fs"; export const a = Date.now();');

    const found = lint(folder.path);

    const expected = VIOLATIONS.map(([, rule], index) => `src/core/violation-${index}.ts ${rule}`);
    expect(found).toEqual(expect.arrayContaining(expected));
    expect(found.filter((each) => each.includes("fine"))).toEqual([]);
  });

  test("has nothing to say about a clock read through a constructor, so nothing in the core does that", () => {
    const files = globSync("src/core/**/*.ts", { cwd: root });
    const offenders = files.filter((file) => /\bDate\(\)|\bTemporal\b/.test(readFileSync(join(root, file), "utf8")));
    expect(files).not.toEqual([]);
    expect(offenders).toEqual([]);
  });
});

function write(file: string, text: string): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${text}\n`);
}

/** "file rule" for every problem that oxlint finds in a folder with its own configuration. */
function lint(folder: string): string[] {
  const { stdout } = spawnSync(join(root, "node_modules/.bin/oxlint"), ["--format", "json"], {
    cwd: folder,
    encoding: "utf8",
  });
  const report = JSON.parse(stdout) as { diagnostics: { code: string; filename: string }[] };
  return report.diagnostics.map(({ code, filename }) => `${filename} ${/\(([^)]+)\)/.exec(code)?.[1]}`);
}
