import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { Miniflare } from "miniflare";
import { markdownTable } from "./report.ts";
import { median } from "./runner.ts";

/**
 * What a request costs in real workerd: processor time of its process, and what it allocates on the heap of the Worker's isolate. R2 is Miniflare's, which runs in the same
 * process: requests that ask it for one object without the library tell what that costs.
 */

const KEYS = 10_000;
const REQUESTS = 200;
/** So many before anything is measured: workerd compiles what runs often. */
const WARM_UP = 200;
const ROUNDS = 3;
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
  const head = [
    "one request after the other",
    "processor time, us",
    "the same, without that of the request itself",
    "allocated, kB",
  ];
  const lines = ROWS.map((name) => {
    const { us, allocated } = warm[name];
    return [LABELS[name], us.toFixed(0), (us - warm.nothing.us).toFixed(0), (allocated / 1000).toFixed(1)];
  });
  const coldHead = ["first request of a process", "processor time, ms"];
  return `${markdownTable(head, lines)}\n${markdownTable(coldHead, cold)}`;
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
      const allocated = await inspector.allocatedBytes(() => requests(name, REQUESTS));
      figures.push([name, { us: median(times.get(name) ?? []), allocated: allocated / REQUESTS }]);
    }
    inspector.close();
    return Object.fromEntries(figures) as Record<RowName, Warm>;
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
