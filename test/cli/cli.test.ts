import { spawn } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { main } from "../../src/cli/main.ts";
import { VALUES, queryIn, wordsOf } from "../../src/cli/words.ts";
import { KV } from "../../src/index.node.ts";
import { temporaryFolder } from "../support/folder.ts";

interface Told {
  readonly code: number;
  readonly shown: readonly (readonly unknown[])[];
  readonly printed: string;
  readonly complaints: readonly string[];
}

/** What the program does with these words, and with these lines. */
async function tell(words: readonly string[], lines: readonly string[] = [], signal?: AbortSignal): Promise<Told> {
  const shown: (readonly unknown[])[] = [];
  const printed: string[] = [];
  const complaints: string[] = [];
  const code = await main(words, {
    print: (line) => void printed.push(line),
    show: (...values) => void shown.push(values),
    complain: (line) => void complaints.push(line),
    lines: async function* () {
      yield* lines;
    },
    interrupted: () => signal ?? AbortSignal.abort(),
  });
  return { code, shown, printed: printed.join("\n"), complaints };
}

describe("words", () => {
  test("are parted by spaces, but not within JSON", () => {
    expect(wordsOf('  set ["a b", {"to": 1}]  {"x": [1, "} ]"]}  ')).toEqual([
      "set",
      '["a b", {"to": 1}]',
      '{"x": [1, "} ]"]}',
    ]);
    expect(wordsOf("set:string a.b  many words")).toEqual(["set:string", "a.b", "many", "words"]);
    expect(wordsOf(" ")).toEqual([]);
    expect(wordsOf(' set  ["a b"]   two   words ', 3)).toEqual(["set", '["a b"]', "two   words"]);
    expect(() => wordsOf('get ["a"')).toThrow("JSON");
  });

  test("are keys as JSON, or with dots, in which digits are a number", () => {
    expect(queryIn('["users",1,"1",true,{"to":5}]')).toEqual(["users", 1, "1", true, { to: 5 }]);
    expect(queryIn("users.-1.x1")).toEqual(["users", -1, "x1"]);
    // What a number would change stays a text.
    expect(queryIn("007.12345678901234567890")).toEqual(["007", "12345678901234567890"]);
    expect(() => queryIn("[1")).toThrow("[1");
  });

  test("are values of the kind that is named", () => {
    expect(VALUES.json('{"a":[1]}')).toEqual({ a: [1] });
    expect(VALUES.string("1")).toBe("1");
    expect(VALUES.number("-1e3")).toBe(-1000);
    expect(VALUES.boolean("false")).toBe(false);
    expect(VALUES.date("2026-01-02")).toEqual(new Date("2026-01-02"));
    expect(VALUES.bigint("12")).toBe(12n);
    for (const [kind, wrong] of Object.entries({ json: "a", number: "", boolean: "1", date: "x", bigint: "1.5" }))
      expect(() => VALUES[kind as keyof typeof VALUES](wrong)).toThrow();
  });
});

describe("commands", () => {
  test("write and read a database, one at a time", async () => {
    using folder = temporaryFolder();
    const file = folder.file("a.db");
    expect(await tell([file, "set", "users.1", '{"name":"Alice"}'])).toMatchObject({ code: 0, complaints: [] });
    expect(await tell([file, "set:date", '["users",2]', "2026-01-02"])).toMatchObject({ code: 0 });
    expect(await tell([file, "set:string", "note", "two", "words"])).toMatchObject({ code: 0 });
    expect((await tell([file, "get", "users.1"])).shown).toMatchObject([[{ value: { name: "Alice" } }]]);
    expect((await tell([file, "list", "users"])).shown).toEqual([
      [["users", 1], { name: "Alice" }],
      [["users", 2], new Date("2026-01-02")],
    ]);
    expect((await tell([file, "keys", '["users",{"from":2}]'])).shown).toEqual([[["users", 2]]]);
    expect((await tell([file, "count"])).shown).toEqual([[3]]);
    expect((await tell([file, "delete", "note"])).code).toBe(0);
    expect((await tell([file, "scan", "note"])).shown).toMatchObject([
      [expect.any(Number), expect.any(Date), "set", ["note"], "two words"],
      [expect.any(Number), expect.any(Date), "delete", ["note"]],
    ]);
    expect((await tell([file, "vacuum"])).shown).toMatchObject([[{ generation: 2 }]]);
    expect((await tell([file, "backup", folder.file("b.db")])).code).toBe(0);
    expect((await tell([folder.file("b.db"), "count"])).shown).toEqual([[2]]);
    expect((await tell([file, "stats"])).shown).toMatchObject([[{ generation: 2 }]]);
  });

  test("that read create nothing and write nothing; those that remove create nothing", async () => {
    using folder = temporaryFolder();
    const file = folder.file("a.db");
    for (const command of [[], ["list"], ["count"], ["scan"], ["stats"], ["delete", "a"], ["vacuum"], ["repair"]]) {
      const { code, complaints } = await tell([file, ...command]);
      expect([code, complaints[0]]).toEqual([1, expect.stringContaining("LedgerMissing")]);
    }
    expect(existsSync(file)).toBe(false);
    await tell([file, "set", "a", "1"]);
    const before = readFileSync(file);
    for (const command of ["list", "keys", "count", "scan", "stats"])
      expect((await tell([file, command])).code).toBe(0);
    expect(readFileSync(file).equals(before)).toBe(true);
  });

  test("that cannot be understood or done say so, with a code", async () => {
    using folder = temporaryFolder();
    const file = folder.file("a.db");
    await tell([file, "set", "a", "1"]);
    for (const words of [["nonsense"], ["get"], ["get", "a", "b"], ["set", "a"], ["set", "a", "text"], ["constructor"]])
      expect(await tell([file, ...words])).toMatchObject({ code: 2, shown: [], complaints: [expect.any(String)] });
    for (const words of [
      ["get", "none"],
      ["get", "[]"],
      ["delete", '[{"to":1}]'],
    ])
      expect(await tell([file, ...words])).toMatchObject({ code: 1, shown: [], complaints: [expect.any(String)] });
    expect((await tell([])).code).toBe(2);
    expect(await tell(["--help"])).toMatchObject({ code: 0, printed: expect.stringContaining("set:date") });
    expect((await tell(["--nothing"])).code).toBe(2);
  });

  test("that are typed are done one after the other, on one open database", async () => {
    using folder = temporaryFolder();
    const file = folder.file("a.db");
    await tell([file, "set", "z", "1"]);
    const lines = ['set a {"b": 1}', "wrong", "get a", "", 'set:string ["b"]  say  "hello', "get b", "help"];
    const { code, shown, printed, complaints } = await tell([file], [...lines, "exit", "set a 2"]);
    expect(code).toBe(1);
    const written = [{ version: expect.any(Number) }];
    expect(shown).toMatchObject([written, [{ value: { b: 1 } }], written, [{ value: 'say  "hello' }]]);
    expect(complaints).toEqual([expect.stringContaining("wrong")]);
    expect(printed).toContain("set:date");
  });

  test("watch tells what happens until it is interrupted", async () => {
    using folder = temporaryFolder();
    const file = folder.file("a.db");
    await using db = await KV.open(file);
    const controller = new AbortController();
    const shown: unknown[] = [];
    let begun = (): void => undefined;
    const watching = new Promise<void>((resolve) => (begun = resolve));
    const done = main([file, "watch", "a"], {
      print: () => undefined,
      complain: () => undefined,
      show: (_version, ...rest) => {
        shown.push(rest);
        if (shown.length === 2) controller.abort();
      },
      lines: async function* () {},
      interrupted: () => {
        begun();
        return controller.signal;
      },
    });
    await watching;
    await db.set(["a"], 1);
    await db.set(["b"], 1);
    await db.delete(["a"]);
    expect(await done).toBe(0);
    expect(shown).toEqual([
      ["set", ["a"], 1],
      ["delete", ["a"]],
    ]);
  });

  test("repair tells what could not be kept", async () => {
    using folder = temporaryFolder();
    const file = folder.file("a.db");
    for (const key of ["a", "b", "c"]) await tell([file, "set:string", key, "x".repeat(100)]);
    const bytes = readFileSync(file);
    bytes[bytes.length - 150 - 100] ^= 1;
    writeFileSync(file, bytes);
    // What a damaged file gives is not all that there was.
    for (const command of [["list"], ["keys"], ["count"], ["scan"], ["stats"], ["get", "a"]])
      expect(await tell([file, ...command])).toMatchObject({
        code: 1,
        complaints: [expect.stringContaining("LedgerDamaged")],
      });
    expect(await tell([file], ["count"])).toMatchObject({ code: 1, shown: [[2]] });
    const { code, printed } = await tell([file, "repair"]);
    expect([code, printed]).toEqual([0, expect.stringContaining("could not be kept")]);
    expect(await tell([file, "count"])).toMatchObject({ code: 0, shown: [[2]] });
  });

  test("repair makes a file of zeros a database, and no other file that is none", async () => {
    using folder = temporaryFolder();
    const file = folder.file("a.db");
    writeFileSync(file, new Uint8Array(100));
    expect((await tell([file, "count"])).code).toBe(1);
    expect((await tell([file, "repair"])).code).toBe(0);
    expect(await tell([file, "count"])).toMatchObject({ code: 0, shown: [[0]] });
    const text = folder.file("a.txt");
    writeFileSync(text, "Dear diary");
    expect((await tell([text, "repair"])).code).toBe(1);
    expect(readFileSync(text, "utf8")).toBe("Dear diary");
  });

  test("repair opens a file of which not even the header is whole", async () => {
    using folder = temporaryFolder();
    const file = folder.file("a.db");
    await tell([file, "set", "a", "1"]);
    const bytes = readFileSync(file);
    // Both copies of it.
    for (const at of [20, 151]) bytes[at] ^= 1;
    writeFileSync(file, bytes);
    expect((await tell([file, "count"])).code).toBe(1);
    const { code, complaints } = await tell([file, "repair"]);
    expect([code, complaints[0]]).toEqual([0, expect.stringContaining("LedgerDamaged")]);
    expect((await tell([file, "count"])).shown).toEqual([[1]]);
  });
});

test("the program reads lines, prints what there is, and ends with the code", async () => {
  using folder = temporaryFolder();
  const program = fileURLToPath(new URL("../../src/cli/index.ts", import.meta.url));
  const run = async (words: readonly string[], input: string): Promise<readonly [code: unknown, out: string]> => {
    const child = spawn(process.execPath, [program, ...words], { stdio: ["pipe", "pipe", "ignore"] });
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.stdin.end(input);
    const out = await text(child.stdout);
    return [await ended, out];
  };
  const file = folder.file("a.db");
  expect(await run([file, "set", "a.1", "1"], "")).toEqual([0, expect.stringContaining("version")]);
  expect(await run([file], "set a.1 [1,2]\nget a.2\nkeys\n")).toEqual([1, expect.stringContaining("[ 'a', 1 ]")]);
  expect(await run([file, "list"], "")).toEqual([0, "[ 'a', 1 ]  [ 1, 2 ]\n"]);
});
