import { readFileSync } from "node:fs";
import { environment, KV } from "foliokv";
import { ledgerConformance } from "foliokv/testing";
import { describe, expect, test } from "vitest";
import { sqliteLedger } from "../../examples/adapter/sqlite-ledger.ts";
import { temporaryFolder } from "../support/folder.ts";

/** The example of docs/ADAPTERS.md is a ledger that works, and the page shows it as it is. */

describe("the example's ledger", () => {
  ledgerConformance({
    test,
    environment,
    create: async () => {
      const folder = temporaryFolder();
      return {
        ledger: () => sqliteLedger(folder.file("ledger.sqlite")),
        dispose: async () => folder[Symbol.dispose](),
      };
    },
    capabilities: { vacuum: false, checkpoints: false },
  });

  test("carries two databases that see each other", async () => {
    using folder = temporaryFolder();
    const path = folder.file("ledger.sqlite");
    await using first = await KV.open(sqliteLedger(path));
    await using second = await KV.open(sqliteLedger(path));
    await Promise.all(
      Array.from({ length: 100 }, (_, i) => (i % 2 === 0 ? first : second).atomic().sum(["n"], 1).commit()),
    );
    expect(await first.get(["n"], { consistency: "strong" })).toBe(100);
    expect(await second.get(["n"], { consistency: "strong" })).toBe(100);
  });
});

test("docs/ADAPTERS.md shows the example as it is", () => {
  const page = readFileSync(new URL("../../docs/ADAPTERS.md", import.meta.url), "utf8");
  const source = readFileSync(new URL("../../examples/adapter/sqlite-ledger.ts", import.meta.url), "utf8");
  expect(page).toContain(`\`\`\`ts\n${source}\`\`\`\n`);
});

test("docs/ADAPTERS.md names every member of a session", () => {
  const contract = readFileSync(new URL("../../src/core/ledger.ts", import.meta.url), "utf8");
  const page = readFileSync(new URL("../../docs/ADAPTERS.md", import.meta.url), "utf8");
  const body = /export interface LedgerSession \{\n([\s\S]*?)\n\}/.exec(contract)?.[1] ?? "";
  const members = [...body.matchAll(/^ {2}(?:readonly )?(\w+)\??[(:]/gm)].map(([, member]) => member);
  expect(members).toContain("readValue");
  for (const member of members) expect(page).toContain(`\`${member}\``);
});
