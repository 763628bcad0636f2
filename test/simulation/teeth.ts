import { describe, expect, test } from "vitest";
import { runSimulation } from "./program.ts";

/** Those that look for something rare have to find nothing where there is nothing, in so many. */
const LEANING_SEEDS = 20;

/** Tests that each of the defects is found within so many seeds, and nothing where there is none. `options`: of the program, for all of them. */
export function testDefects<L extends object>(
  defects: readonly { readonly name: string; readonly leaning?: L }[],
  { seedsMax, options = [] }: { readonly seedsMax: number; readonly options?: readonly string[] },
): void {
  describe("the simulation has teeth", () => {
    for (const { name } of defects) {
      test(`it finds out that ${name}`, async () => {
        const { code, output } = await runSimulation(...options, "--seeds", String(seedsMax), "--defect", name);
        // A source that has moved on from under a defect ends the program too, but names no seed.
        expect(output).toMatch(/^seed \d+ fails:$/m);
        expect(code).toBe(1);
      }, 180_000);
    }

    // One process for all: whatever it has run a few hundred times it runs in half the time.
    test("what leads to any of it is no reason to find something", async () => {
      const leanings = new Map(defects.map(({ name, leaning }) => [leaning, name]));
      leanings.delete(undefined);
      const given = [...leanings.values()].flatMap((name) => ["--leaning", name]);
      const { code, output } = await runSimulation(...options, "--seeds", String(LEANING_SEEDS), ...given);
      if (code !== 0) expect.fail(output);
      expect(output.match(new RegExp(`^${LEANING_SEEDS} seeds .* nothing wrong$`, "gm"))).toHaveLength(leanings.size);
    }, 600_000);
  });
}
