import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { defects } from "./defects.ts";

const program = fileURLToPath(new URL("simulate.ts", import.meta.url));
/** Most are found within the first ten. */
const SEEDS_MAX = 1000;

interface Ended {
  readonly code: number;
  readonly output: string;
}

function run(...options: readonly string[]): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(process.execPath, [program, ...options], { maxBuffer: 2 ** 26 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), output: stdout + stderr });
    });
  });
}

describe("the simulation has teeth", () => {
  for (const { name } of defects) {
    test(`it finds out that ${name}`, async () => {
      const { code, output } = await run("--seeds", String(SEEDS_MAX), "--defect", name);
      // A source that has moved on from under a defect ends the program too, but names no seed.
      expect(output).toMatch(/^seed \d+ fails:$/m);
      expect(code).toBe(1);
    });
  }

  test("without a defect the same program ends well", async () => {
    const { code, output } = await run("--seeds", "20");
    expect(output).toMatch(/nothing wrong$/m);
    expect(code).toBe(0);
  });
});
