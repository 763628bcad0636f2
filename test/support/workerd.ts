import { build } from "esbuild";
import { Miniflare } from "miniflare";

/** A Worker in workerd, without Node's compatibility, with one R2 bucket as `BUCKET`. */
export async function startWorker(entry: string, compatibilityDate = "2026-01-01"): Promise<Miniflare> {
  const { outputFiles } = await build({
    entryPoints: [entry],
    bundle: true,
    write: false,
    format: "esm",
    target: "es2022",
    conditions: ["workerd"],
    legalComments: "none",
    logLevel: "silent",
  });
  const miniflare = new Miniflare({
    modules: true,
    script: outputFiles[0].text,
    compatibilityDate,
    compatibilityFlags: [],
    r2Buckets: ["BUCKET"],
  });
  await miniflare.ready;
  return miniflare;
}
