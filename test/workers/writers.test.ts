import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { startWorker } from "../support/workerd.ts";

const WRITERS = 4;
/** Of each. */
const COMMITS = 40;

test("writers of a bucket in workerd, by R2's binding: nothing acknowledged is lost, nothing is there twice", async () => {
  const miniflare = await startWorker(fileURLToPath(new URL("writers-worker.ts", import.meta.url)));
  try {
    const query = new URLSearchParams({ seed: "1", writers: String(WRITERS), commits: String(COMMITS) });
    const response = await miniflare.dispatchFetch(`http://worker/?${query}`);
    const answer = (await response.json()) as { readonly committed: number; readonly summary: string };
    expect(answer).toMatchObject({ passed: true });
    console.info(`workerd: ${answer.summary}`);
    expect(answer.committed).toBeGreaterThan((WRITERS * COMMITS) / 4);
  } finally {
    await miniflare.dispose();
  }
}, 300_000);
