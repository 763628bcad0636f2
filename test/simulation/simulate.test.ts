import { describe, expect, test } from "vitest";
import { runSimulation } from "./program.ts";

describe("the program that runs the simulation", () => {
  test("says what it can be asked for", async () => {
    const { code, output } = await runSimulation("--help");
    expect(output).toMatch(/--seeds N[^]*--defect NAME[^]*--digest/);
    expect(code).toBe(0);
  });

  test.each([
    ["an option that there is not", "--sedes", "--sedes", "3"],
    ["what belongs to no option", "defect", "defect"],
    ["a number that is none", "--seeds", "--seeds", "many"],
    ["a defect that there is not", "in the evening", "--defect", "in the evening"],
    ["a stop with nothing to stop at", "--incidents", "--stop"],
  ])("runs nothing when it is given %s", async (_, named, ...options) => {
    const { code, output } = await runSimulation(...options);
    expect(code).toBe(2);
    expect(output.split("\n")[0]).toContain(named);
    expect(output).not.toMatch(/seeds from|nothing wrong/);
  });

  test("names the options that bring the same run again", async () => {
    const defect = "versions are used twice";
    const { output } = await runSimulation("--seeds", "20", "--defect", defect);
    const seed = /^seed (\d+) fails:$/m.exec(output)?.[1] ?? "";
    expect(output).toContain(`npm run simulate -- --defect "${defect}" --seed ${seed} prints`);
    const again = await runSimulation("--seed", seed, "--defect", defect);
    expect(again.output).toMatch(new RegExp(`^seed ${seed} fails:$`, "m"));
  });
});
