import { spawn, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Figures, Task } from "./measure.ts";
import { peers } from "./peers/index.ts";
import type { PeerKind } from "./peers/peer.ts";

/** A measuring process. */
export interface Child {
  /** Resolves when it has said this. */
  said(event: string): Promise<void>;
  /** Lets it go on. */
  line(): void;
  kill(): void;
  /** Its result; undefined if it was killed. */
  readonly ended: Promise<Figures | undefined>;
}

const program = fileURLToPath(new URL("measure.ts", import.meta.url));

/** Starts a measurement in a fresh process. */
export function start(task: Task, { quiet = false } = {}): Child {
  const args = ["--disable-warning=ExperimentalWarning", "--expose-gc", program, JSON.stringify(task)];
  const child = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "pipe"] });
  let figures: Figures | undefined;
  let errors = "";
  const heard = new Set<string>();
  let listener = (): void => undefined;
  createInterface({ input: child.stdout }).on("line", (line) => {
    const message = JSON.parse(line) as { readonly event?: string; readonly figures?: Figures };
    if (message.event !== undefined) heard.add(message.event);
    figures = message.figures;
    listener();
  });
  child.stderr.on("data", (text: Buffer) => (errors += text.toString()));
  child.stdin.on("error", () => undefined);
  const ended = new Promise<Figures | undefined>((resolve, reject) => {
    child.on("close", (code, signal) => {
      if (signal === "SIGKILL") return resolve(undefined);
      if (code === 0 && figures !== undefined) return resolve(figures);
      if (!quiet) process.stderr.write(errors);
      reject(new Error(`${task.peer}, ${task.work}: ended with ${code ?? signal}: ${reasonIn(errors)}`));
    });
  });
  return {
    ended,
    line: () => void child.stdin.write("\n"),
    kill: () => void child.kill("SIGKILL"),
    said: (event) => {
      const heardIt = new Promise<void>((resolve) => {
        listener = () => {
          if (heard.has(event)) resolve();
        };
        listener();
      });
      return Promise.race([
        heardIt,
        ended.then(() => Promise.reject(new Error(`${task.work}: ended without ${event}`))),
      ]);
    },
  };
}

/** The line of an error's text that says most. */
function reasonIn(errors: string): string {
  return errors.split("\n").find((line) => /Error\b/.test(line)) ?? errors.trim().split("\n")[0];
}

/** Measures in a fresh process. */
export async function measured(task: Task): Promise<Figures> {
  const figures = await start(task).ended;
  if (figures === undefined) throw new Error(`${task.work} was killed`);
  return figures;
}

/** Databases to measure on, made once, each in a folder of its own that all are removed with. */
export class Databases {
  readonly #root = mkdtempSync(join(tmpdir(), "foliokv-bench-"));
  readonly #made = new Map<string, Promise<string>>();
  #count = 0;

  /** An empty folder. */
  empty(): string {
    return mkdtempSync(join(this.#root, `${++this.#count}-`));
  }

  /** A database with so many entries, written in order of keys or in another, and, with `vacuumed`, vacuumed thereafter. Not to be changed. */
  filled(peer: string, entries: number, state: State): Promise<string> {
    const name = `${peer} ${entries} ${state}`;
    const made = this.#made.get(name) ?? this.#fill(peer, entries, state);
    this.#made.set(name, made);
    return made;
  }

  async #fill(peer: string, entries: number, state: State): Promise<string> {
    if (state === "vacuumed") {
      const folder = this.copy(await this.filled(peer, entries, "shuffled"));
      await measured({ peer, work: "vacuum", folder, entries });
      return folder;
    }
    const folder = this.empty();
    await measured({ peer, work: "fill", folder, entries, order: state });
    return folder;
  }

  copy(folder: string): string {
    const target = this.empty();
    cpSync(folder, target, { recursive: true, preserveTimestamps: true });
    return target;
  }

  /** Works in a folder that is removed at once. */
  async within<T>(folder: string, work: (folder: string) => Promise<T>): Promise<T> {
    try {
      return await work(folder);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }

  [Symbol.dispose](): void {
    rmSync(this.#root, { recursive: true, force: true });
  }
}

/** How a database was written. */
export type State = "ordered" | "shuffled" | "vacuumed";

/** Bytes of all files below a folder. */
export function bytesIn(folder: string): number {
  let bytes = 0;
  for (const name of readdirSync(folder, { recursive: true })) {
    const status = statSync(join(folder, name.toString()));
    if (status.isFile()) bytes += status.size;
  }
  return bytes;
}

/** Installs peers that are not there yet; those that work, and why the others do not. */
export async function availablePeers(
  wanted: readonly PeerKind[],
): Promise<{ readonly peers: readonly PeerKind[]; readonly missing: readonly { name: string; why: string }[] }> {
  const here = fileURLToPath(new URL(".", import.meta.url));
  const absent = wanted.filter(
    (peer) => peer.package !== undefined && !existsSync(join(here, "node_modules", peer.package)),
  );
  if (absent.length > 0) {
    console.error(`Installing ${absent.map(({ name }) => name).join(", ")} for the comparison...`);
    // Without a lock file: one made on one system lacks the packages of others. What runs is in the packages as they are.
    const args = ["install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"];
    spawnSync("npm", args, { cwd: here, stdio: ["ignore", "ignore", "inherit"], shell: process.platform === "win32" });
  }
  const works: PeerKind[] = [];
  const missing: { name: string; why: string }[] = [];
  using databases = new Databases();
  for (const peer of wanted) {
    try {
      await start({ peer: peer.name, work: "probe", folder: databases.empty(), entries: 4 }, { quiet: true }).ended;
      works.push(peer);
    } catch (error) {
      missing.push({ name: peer.name, why: (error as Error).message });
    }
  }
  return { peers: works, missing };
}

/** All peers, or those with these names and foliokv. */
export function peersCalled(names: string | undefined): readonly PeerKind[] {
  if (names === undefined) return peers;
  const wanted = names.split(",");
  const unknown = wanted.find((name) => !peers.some((peer) => peer.name === name));
  if (unknown !== undefined)
    throw new Error(`There is no peer ${unknown}; there are ${peers.map(({ name }) => name).join(", ")}`);
  return peers.filter(({ name }) => name === "foliokv" || wanted.includes(name));
}

/** The one in the middle. */
export const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
