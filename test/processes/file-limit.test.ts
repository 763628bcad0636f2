import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";
import { KV } from "../../src/index.node.ts";
import { temporaryFolder } from "../support/folder.ts";
import { Program } from "../support/program.ts";

test("behind a limit on the size of files others go on, and the limited process does once it is lifted", async () => {
  using folder = temporaryFolder();
  const path = folder.file("ledger.db");
  await using db = await KV.open(path);
  // 1000 blocks of 1024 bytes.
  const through = ["bash", "-c", 'ulimit -S -f 1000; exec "$@"', "bash"];
  await using program = new Program("file-limit.ts", { path }, { through });
  const { readable } = await program.next((message) => "readable" in message);
  const commits = program.messages.filter((message) => "n" in message);
  const first = commits.findIndex((commit) => "code" in commit);
  // In order: what was queued behind one that was rejected is rejected too.
  expect(commits.map(({ n }) => n)).toEqual(commits.map((_, i) => i + 1));
  for (const commit of commits.slice(first))
    expect(commit).toMatchObject({ code: "NoSpace", outcome: "not committed" });
  expect(first).toBeGreaterThan(100);
  expect(readable).toBe(first);

  await db.sync();
  expect(await db.listKeys([])).toEqual(commits.slice(0, first).map(({ n }) => [n]));
  for (const { n, version } of commits.slice(0, first)) {
    expect((await db.getEntry([n as number]))?.version).toBe(version);
  }
  await db.set(["another process"], 1);
  program.send({ do: "write" });
  expect((await program.next()).later).toEqual({ code: "NoSpace", outcome: "not committed" });

  const lifted = spawnSync("prlimit", ["--pid", String(program.pid), "--fsize=unlimited"]);
  if (lifted.error !== undefined) return console.warn("Lifting the limit is not tested: there is no prlimit here");
  program.send({ do: "write" });
  expect((await program.next()).later).toBe("committed");
  program.send({ do: "end" });
  expect(await program.exited).toEqual({ code: 0, signal: null });
  await db.sync();
  expect(await db.get(["later"])).toBe(1);
});
