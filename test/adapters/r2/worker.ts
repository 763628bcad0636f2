/** A Worker that runs one case of the conformance suite, or one probe, on its binding: what vitest cannot do inside workerd. */
import { probeStore } from "../../../src/object/index.ts";
import { r2Store, type R2BucketBinding } from "../../../src/adapters/r2/index.ts";
import { webEnvironment } from "../../../src/platform/environment.ts";
import { runObjectStoreCase } from "../../../src/testing/object-store-conformance.ts";

interface Env {
  readonly BUCKET: R2BucketBinding;
}

export default {
  async fetch(request: Request, { BUCKET: bucket }: Env): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url);
    const prefix = searchParams.get("prefix") ?? "";
    const make = (folder: string) => r2Store({ bucket, prefix: folder });
    try {
      if (pathname === "/probe") {
        return Response.json(await probeStore(make(prefix), { environment: webEnvironment, keys: 5 }));
      }
      const stores = { store: make(prefix), other: make(prefix), neighbour: make(`${prefix}-2`) };
      const dispose = async (): Promise<void> => undefined;
      await runObjectStoreCase(searchParams.get("case") ?? "", { ...stores, dispose }, webEnvironment);
      return Response.json({ passed: true });
    } catch (error) {
      return Response.json({ passed: false, error: String((error as Error).stack ?? error) });
    }
  },
};
