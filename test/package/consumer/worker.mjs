/** A worker that answers with what the smoke test found. */
import { assertNoFiles, smokeCore } from "./core.mjs";

export default {
  async fetch() {
    try {
      await assertNoFiles();
      return Response.json({ encoded: await smokeCore() });
    } catch (error) {
      return new Response(String(error?.stack ?? error), { status: 500 });
    }
  },
};
