import { describe, expect, test } from "vitest";
import { runSimulation } from "./program.ts";

/** Those that look for something rare have to find nothing where there is nothing, in so many. */
const LEANING_SEEDS = 60;

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

    const leaning = defects.filter((each, i) => {
      const first = defects.findIndex((other) => other.leaning === each.leaning);
      return each.leaning !== undefined && first === i;
    });
    for (const { name } of leaning) {
      test(`what leads to it is no reason to find that ${name}`, async () => {
        const { code, output } = await runSimulation(...options, "--seeds", String(LEANING_SEEDS), "--leaning", name);
        expect(output).toMatch(/nothing wrong$/m);
        expect(code).toBe(0);
      }, 60_000);
    }

    test("without a defect the same program ends well", async () => {
      const { code, output } = await runSimulation(...options, "--seeds", "20");
      expect(output).toMatch(/nothing wrong$/m);
      expect(code).toBe(0);
    });
  });
}
