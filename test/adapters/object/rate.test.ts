import { expect, test } from "vitest";
import { objectLedger } from "../../../src/adapters/object/ledger.ts";
import { memoryStore } from "../../../src/adapters/object/memory-store.ts";
import { FaultyStore } from "../../../src/testing/faulty-store.ts";
import { openWith } from "../../support/database.ts";
import { SimulatedTime } from "../../support/simulated-time.ts";

const SECONDS = 20;
const AT_ONCE = 100;

test.each([1, 8])(
  "%i writers with a hundred commits each under way make 200 a second together, on a store that takes 50 ms",
  async (writers) => {
    const time = new SimulatedTime();
    const fate = (): object => ({ delayMs: { there: 25, back: 25 } });
    const store = new FaultyStore(memoryStore({ now: time.now }), { environment: time, fate });
    const open = (): ReturnType<typeof openWith> => openWith(time, objectLedger(store), { autoSync: false });
    const all = [await time.until(open())];
    while (all.length < writers) all.push(await time.until(open()));
    const end = time.now() + SECONDS * 1000;
    let commits = 0;
    const write = async (writer: number, flow: number): Promise<void> => {
      while (time.now() < end) {
        await all[writer].set(["w", writer, flow], commits);
        commits++;
      }
    };
    const flows = all.flatMap((_, writer) => Array.from({ length: AT_ONCE }, (_each, flow) => write(writer, flow)));
    await time.until(Promise.all(flows));
    expect(commits / SECONDS).toBeGreaterThanOrEqual(200);
    await time.until(Promise.all(all.map((db) => db.close())));
  },
);
