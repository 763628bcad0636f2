import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { describe, expect, test } from "vitest";

/** What goes into a bundle that an application makes of one store. */
async function inputsOf(adapter: string): Promise<string[]> {
  const entry = fileURLToPath(new URL(`../../../src/adapters/${adapter}/index.ts`, import.meta.url));
  const { metafile } = await build({
    entryPoints: [entry],
    bundle: true,
    write: false,
    metafile: true,
    platform: "browser",
    format: "esm",
    logLevel: "silent",
  });
  return Object.keys(metafile.inputs).filter((path) => path.includes("node_modules/"));
}

describe("the bundle", () => {
  test("of s3FetchStore has the signer, and nothing of the SDK", async () => {
    const packages = (await inputsOf("s3-fetch")).map((path) => path.replace(/^.*node_modules\//, ""));
    expect(new Set(packages.map((path) => path.split("/")[0]))).toEqual(new Set(["aws4fetch"]));
  });

  test("of r2Store has no package at all", async () => {
    expect(await inputsOf("r2")).toEqual([]);
  });
});
