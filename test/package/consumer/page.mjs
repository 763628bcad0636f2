/** What a page's script would run. */
import { assertNoFiles, smokeCore } from "./core.mjs";

export async function run() {
  await assertNoFiles();
  return { encoded: await smokeCore() };
}
