import { expect, it } from "vitest";
import { temporaryFolder } from "../support/folder.ts";
import { Program } from "../support/program.ts";

it.skipIf(process.platform !== "linux")(
  "what iterators and histories held that were dropped without a word is released in time",
  async () => {
    using folder = temporaryFolder();
    await using program = new Program("dropping.ts", { folder: folder.path });
    const told = await program.next();
    expect(told).toMatchObject({ length: 4, count: 1, opened: 3, left: 0, rest: [1, 2, 3, 4, 5, 6, 7, 8, 9] });
    expect(await program.exited).toMatchObject({ code: 0 });
  },
);
