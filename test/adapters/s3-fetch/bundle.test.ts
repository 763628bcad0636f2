import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { describe, expect, test } from "vitest";

/** The packages that go into a bundle which an application makes of one ledger. */
async function packagesOf(adapter: string): Promise<Set<string>> {
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
  const files = Object.keys(metafile.inputs).filter((path) => path.includes("node_modules/"));
  return new Set(files.map((path) => path.replace(/^.*node_modules\//, "").split("/")[0]));
}

describe("the bundle", () => {
  test("of a ledger by fetch has the signer, and nothing of the SDK", async () => {
    expect(await packagesOf("s3-fetch")).toEqual(new Set(["aws4fetch"]));
  });

  test("of a ledger on R2's binding has no package besides", async () => {
    expect(await packagesOf("r2")).toEqual(new Set());
  });
});
