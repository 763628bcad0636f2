import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { Acknowledgements } from "../../examples/demo/acknowledgements.ts";
import { prove } from "../../examples/demo/proof.ts";

const demo = fileURLToPath(new URL("../../examples/demo/demo.ts", import.meta.url));

describe("the demo", () => {
  test("kills a writer and proves that nothing acknowledged is lost, in plain lines where there is no terminal", async () => {
    const child = spawn(process.execPath, [demo, "--quick"], { stdio: ["ignore", "pipe", "inherit"] });
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
    const [status] = (await once(child, "close")) as [number];

    expect(output).toMatch(/ben got SIGKILL/);
    for (const writer of ["anna", "ben", "carla", "dora"]) {
      const numbers =
        new RegExp(`^ *${writer} +([1-9][\\d,]*) +([\\d,]+) +([\\d,]+)`, "m").exec(output)?.slice(1) ?? [];
      expect(numbers, writer).toEqual([numbers[0], numbers[0], numbers[0]]);
    }
    expect(output).not.toContain("\x1b");
    expect(status).toBe(0);
  });
});

describe("the demo's proof", () => {
  const acknowledged = (...versions: readonly number[]): Acknowledgements => {
    const acknowledgements = new Acknowledgements();
    versions.forEach((version, number) => acknowledgements.add(String(number), String(version)));
    return acknowledgements;
  };
  const found = (...versions: readonly number[]): Map<string, string> => {
    return new Map(versions.map((version, number) => [String(number), String(version)]));
  };
  const judge = (a: Map<string, string>, b: Map<string, string>, total: number, seen: number): boolean => {
    const promised = new Map([
      ["a", acknowledged(10, 20)],
      ["b", acknowledged(30)],
    ]);
    const entries = new Map([
      ["a", a],
      ["b", b],
    ]);
    return prove({ promised, found: { entries, total }, seen, killed: "b" }).holds;
  };

  test("holds when everything is as promised, and the killed writer left more", () => {
    expect(judge(found(10, 20), found(30), 3, 3)).toBe(true);
    expect(judge(found(10, 20), found(30, 40), 4, 4)).toBe(true);
  });

  test("does not hold when one is missing, has another version, is of nobody, or was counted or seen otherwise", () => {
    expect(judge(found(10), found(30), 2, 2)).toBe(false);
    expect(judge(found(10, 21), found(30), 3, 3)).toBe(false);
    expect(judge(found(10, 20, 25), found(30), 4, 4)).toBe(false);
    expect(judge(found(10, 20), found(30), 4, 3)).toBe(false);
    expect(judge(found(10, 20), found(30), 3, 2)).toBe(false);
  });
});
