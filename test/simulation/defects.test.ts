import { describe, expect, test } from "vitest";
import { defects } from "./defects.ts";
import { runSimulation } from "./program.ts";

/** Seeds that each defect is looked for in. Most are found within the first ten. */
const SEEDS_MAX = 1000;

describe("the simulation has teeth", () => {
  for (const { name, from } of defects) {
    test(`it finds out that ${name}`, async () => {
      const options = ["--from", String(from), "--seeds", String(SEEDS_MAX), "--defect", name];
      const { code, output } = await runSimulation(...options);
      // A source that has moved on from under a defect ends the program too, but names no seed.
      expect(output).toMatch(/^seed \d+ fails:$/m);
      expect(code).toBe(1);
    });
  }

  test("without a defect the same program ends well", async () => {
    const { code, output } = await runSimulation("--seeds", "20");
    expect(output).toMatch(/nothing wrong$/m);
    expect(code).toBe(0);
  });
});
