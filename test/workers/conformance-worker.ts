/** A Worker that runs one case of the conformance suite of ledgers on its bucket. */
import { objectLedger } from "../../src/adapters/object/ledger.ts";
import { r2Store, type R2BucketBinding } from "../../src/adapters/r2/index.ts";
import { environment } from "../../src/index.ts";
import { ledgerConformance } from "../../src/testing/index.ts";

interface Env {
  readonly BUCKET: R2BucketBinding;
}

/** The cases on a folder of the bucket. */
function casesOn(bucket: R2BucketBinding, prefix: string): Map<string, () => Promise<void>> {
  const cases = new Map<string, () => Promise<void>>();
  ledgerConformance({
    test: (name, run) => cases.set(name, run),
    environment,
    create: async () => ({
      ledger: () => objectLedger(r2Store({ bucket, prefix })),
      dispose: async () => undefined,
    }),
  });
  return cases;
}

export default {
  async fetch(request: Request, { BUCKET }: Env): Promise<Response> {
    const { searchParams } = new URL(request.url);
    try {
      await casesOn(BUCKET, searchParams.get("prefix") ?? "").get(searchParams.get("case") ?? "")?.();
      return Response.json({ passed: true });
    } catch (error) {
      return Response.json({ passed: false, error: String((error as Error).stack ?? error) });
    }
  },
};
