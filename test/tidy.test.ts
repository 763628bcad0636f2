import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { LONG } from "./long.ts";

/** Rules of this repository that matter and that no linter knows. CONTRIBUTING.md tells them. */

const root = fileURLToPath(new URL("..", import.meta.url));
const self = relative(root, fileURLToPath(import.meta.url));

/** What git knows or would add, without what has no text. */
const files = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], {
  cwd: root,
  encoding: "utf8",
})
  .split("\n")
  .filter((file) => file !== "" && !file.endsWith(".db") && existsSync(join(root, file)));
const code = files.filter((file) => /\.(ts|mjs)$/.test(file));

const read = (file: string): string => readFileSync(join(root, file), "utf8");

/** The paths that a module imports or exports from. */
function importsOf(file: string): string[] {
  return [...read(file).matchAll(/\bfrom "([^"]+)"|^import "([^"]+)"/gm)].map(([, from, bare]) => from ?? bare);
}

/** Long files, and why they are not several. */
const LONG_FILES: Readonly<Record<string, string>> = {
  "src/core/kv.ts": "the public class: what each call promises is told where users look for it",
  "src/core/ledger.ts": "the contract: the duties of a ledger, each beside the member that it belongs to",
  "src/adapters/fs/session.ts": "one opened file: reading, appending and moving on share its position",
  "src/testing/conformance.ts": "the list of all duties of a ledger, to be read from top to bottom",
  "test/simulation/simulation.ts": "the fault model and the one loop under it, to be read from top to bottom",
  "test/format/make.ts": "the list of all golden files, to be read from top to bottom",
  "test/format/reader.ts": "a reader of the format, to be read from top to bottom beside docs/FORMAT.md",
};
const LINES_MAX = 500;

describe("files", () => {
  test("name no place of anybody's machine", () => {
    const places = /(?<![\w.:/~-])\/(?:work|home|root|Users|tmp|var|private)\/|[A-Z]:\\\\?Users/;
    // The lock file has hashes in which anything can occur.
    const offenders = files.filter((file) => file !== self && file !== "package-lock.json" && places.test(read(file)));
    expect(offenders).toEqual([]);
  });

  test("have at most 500 lines, or a reason", () => {
    const long = code.filter((file) => read(file).split("\n").length - 1 > LINES_MAX);
    expect(long.filter((file) => LONG_FILES[file] === undefined)).toEqual([]);
    expect(Object.keys(LONG_FILES).filter((file) => !files.includes(file))).toEqual([]);
  });

  test("that record decisions have a number of their own, which their heading tells", () => {
    const records = files.filter((file) => /^docs\/decisions\/\d/.test(file));
    const numbers = records.map((file) => /\d+/.exec(file)?.[0]);
    expect(numbers.filter((number, i) => numbers.indexOf(number) !== i)).toEqual([]);
    const headings = records.map((file) => /^# (\d+)\. /.exec(read(file))?.[1].padStart(4, "0"));
    expect(headings).toEqual(numbers);
  });

  test("of tests that last long are begun first under the names that they have", () => {
    expect(LONG.filter((file) => !files.includes(file))).toEqual([]);
  });

  test("link only to what is there", () => {
    const missing: string[] = [];
    for (const file of files.filter((each) => each.endsWith(".md"))) {
      for (const [, target] of read(file).matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)) {
        if (/^[a-z]+:/.test(target)) continue;
        if (!existsSync(join(root, dirname(file), target))) missing.push(`${file}: ${target}`);
      }
    }
    expect(missing).toEqual([]);
  });
});

describe("imports point one way", () => {
  test("the core imports nothing but itself", () => {
    const offenders = code
      .filter((file) => file.startsWith("src/core/"))
      .flatMap((file) => importsOf(file).map((from) => `${file}: ${from}`))
      .filter((each) => !/: \.\/[\w-]+\.ts$/.test(each));
    expect(offenders).toEqual([]);
  });

  test("adapters import the contract, what its types are made of, and nothing else of the core", () => {
    const allowed = new Set([
      "ledger",
      "errors",
      "given-options",
      "show",
      "bytes",
      "bytes-at",
      "environment",
      "fields",
      "mask",
      "crc32",
      "run-format",
    ]);
    // What is staged are values within payloads: this one file has to find them there.
    const looksIntoPayloads = "src/adapters/object/staged.ts";
    const offenders = code
      .filter((file) => file.startsWith("src/adapters/"))
      .flatMap((file) => importsOf(file).map((from) => ({ file, module: /\/core\/([\w-]+)\.ts$/.exec(from)?.[1] })))
      .filter(({ module }) => module !== undefined && !allowed.has(module))
      .filter(({ file, module }) => !(file === looksIntoPayloads && module === "commit"));
    expect(offenders).toEqual([]);
  });

  test("no adapter imports another, but for what those over object stores have in common", () => {
    const offenders = code
      .filter((file) => file.startsWith("src/adapters/"))
      .flatMap((file) => importsOf(file).map((from) => ({ file, from })))
      .filter(({ from }) => from.startsWith("."))
      .map(({ file, from }) => ({ file, to: relative(root, join(root, dirname(file), from)) }))
      .filter(({ file, to }) => to.startsWith("src/adapters/") && dirname(to) !== dirname(file))
      .filter(({ to }) => dirname(to) !== "src/adapters/object");
    expect(offenders).toEqual([]);
  });
});

describe("packages", () => {
  test("are imported where they belong, and nowhere else", () => {
    const imported = code
      .filter((file) => file.startsWith("src/"))
      .flatMap((file) => importsOf(file).map((from) => `${file}: ${from}`))
      .filter((each) => !/: (?:\.|node:)/.test(each));
    expect(imported).toEqual([
      "src/adapters/s3-fetch/store.ts: aws4fetch",
      "src/adapters/s3/store.ts: @aws-sdk/client-s3",
      "src/adapters/unstorage/store.ts: unstorage",
      "src/unstorage/driver.ts: unstorage",
    ]);
  });
});

/** What an entry file exports, with the file that declares it. */
function exportsOf(entry: string): { readonly name: string; readonly file: string }[] {
  const found: { name: string; file: string }[] = [];
  for (const [, names, from] of read(entry).matchAll(/^export (?:type )?\{([^}]*)\} from "([^"]+)";/gm)) {
    const file = join(dirname(entry), from);
    for (const each of names.split(",").filter((name) => name.trim() !== "")) {
      const name = each
        .trim()
        .replace(/^type /, "")
        .replace(/ as .*$/, "");
      found.push({ name, file });
    }
  }
  return found;
}

describe("what the package exports", () => {
  const entries = [
    "src/core/index.ts",
    "src/adapters/fs/index.ts",
    "src/adapters/memory/index.ts",
    "src/adapters/object/index.ts",
    "src/object/index.ts",
    "src/adapters/s3/index.ts",
    "src/adapters/s3-fetch/index.ts",
    "src/adapters/r2/index.ts",
    "src/adapters/unstorage/index.ts",
    "src/testing/index.ts",
    "src/unstorage/index.ts",
  ];

  test.each(entries)("has a comment that says what it is: %s", (entry) => {
    const exported = exportsOf(entry);
    expect(exported).not.toEqual([]);
    const silent = exported.filter(({ name, file }) => {
      const declaration = new RegExp(
        `\\*/\\nexport (?:abstract )?(?:declare )?(?:async )?(?:class|interface|type|const|function) ${name}\\b`,
      );
      return !declaration.test(read(file));
    });
    expect(silent).toEqual([]);
  });

  test("has a comment for whatever can be told to a bucket, and is told by one", () => {
    const told: Readonly<Record<string, RegExp>> = {
      "src/adapters/s3/store.ts": /^S3StoreOptions$/,
      "src/adapters/s3-fetch/store.ts": /^S3(?:FetchStoreOptions|Credentials)$/,
      "src/adapters/r2/store.ts": /^R2StoreOptions$/,
      "src/adapters/r2/bucket.ts": /./,
      "src/adapters/object/s3-options.ts": /^S3CommonOptions$/,
      "src/adapters/object/store-ledger.ts": /^StoreLedgerOptions$/,
      "src/adapters/object/ledger.ts": /./,
      "src/adapters/object/object-store.ts": /./,
      "src/adapters/object/probe.ts": /^Probe(?:Options|Report|Verdict)$/,
      "src/adapters/object/memory-store.ts": /^MemoryStoreOptions$/,
      "src/adapters/unstorage/store.ts": /./,
      "src/unstorage/driver.ts": /^FoliokvDriverOptions$/,
    };
    const silent: string[] = [];
    for (const [file, names] of Object.entries(told)) {
      const interfaces = [...read(file).matchAll(/^export interface (\w+)[^{]*\{\n(.*?)^\}/gms)];
      const wanted = interfaces.filter(([, name]) => names.test(name));
      expect(wanted).not.toEqual([]);
      for (const [, name, body] of wanted) {
        for (const [, before, member] of body.matchAll(/(.*\n|^)  (?:readonly )?(\w+)\??[:(<]/g)) {
          // What tells answers apart needs no words of its own.
          if (!before.trimEnd().endsWith("*/") && member !== "status") silent.push(`${file}: ${name}.${member}`);
        }
      }
    }
    expect(silent).toEqual([]);
  });

  test("has every error code in the table of remedies beside the codes", () => {
    const source = read("src/core/errors.ts");
    const union = /export type KVErrorCode =([^;]*);/.exec(source)?.[1] ?? "";
    const codes = [...union.matchAll(/"(\w+)"/g)].map(([, name]) => name);
    const table = source.slice(0, source.indexOf("export type KVErrorCode"));
    const told = table
      .split("\n")
      .filter((line) => line.startsWith(" * | `"))
      .flatMap((line) => [...line.split("|")[1].matchAll(/`(\w+)`/g)].map(([, name]) => name));
    expect(told.toSorted()).toEqual(codes.toSorted());
  });
});
