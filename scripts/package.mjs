/**
 * Checks the package as its users get it: packs the tarball, lints it, installs it in a folder of its own, bundles it, compiles against it,
 * and tries it in every runtime. Needs a build before. Leaves its numbers in .cache/package.json.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root } from "./node24.mjs";
import { checkBundles } from "./package/bundles.mjs";
import { Checks } from "./package/checks.mjs";
import { checkExamples } from "./package/examples.mjs";
import { checkRuntimes } from "./package/smoke.mjs";
import { findRuntimes } from "./package/runtimes.mjs";
import { checkTarball, packAndInstall } from "./package/tarball.mjs";
import { checkTypes } from "./package/types.mjs";

const cache = join(root, ".cache");
mkdirSync(cache, { recursive: true });
const folder = mkdtempSync(join(tmpdir(), "foliokv-package-"));
const checks = new Checks();
try {
  const [packed, runtimes] = await Promise.all([packAndInstall(folder), findRuntimes()]);
  await checkTarball(checks, packed);
  await checkTypes(checks, packed);
  const encoded = await checkBundles(checks, packed);
  await checkRuntimes(checks, { ...packed, runtimes, encoded });
  await checkExamples(checks, packed);
} catch (error) {
  // Whatever is not a check of its own: packing or installing failed.
  await checks.check("packing and installing", () => Promise.reject(error));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exit(checks.finish(join(cache, "package.json")) ? 0 : 1);
