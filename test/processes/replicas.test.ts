import { expect, test } from "vitest";
import { KV } from "../../src/index.node.ts";
import { temporaryFolder } from "../support/folder.ts";
import { Program } from "../support/program.ts";

test("replicas that were stopped, or did not look, through several vacuums catch up, and their watches with them", async () => {
  using folder = temporaryFolder();
  const path = folder.file("ledger.db");
  await using db = await KV.open(path);
  for (let i = 0; i < 200; i++) await db.set(["item", i], i);
  await using stack = new AsyncDisposableStack();
  const kinds = [false, true].flatMap((readOnly) => [false, true].map((autoSync) => ({ readOnly, autoSync })));
  const replicas = kinds.flatMap((kind) =>
    [false, true].map((stopped) => ({ stopped, program: stack.use(new Program("replica.ts", { path, ...kind })) })),
  );
  await Promise.all(replicas.map(({ program }) => program.next()));
  for (const { stopped, program } of replicas) if (stopped) program.signal("SIGSTOP");
  for (let round = 1; round <= 4; round++) {
    for (let i = 0; i < 50; i++) await db.set(["item", (i * 7 + round) % 200], `round ${round}, ${i}`);
    await db.delete(["item", round]);
    await db.atomic().sum(["sum"], round).commit();
    // Those that are there may hold it up for a moment, those that are stopped may not.
    await db.vacuum();
    await db.set(["after"], round);
  }
  for (const { stopped, program } of replicas) if (stopped) program.signal("SIGCONT");
  const expected = (await db.listAll([])).map(({ key, value, version }) => [key.join("/"), value, version]);
  for (const { program } of replicas) {
    program.send({ do: "compare" });
    const told = await program.next();
    expect(told).toMatchObject({ wrong: 0, backwards: 0, errors: [], generation: 5 });
    expect(told.entries).toEqual(expected);
    expect(told.invalidated).toBeGreaterThan(0);
  }
  await db.set(["item", "last"], 1);
  for (const { program } of replicas) {
    program.send({ do: "compare" });
    expect(await program.next()).toMatchObject({ wrong: 0, backwards: 0, errors: [] });
    program.send({ do: "end" });
    expect(await program.exited).toEqual({ code: 0, signal: null });
  }
}, 180_000);
