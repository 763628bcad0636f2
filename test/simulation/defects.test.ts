import { describe, expect, test } from "vitest";
import { defects } from "./defects.ts";
import { runSimulation } from "./program.ts";

/** Seeds that each defect is looked for in. Most are found within the first ten. */
const SEEDS_MAX = 1000;
/** Those that look for something rare have to find nothing where there is nothing, in so many. */
const LEANING_SEEDS = 60;

describe("the simulation has teeth", () => {
  for (const { name } of defects) {
    test(`it finds out that ${name}`, async () => {
      const { code, output } = await runSimulation("--seeds", String(SEEDS_MAX), "--defect", name);
      // A source that has moved on from under a defect ends the program too, but names no seed.
      expect(output).toMatch(/^seed \d+ fails:$/m);
      expect(code).toBe(1);
    }, 180_000);
  }

  for (const { name } of defects.filter(({ leaning }) => leaning !== undefined)) {
    test(`what leads to it is no reason to find that ${name}`, async () => {
      const { code, output } = await runSimulation("--seeds", String(LEANING_SEEDS), "--leaning", name);
      expect(output).toMatch(/nothing wrong$/m);
      expect(code).toBe(0);
    });
  }

  test("without a defect the same program ends well", async () => {
    const { code, output } = await runSimulation("--seeds", "20");
    expect(output).toMatch(/nothing wrong$/m);
    expect(code).toBe(0);
  });
});
