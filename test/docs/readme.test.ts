import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { temporaryFolder } from "../support/folder.ts";

/**
 * The programs in README.md run. All TypeScript blocks of a section (`##`) are one program; a line that ends in `// => value` is
 * an expectation.
 */

const root = fileURLToPath(new URL("../../", import.meta.url));
// Within the repository, so that imports of the package find its source.
const folder = join(root, ".cache/readme");
const readme = readFileSync(join(root, "README.md"), "utf8");

function programs(): { readonly title: string; readonly lines: readonly string[] }[] {
  return readme
    .split(/^## /m)
    .slice(1)
    .map((section) => {
      const blocks = [...section.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, code]) => code);
      return { title: section.slice(0, section.indexOf("\n")), lines: blocks.join("").split("\n") };
    })
    .filter(({ lines }) => lines.length > 1);
}

/** The program with its expectations made calls of `expectation`. */
function executable(lines: readonly string[]): { readonly code: string; readonly expectations: number } {
  let expectations = 0;
  const converted = lines.map((line) => {
    const match = /^( *)(.*); \/\/ => (.*)$/.exec(line);
    if (match === null) return line;
    expectations++;
    return `${match[1]}expectation(${match[2]}, ${match[3]}, ${JSON.stringify(line)});`;
  });
  const imports = converted.filter((line) => line.startsWith("import "));
  const body = converted.filter((line) => !line.startsWith("import "));
  const code = [
    ...imports,
    "export async function run(expectation: (actual: unknown, expected: unknown, line: string) => void): Promise<void> {",
    ...body,
    "}",
  ].join("\n");
  return { code, expectations };
}

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("README.md", () => {
  test.each(programs())("the program of section $title does what it says", async ({ title, lines }) => {
    const { code, expectations } = executable(lines);
    mkdirSync(folder, { recursive: true });
    const file = join(folder, `${title.replaceAll(/\W+/g, "-").toLowerCase()}.ts`);
    writeFileSync(file, code);
    const program = (await import(/* @vite-ignore */ file)) as {
      run(expectation: (actual: unknown, expected: unknown, line: string) => void): Promise<void>;
    };
    const before = process.cwd();
    using data = temporaryFolder();
    process.chdir(data.path);
    let met = 0;
    try {
      await program.run((actual, expected, line) => {
        expect(actual, line).toEqual(expected);
        met++;
      });
    } finally {
      process.chdir(before);
    }
    expect(met).toBe(expectations);
  });

  test("there are programs in it", () => {
    expect(programs().map(({ title }) => title)).toEqual([
      "Quick start",
      "API tour",
      "On a bucket",
      "As a driver of unstorage",
    ]);
  });

  test("its table tells of every error code", () => {
    const source = readFileSync(join(root, "src/core/errors.ts"), "utf8");
    const union = /export type KVErrorCode =([^;]*);/.exec(source)?.[1] ?? "";
    const codes = [...union.matchAll(/"(\w+)"/g)].map(([, code]) => code);
    expect(codes.length).toBeGreaterThan(20);
    const section = /^## Errors\n([\s\S]*?)^## /m.exec(readme)?.[1] ?? "";
    const told = section
      .split("\n")
      .filter((line) => line.startsWith("| `"))
      .flatMap((line) => [...line.split("|")[1].matchAll(/`(\w+)`/g)].map(([, code]) => code));
    expect(told.toSorted()).toEqual(codes.toSorted());
  });

  test("its tables tell of every option of the constructor and of open", () => {
    const source = readFileSync(join(root, "src/core/options.ts"), "utf8");
    const section = /^## Options\n([\s\S]*?)^## /m.exec(readme)?.[1] ?? "";
    for (const name of ["KVOptions", "OpenOptions"]) {
      const body = new RegExp(`export interface ${name} \\{\\n([\\s\\S]*?)\\n\\}`).exec(source)?.[1] ?? "";
      const options = [...body.matchAll(/readonly (\w+)\?/g)].map(([, option]) => option);
      expect(options.length).toBeGreaterThan(0);
      for (const option of options) expect(section).toContain(`| \`${option}\` |`);
    }
  });
});
