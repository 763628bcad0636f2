import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { Miniflare } from "miniflare";
import { markdownTable } from "./report.ts";
import { median } from "./runner.ts";

/**
 * What a request costs in real workerd: processor time of its process, what it allocates on the heap of the Worker's isolate, what of that stays there, and by how much the
 * process grows. R2 is Miniflare's, which runs in the same process: requests that ask it for one object without the library tell what that costs.
 */

const KEYS = 10_000;
const REQUESTS = 200;
/** So many before anything is measured: workerd compiles what runs often. */
const WARM_UP = 200;
const ROUNDS = 3;
/** Memory grows by leaps: what stays is that of so many. */
const KEPT_REQUESTS = 1000;
const AT_ONCE = 50;
const COLD_STARTS = 5;
const SAMPLING_BYTES = 4096;

const ROWS = ["nothing", "raw get", "raw put", "get", "strong get", "range", "set", "increment"] as const;
type RowName = (typeof ROWS)[number];

const LABELS: Readonly<Record<RowName, string>> = {
  nothing: "a request that does nothing",
  "raw get": "one get of R2, without foliokv",
  "raw put": "one conditional put to R2, without foliokv",
  get: "get",
  "strong get": "get, strong: looks into the bucket first",
  range: "range of 100",
  set: "set",
  increment: "transaction: get and set of one key",
};

/** Measures and returns the tables. */
export async function measureWorkerd(): Promise<string> {
  const script = await bundled();
  const warm = await measureWarm(script);
  const cold = await measureCold(script);
  const atOnce = await measureAtOnce(script);
  const head = [
    "one request after the other",
    "processor time, us",
    "the same, without that of the request itself",
    "allocated, kB",
    "of that kept, B",
    "process grows by, kB",
  ];
  const lines = ROWS.map((name) => {
    const { us, allocated, kept, resident } = warm[name];
    const withoutIt = (us - warm.nothing.us).toFixed(0);
    const memory = [(allocated / 1000).toFixed(1), kept.toFixed(0), (resident / 1000).toFixed(1)];
    return [LABELS[name], us.toFixed(0), withoutIt, ...memory];
  });
  const coldHead = ["first request of a process", "processor time, ms"];
  const onceHead = [`${AT_ONCE} requests at once`, "processor time, us", "allocated, kB", "at most resident, kB"];
  return [markdownTable(head, lines), markdownTable(onceHead, atOnce), markdownTable(coldHead, cold)].join("\n");
}

async function bundled(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL("workerd-worker.ts", import.meta.url))],
    bundle: true,
    write: false,
    minify: true,
    format: "esm",
    target: "es2022",
    conditions: ["workerd"],
    external: ["cloudflare:*"],
    legalComments: "none",
    logLevel: "silent",
  });
  return outputFiles[0].text;
}

/** A Worker in a process of its own. */
class Workerd {
  readonly #miniflare: Miniflare;
  readonly #pid: number;

  private constructor(miniflare: Miniflare, pid: number) {
    this.#miniflare = miniflare;
    this.#pid = pid;
  }

  static async start(script: string, persist?: string): Promise<Workerd> {
    const before = new Set(children());
    const miniflare = new Miniflare({
      modules: true,
      script,
      compatibilityDate: "2026-01-01",
      r2Buckets: ["BUCKET"],
      inspectorPort: 0,
      ...(persist !== undefined && { r2Persist: persist }),
    });
    await miniflare.ready;
    const [pid] = children().filter((each) => !before.has(each));
    return new Workerd(miniflare, pid);
  }

  async request(name: string, number = 0): Promise<void> {
    const response = await this.#miniflare.dispatchFetch(`http://worker/${encodeURIComponent(name)}?number=${number}`);
    const text = await response.text();
    if (!response.ok) throw new Error(`${name}: ${text}`);
  }

  /** As many requests as `AT_ONCE`, all under way together. */
  async requestAtOnce(name: string, number: number): Promise<void> {
    await Promise.all(Array.from({ length: AT_ONCE }, (_, i) => this.request(name, number + i)));
  }

  /** Memory of the process, in bytes: now, or at most since `forgetPeak`. */
  resident(which: "VmRSS" | "VmHWM" = "VmRSS"): number {
    const status = readFileSync(`/proc/${this.#pid}/status`, "utf8");
    return 1024 * Number(new RegExp(`^${which}:\\s+(\\d+)`, "m").exec(status)?.[1]);
  }

  forgetPeak(): void {
    writeFileSync(`/proc/${this.#pid}/clear_refs`, "5");
  }

  /** Processor time of all threads so far, in microseconds. */
  get processorUs(): number {
    const tasks = `/proc/${this.#pid}/task`;
    return readdirSync(tasks)
      .map((task) => Number(readFileSync(`${tasks}/${task}/schedstat`, "utf8").split(" ")[0]) / 1000)
      .reduce((sum, each) => sum + each, 0);
  }

  async inspector(): Promise<Inspector> {
    return await Inspector.connect(await this.#miniflare.getInspectorURL());
  }

  async stop(): Promise<void> {
    await this.#miniflare.dispose();
  }
}

/** Child processes that are workerd. */
function children(): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        const [, command, parent] = /\((.*)\) \S (\d+)/.exec(readFileSync(`/proc/${name}/stat`, "utf8")) ?? [];
        return command === "workerd" && Number(parent) === process.pid;
      } catch {
        // It has ended meanwhile.
        return false;
      }
    })
    .map(Number);
}

/** V8's inspector of the Worker's isolate. */
class Inspector {
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, { resolve(result: unknown): void; reject(error: Error): void }>();
  #id = 0;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.addEventListener("message", ({ data }) => {
      const { id, result, error } = JSON.parse(String(data)) as { id?: number; result?: unknown; error?: object };
      const waiting = id === undefined ? undefined : this.#waiting.get(id);
      if (error === undefined) waiting?.resolve(result);
      else waiting?.reject(new Error(JSON.stringify(error)));
    });
  }

  static async connect(address: URL): Promise<Inspector> {
    const socket = new WebSocket(new URL("/core:user:", address));
    await new Promise((resolve, reject) => {
      socket.addEventListener("open", resolve, { once: true });
      socket.addEventListener("error", reject, { once: true });
    });
    return new Inspector(socket);
  }

  async #ask<T>(method: string, params: object = {}): Promise<T> {
    const id = ++this.#id;
    return await new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve: (result) => resolve(result as T), reject });
      this.#socket.send(JSON.stringify({ id, method, params }));
    });
  }

  /** Bytes of V8's heap that are allocated meanwhile, garbage included; sampled. */
  async allocatedBytes(work: () => Promise<void>): Promise<number> {
    const including = { includeObjectsCollectedByMajorGC: true, includeObjectsCollectedByMinorGC: true };
    await this.#ask("HeapProfiler.startSampling", { samplingInterval: SAMPLING_BYTES, ...including });
    await work();
    const { profile } = await this.#ask<{ profile: { head: SampledNode } }>("HeapProfiler.stopSampling");
    return sizeOf(profile.head);
  }

  /**
   * Bytes of the isolate that are in use when the garbage is collected, those of buffers too. What is asked is done when a request comes: `request` makes one.
   */
  async liveBytes(request: () => Promise<void>): Promise<number> {
    await this.#ask("HeapProfiler.enable");
    // What only weak references held goes with the second one.
    for (let i = 0; i < 2; i++) await this.#during(this.#ask("HeapProfiler.collectGarbage"), request);
    const usage = await this.#during(
      this.#ask<{ usedSize: number; backingStorageSize: number }>("Runtime.getHeapUsage"),
      request,
    );
    return usage.usedSize + usage.backingStorageSize;
  }

  async #during<T>(answer: Promise<T>, request: () => Promise<void>): Promise<T> {
    let isThere = false;
    const there = answer.finally(() => (isThere = true));
    while (!isThere) await request();
    return await there;
  }

  close(): void {
    this.#socket.close();
  }
}

interface SampledNode {
  readonly selfSize: number;
  readonly children: readonly SampledNode[];
}

function sizeOf({ selfSize, children }: SampledNode): number {
  return children.reduce((sum, child) => sum + sizeOf(child), selfSize);
}

interface Warm {
  readonly us: number;
  readonly allocated: number;
  /** Of the isolate, in bytes. */
  readonly kept: number;
  /** Of the process, in bytes. */
  readonly resident: number;
}

async function measureWarm(script: string): Promise<Readonly<Record<RowName, Warm>>> {
  const worker = await Workerd.start(script);
  try {
    await worker.request("raw put");
    await worker.request("fill", KEYS);
    let number = 0;
    const requests = async (name: RowName, count: number): Promise<void> => {
      for (let i = 0; i < count; i++) await worker.request(name, ++number % (KEYS - 100));
    };
    for (const name of ROWS) await requests(name, WARM_UP);
    const times = new Map<RowName, number[]>(ROWS.map((name) => [name, []]));
    // In turns: the machine has other things to do as well.
    for (let round = 0; round < ROUNDS; round++) {
      for (const name of ROWS) {
        const before = worker.processorUs;
        await requests(name, REQUESTS);
        times.get(name)?.push((worker.processorUs - before) / REQUESTS);
      }
    }
    // Apart: looking costs time.
    const inspector = await worker.inspector();
    const figures: [RowName, Warm][] = [];
    for (const name of ROWS) {
      const allocated = (await inspector.allocatedBytes(() => requests(name, REQUESTS))) / REQUESTS;
      const before = [await inspector.liveBytes(() => worker.request("nothing")), worker.resident()];
      await requests(name, KEPT_REQUESTS);
      const after = [worker.resident(), await inspector.liveBytes(() => worker.request("nothing"))];
      const kept = (after[1] - before[0]) / KEPT_REQUESTS;
      const resident = (after[0] - before[1]) / KEPT_REQUESTS;
      figures.push([name, { us: median(times.get(name) ?? []), allocated, kept, resident }]);
    }
    inspector.close();
    return Object.fromEntries(figures) as Record<RowName, Warm>;
  } finally {
    await worker.stop();
  }
}

/** Many requests under way together, which share the instance. */
async function measureAtOnce(script: string): Promise<string[][]> {
  const worker = await Workerd.start(script);
  try {
    await worker.request("raw put");
    await worker.request("fill", KEYS);
    let number = 0;
    const requests = async (name: RowName, rounds: number): Promise<void> => {
      for (let i = 0; i < rounds; i++) await worker.requestAtOnce(name, (number += AT_ONCE) % (KEYS - 2 * AT_ONCE));
    };
    for (const name of ROWS) await requests(name, WARM_UP / AT_ONCE);
    const inspector = await worker.inspector();
    const lines: string[][] = [];
    for (const name of ROWS) {
      const count = REQUESTS / AT_ONCE;
      const times: number[] = [];
      const peaks: number[] = [];
      for (let round = 0; round < ROUNDS; round++) {
        const before = { us: worker.processorUs, bytes: worker.resident() };
        worker.forgetPeak();
        await requests(name, count);
        times.push((worker.processorUs - before.us) / REQUESTS);
        peaks.push((worker.resident("VmHWM") - before.bytes) / AT_ONCE);
      }
      const allocated = (await inspector.allocatedBytes(() => requests(name, count))) / REQUESTS;
      const memory = [(allocated / 1000).toFixed(1), (median(peaks) / 1000).toFixed(0)];
      lines.push([LABELS[name], median(times).toFixed(0), ...memory]);
    }
    inspector.close();
    return lines;
  } finally {
    await worker.stop();
  }
}

/** The first request of a process that has just started: the isolate is cold, and so is V8. */
async function measureCold(script: string): Promise<string[][]> {
  const folder = mkdtempSync(join(tmpdir(), "foliokv-bench-"));
  try {
    const filling = await Workerd.start(script, folder);
    await filling.request("raw put");
    await filling.request("fill", KEYS);
    await filling.stop();
    const lines: string[][] = [];
    for (const name of ["nothing", "raw get", "get", "set"] as const) {
      const times: number[] = [];
      for (let i = 0; i < COLD_STARTS; i++) {
        const worker = await Workerd.start(script, folder);
        const before = worker.processorUs;
        await worker.request(name, KEYS / 2);
        times.push((worker.processorUs - before) / 1000);
        await worker.stop();
      }
      const opens = name === "get" || name === "set";
      lines.push([`${LABELS[name]}${opens ? ", the database opened for it" : ""}`, median(times).toFixed(1)]);
    }
    return lines;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
