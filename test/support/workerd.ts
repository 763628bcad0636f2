import { build } from "esbuild";
import { Miniflare } from "miniflare";

/** What was bundled already, by entry. */
const bundles = new Map<string, Promise<string>>();

async function bundle(entry: string): Promise<string> {
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
  return outputFiles[0].text;
}

/** A Worker in workerd, without Node's compatibility, with one R2 bucket as `BUCKET`. */
export async function startWorker(entry: string, compatibilityDate = "2026-01-01"): Promise<Miniflare> {
  const script = bundles.get(entry) ?? bundle(entry);
  bundles.set(entry, script);
  const miniflare = new Miniflare({
    modules: true,
    script: await script,
    compatibilityDate,
    compatibilityFlags: [],
    r2Buckets: ["BUCKET"],
  });
  await miniflare.ready;
  return miniflare;
}
