/** A Worker whose one request has several writers race for its bucket, each an instance of its own, as isolates have. */
import { r2Store, type R2BucketBinding } from "../../src/adapters/r2/index.ts";
import { environment } from "../../src/index.ts";
import { BucketRace } from "../support/bucket-race.ts";

interface Env {
  readonly BUCKET: R2BucketBinding;
}

/** Of everything that may befall a request, what passes in seconds. */
const rates = {
  unsent: 0.02,
  answerLost: 0.02,
  late: 0.01,
  lateMsMax: 3000,
  conflict: 0.02,
  truncated: 0.02,
  storm: 0.001,
  stormMs: 2000,
  delayMsMax: 60,
};

export default {
  async fetch(request: Request, { BUCKET }: Env): Promise<Response> {
    const { searchParams } = new URL(request.url);
    const number = (name: string): number => Number(searchParams.get(name));
    const race = new BucketRace({
      environment,
      seed: number("seed"),
      storeOf: () => r2Store({ bucket: BUCKET, prefix: "race" }),
      writers: number("writers"),
      commits: number("commits"),
      rates,
      pauseMs: (random) => 500 * random(),
      restMs: 5000,
      syncIntervalMs: 500,
    });
    try {
      await race.run();
      return Response.json({ passed: true, committed: race.count("committed"), summary: race.summary });
    } catch (error) {
      return Response.json({ passed: false, error: String((error as Error).stack ?? error), summary: race.summary });
    }
  },
};
