/** The package as an application's bundler takes it: sizes, what goes in, and the core at work where there are no files. */
import { basename } from "node:path";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { assert, assertEqual } from "./checks.mjs";
import { inBareContext, inWorkerd } from "./isolates.mjs";

const CORE = 'export { KV } from "foliokv"; export { memoryLedger } from "foliokv/memory";';
const NODE = 'export { KV } from "foliokv"; export { fsLedger } from "foliokv/fs";';

/** Resolves with the bytes that the values became in each place, for comparison with other runtimes. */
export async function checkBundles(checks, { consumer }) {
  const encoded = {};
  for (const target of ["workerd", "browser"]) {
    await checks.check(`bundle of core and memory ledger for ${target}: the core alone`, async () => {
      const { code, inputs, externals } = await bundle(consumer, { source: CORE, conditions: [target] });
      assertEqual({ inputs: inputs.filter((path) => NOT_CORE.test(path)), externals }, { inputs: [], externals: [] });
      assert(
        !/["'`]node:|\bnew Function\b|\beval\(|\brequire\(/.test(code),
        "the code asks for a runtime, or compiles code",
      );
      return sizes(code);
    });
  }
  await checks.check(
    `bundle of core and a ledger on R2 for workerd: at most ${WORKER_BYTES_MAX / 1000} kB gzip`,
    async () => {
      const source = 'export { KV } from "foliokv"; export { r2Ledger } from "foliokv/r2";';
      const { code, inputs, parts } = await bundle(consumer, { source, conditions: ["workerd"] });
      assertEqual(
        inputs.filter((path) => FILES_ONLY.test(path)),
        [],
      );
      assert(gzipped(code) <= WORKER_BYTES_MAX, `${sizes(code)}; largest: ${parts.slice(0, 12).join(", ")}`);
      return sizes(code);
    },
  );
  await checks.check("bundle of core and fs for Node", async () => {
    const { code, externals } = await bundle(consumer, { source: NODE, platform: "node" });
    assertEqual(
      externals.filter((path) => !path.startsWith("node:")),
      [],
    );
    return sizes(code);
  });
  await checks.check("core and memory ledger in workerd (Miniflare, no Node compatibility)", async () => {
    const { code } = await bundle(consumer, { entry: "worker.mjs", conditions: ["workerd"] });
    ({ encoded: encoded.workerd } = await inWorkerd(code));
  });
  await checks.check("browser bundle, in a bare context with the web's globals (no browser is run)", async () => {
    const { code } = await bundle(consumer, { entry: "page.mjs", conditions: ["browser"], globalName: "smoke" });
    ({ encoded: encoded.browser } = await inBareContext(code));
  });
  return encoded;
}

/** What a Worker costs at most, as long as nobody has a reason to raise it: docs/decisions/ tells what weighs. */
const WORKER_BYTES_MAX = 85_100;

/** What only files ask for, and what mends a bucket: no Worker does. */
const FILES_ONLY =
  /core\/(?:file-work|at-end|buffer-pool|haste|kept-places|next-generation|passing|run-points|salvaged-state|saved-state|sorted-rows|file-run|hash-collector|checkpointer|backlog|tiers|memory-run|vacuum|backup|passed-runs|state-parts|repair|repair-state|rescue|salvage|seal-wait|next-generation|sorted-rows|row-copy|auto-vacuum|snapshot-run|run-lookup)\.js|adapters\/object\/(?:create-from|prefixed-store|repair|restore-root)\.js/;

const NOT_CORE = /adapters\/fs|index\.node|environment-node/;

/** Bundles an entry file of the consumer, or a source that stands in its folder. */
async function bundle(consumer, { source, entry, conditions = [], platform = "browser", globalName }) {
  const result = await build({
    absWorkingDir: consumer,
    ...(entry === undefined ? { stdin: { contents: source, resolveDir: consumer } } : { entryPoints: [entry] }),
    bundle: true,
    write: false,
    metafile: true,
    minify: true,
    platform,
    conditions,
    target: "es2022",
    format: globalName === undefined ? "esm" : "iife",
    globalName,
    outfile: "bundle.js",
    legalComments: "none",
    logLevel: "silent",
  });
  const [output] = Object.values(result.metafile.outputs);
  return {
    code: result.outputFiles[0].text,
    inputs: Object.keys(result.metafile.inputs),
    parts: Object.entries(output.inputs)
      .map(([path, { bytesInOutput }]) => ({ name: basename(path), bytesInOutput }))
      .sort((a, b) => b.bytesInOutput - a.bytesInOutput)
      .map(({ name, bytesInOutput }) => `${name} ${bytesInOutput}`),
    externals: output.imports.filter((each) => each.external).map((each) => each.path),
  };
}

function gzipped(code) {
  return gzipSync(code, { level: 9 }).length;
}

function sizes(code) {
  const kilobytes = (bytes) => `${(bytes / 1000).toFixed(1)} kB`;
  return `${kilobytes(Buffer.byteLength(code))} minified, ${kilobytes(gzipped(code))} gzip`;
}
