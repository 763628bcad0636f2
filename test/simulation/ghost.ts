import { posix } from "node:path";
import type { System } from "./calls.ts";
import { encodeKey } from "../../src/core/key.ts";
import { encodeValue } from "../../src/core/value.ts";
import type { Inode, Party } from "./inode.ts";
import type { Journal, Write } from "./journal.ts";
import { encodeFrame, headerOf, LedgerFile } from "./ledger-file.ts";
import { encodeSet } from "./model.ts";
import type { Random } from "./random.ts";
import { Process, type World } from "./world.ts";

/**
 * Stands for all the processes of which nobody looks at the inside: its frames, made by hand, come at any moment, also in the middle of
 * somebody's step between two of its system calls. It dies in mid-write as others do, and is somebody else afterwards.
 */
export class Ghost implements Party {
  readonly name = "ghost";
  /** In its values, and in no other ghost's. */
  readonly #name: string;
  readonly #world: World;
  readonly #system: System;
  readonly #journal: Journal;
  readonly #random: Random;
  /** Whom its writes are put on record for. */
  readonly #author: Process;
  #writer: Uint8Array;
  #counter = 0;
  #tokens = 0;
  /** A file that is known to be a ledger. */
  #ledger: Inode | undefined;
  /** A file that a vacuum has replaced may still be in the middle of one. */
  readonly #underWay = new Map<Inode, Write[]>();

  constructor(world: World, system: System, journal: Journal) {
    this.#world = world;
    this.#system = system;
    this.#journal = journal;
    this.#random = world.random.fork();
    this.#author = new Process(world, "ghost");
    this.#writer = this.#random.bytes(12);
    this.#name = `ghost${this.#random.between(0, 999_999)}`;
    journal.begin(this.#author, { readOnly: false, indexed: false, strict: false });
  }

  /** Appends a commit or two to the ledger at `path`, if there is one. */
  append(path: string, slowWrite: number): void {
    const inode = this.#world.disk.lookup(path);
    if (inode === undefined || inode.transit?.author === this) return;
    // Only behind a whole header: it is no creator of ledgers.
    if (this.#ledger !== inode && headerOf(inode.read(undefined, 0, Infinity)) === undefined) return;
    this.#ledger = inode;
    const frames: Uint8Array[] = [];
    const writes: Write[] = [];
    inode.finish();
    const file = new LedgerFile(inode.read(undefined, 0, Infinity));
    const isVoid = file.seal !== undefined;
    let at = inode.size(undefined);
    for (let i = this.#random.between(1, 2); i > 0; i--) {
      const token = `${this.#name}.${++this.#tokens}`;
      const value = encodeValue({ t: token, v: "z".repeat(this.#random.between(0, 90)) });
      const payload = encodeSet(encodeKey(["k", this.#random.between(0, 4)]), value);
      const frame = encodeFrame(this.#writer, ++this.#counter, this.#author.environment.now(), payload);
      writes.push({
        process: this.#author,
        what: "set",
        token,
        queued: true,
        calledAt: this.#world.steps,
        toldAt: undefined,
        number: 0,
        behindFailedSyncs: [],
        outcome: isVoid ? "not committed" : undefined,
        version: isVoid ? undefined : at + file.delta,
        error: undefined,
        reads: new Map(),
        combines: [],
        from: 0,
        to: Infinity,
      });
      frames.push(frame);
      at += frame.length;
    }
    const batch = Buffer.concat(frames);
    const slow = this.#random.chance(slowWrite);
    this.#world.note(this.name, () => `writes ${batch.length} at ${inode.size(undefined)}${slow ? ", slowly" : ""}`);
    inode.append(this, batch, slow);
    this.#underWay.set(inode, writes);
    if (inode.transit === undefined) this.writeOver(inode);
    this.#system.changed(posix.basename(path));
  }

  writeOver(inode: Inode): void {
    for (const write of this.#takeUnderWay(inode)) {
      write.outcome ??= "committed";
      this.#journal.logs.find((log) => log.process === this.#author)?.writes.push(write);
      this.#journal.acknowledge(write.version ?? 0, this.#world.now);
    }
  }

  #takeUnderWay(inode: Inode): readonly Write[] {
    const writes = this.#underWay.get(inode) ?? [];
    this.#underWay.delete(inode);
    return writes;
  }

  /** Dies in the middle of its write. */
  die(inode: Inode): void {
    if (inode.transit?.author !== this) return;
    this.#world.note(this.name, () => `dies with ${inode.transit?.visible} visible`);
    for (const write of this.#takeUnderWay(inode)) {
      // Whether a frame became whole is for the reader to say.
      write.version = undefined;
      this.#journal.logs.find((log) => log.process === this.#author)?.writes.push(write);
    }
    inode.tear();
    this.#writer = this.#random.bytes(12);
    this.#counter = 0;
  }
}
