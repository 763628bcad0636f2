import { readdirSync, readFileSync, renameSync, statSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { createFsLedger } from "../../../src/adapters/fs/ledger.ts";
import { nodeFileSystem } from "../../../src/adapters/fs/file-node.ts";
import type { FileSystemCalls } from "../../../src/adapters/fs/file.ts";
import type { ReplacingCalls } from "../../../src/adapters/fs/replacing.ts";
import type {
  LedgerCommit,
  LedgerSession,
  ReadResult,
  VacuumAttempt,
  VacuumRequest,
} from "../../../src/core/ledger.ts";
import { nodeEnvironment } from "../../../src/platform/environment-node.ts";
import { inFolder } from "../../support/folder.ts";
import { changingFiles } from "../../support/generations.ts";

/** The session of a file ledger as the engine would use it, one call at a time. */
class Follower {
  readonly session: LedgerSession;
  readonly commits: LedgerCommit[] = [];
  position: number;
  status: ReadResult["status"] = "more";
  #counter = 0;
  readonly #writer = nodeEnvironment.randomBytes(12);

  constructor(session: LedgerSession) {
    this.session = session;
    this.position = session.start;
  }

  static async open(path: string, calls: FileSystemCalls = nodeFileSystem, readOnly = false): Promise<Follower> {
    const ledger = createFsLedger(path, {}, calls);
    const options = { createIfMissing: true, readOnly, allowNetworkFileSystem: false, environment: nodeEnvironment };
    return new Follower(await ledger.open(options));
  }

  async append(text: string): Promise<void> {
    const record = {
      writer: this.#writer,
      counter: ++this.#counter,
      timestamp: 1000 + this.#counter,
      payload: new TextEncoder().encode(text),
    };
    await this.session.append([record], this.position);
  }

  async follow(): Promise<ReadResult["status"]> {
    for (;;) {
      const result = await this.session.read(this.position, { bytes: 1 << 20, verify: true });
      this.commits.push(...result.commits);
      this.position = result.next;
      this.status = result.status;
      if (result.status !== "more") return result.status;
    }
  }

  async vacuum(request: Partial<VacuumRequest> = {}): Promise<VacuumAttempt | undefined> {
    return this.session.vacuum?.({
      position: this.position,
      reload: false,
      writeRun: async (write) => {
        write(new TextEncoder().encode("a snapshot"));
        return { checksum: 7 };
      },
      progress: () => undefined,
      rest: () => undefined,
      check: () => undefined,
      ...request,
    });
  }

  async moveOn(): Promise<void> {
    await this.session.help?.();
    expect(await this.follow()).toBe("moved");
    const reopened = await this.session.reopen(this.position);
    expect(reopened).toEqual({ status: "continued", position: this.position });
  }

  get texts(): string[] {
    return this.commits.map((commit) => new TextDecoder().decode(commit.payload));
  }

  async valueOf(commit: LedgerCommit): Promise<string> {
    return new TextDecoder().decode(await this.session.readValue(commit.version, commit.place, commit.payload.length));
  }
}

const siblings = (folder: string): string[] => readdirSync(folder).filter((name) => /\.\d+-[0-9a-f]+$/.test(name));

describe("a vacuum of a file", () => {
  it("replaces the file while others go on, with every commit behind the snapshot at its old version", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      const author = await Follower.open(path);
      const other = await Follower.open(path);
      for (let i = 0; i < 50; i++) await author.append(`before ${i}`);
      await author.follow();
      await other.follow();
      const before = author.position;
      await other.append("while it goes on");
      await author.vacuum({ position: before });
      await other.append("behind the seal: void");
      expect(await author.follow()).toBe("sealed");
      expect(await other.follow()).toBe("sealed");
      await author.moveOn();
      await other.moveOn();
      expect(siblings(folder)).toEqual([]);
      expect(author.session.identity?.generation).toBe(2);
      await other.append("in the next generation");
      await author.follow();
      await other.follow();
      expect(author.texts.slice(50)).toEqual(["while it goes on", "in the next generation"]);
      expect(other.commits.map((commit) => commit.version)).toEqual(author.commits.map((commit) => commit.version));
      expect(await author.valueOf(author.commits[50])).toBe("while it goes on");
      const fresh = await Follower.open(path);
      const snapshot = fresh.session.openSnapshot?.();
      expect(snapshot?.below).toBe(before);
      expect(new TextDecoder().decode(snapshot?.run.read(0, 100))).toBe("a snapshot");
      await fresh.follow();
      expect(fresh.commits.map((commit) => commit.version)).toEqual(author.commits.slice(50).map((c) => c.version));
      for (const each of [author, other, fresh]) await each.session.close();
    }));

  it("keeps old values readable for whoever pinned them, and closes the old file afterwards", () =>
    inFolder(async (folder) => {
      const follower = await Follower.open(join(folder, "a.db"));
      await follower.append("old");
      await follower.follow();
      const release = follower.session.pin?.();
      await follower.vacuum();
      await follower.follow();
      await follower.moveOn();
      expect(await follower.valueOf(follower.commits[0])).toBe("old");
      release?.();
      expect(() => follower.session.readValue(follower.commits[0].version, follower.commits[0].place, 3)).toThrow(
        expect.objectContaining({ code: "LedgerDamaged" }),
      );
      await follower.session.close();
    }));

  it("of which another one was quicker removes its sibling and moves on with the winner", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      const first = await Follower.open(path);
      const second = await Follower.open(path);
      await first.append("x");
      await first.follow();
      await second.follow();
      await first.vacuum();
      await second.vacuum();
      expect(siblings(folder)).toHaveLength(2);
      await second.follow();
      await first.follow();
      await first.moveOn();
      await second.moveOn();
      expect(second.session.identity).toEqual(first.session.identity);
      await expect.poll(() => siblings(folder)).toEqual([]);
      for (const each of [first, second]) await each.session.close();
    }));

  it("whose snapshot ends before the present generation begins is refused, and nothing is written", () =>
    inFolder(async (folder) => {
      const follower = await Follower.open(join(folder, "a.db"));
      await follower.append("one");
      await follower.append("two");
      await follower.follow();
      const [first] = follower.commits;
      await follower.vacuum();
      await follower.follow();
      await follower.moveOn();
      const { size } = statSync(join(folder, "a.db"));
      await expect(follower.vacuum({ position: first.version })).rejects.toMatchObject({ code: "LedgerSealed" });
      expect(statSync(join(folder, "a.db")).size).toBe(size);
      expect(siblings(folder)).toEqual([]);
      await follower.session.close();
    }));

  it("that is given up before its seal leaves nothing behind", () =>
    inFolder(async (folder) => {
      const follower = await Follower.open(join(folder, "a.db"));
      await follower.append("x");
      await follower.follow();
      const size = statSync(join(folder, "a.db")).size;
      let checks = 0;
      const check = (): void => {
        if (++checks === 2) throw new Error("enough");
      };
      await expect(follower.vacuum({ check })).rejects.toThrow();
      expect(siblings(folder)).toEqual([]);
      expect(statSync(join(folder, "a.db")).size).toBe(size);
      expect(await follower.follow()).toBe("end");
      await follower.session.close();
    }));

  it("is completed by a helper when its author is gone, whatever the sibling already holds", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      const other = await Follower.open(path);
      const author = await Follower.open(path);
      await other.append("one");
      await author.follow();
      await author.vacuum({
        position: author.position,
        // Between the last copy and the seal.
        progress: () => undefined,
      });
      await author.session.close();
      await other.follow();
      await other.moveOn();
      expect(other.texts).toEqual(["one"]);
      await other.session.close();
    }));

  it("whose renaming a power failure has taken is completed again, with what others had appended to it", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      const author = await Follower.open(path);
      await author.append("before");
      await author.follow();
      await author.vacuum();
      await author.follow();
      const [sibling] = siblings(folder);
      const sealed = readFileSync(path);
      await author.moveOn();
      await author.append("behind");
      await author.session.close();
      renameSync(path, join(folder, sibling));
      writeFileSync(path, sealed);
      const other = await Follower.open(path);
      await other.follow();
      await other.moveOn();
      await other.follow();
      expect(other.texts).toEqual(["before", "behind"]);
      expect(siblings(folder)).toEqual([]);
      await other.session.close();
    }));

  it("does not take the place of one that is sealed and was not found to be lost", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      const author = await Follower.open(path);
      await author.append("one");
      await author.follow();
      await author.vacuum();
      const other = await Follower.open(path);
      expect(await other.follow()).toBe("sealed");
      await expect(other.vacuum({ reload: true })).rejects.toMatchObject({ code: "LedgerSealed" });
      expect(siblings(folder)).toHaveLength(1);
      await author.follow();
      await author.moveOn();
      await author.session.close();
      await other.session.close();
    }));

  it("whose sibling was deleted by hand is reported as damage, and the path is left alone", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      const follower = await Follower.open(path);
      await follower.append("one");
      await follower.follow();
      await follower.vacuum();
      unlinkSync(join(folder, siblings(folder)[0]));
      await follower.follow();
      await expect(follower.session.help?.()).rejects.toMatchObject({ code: "LedgerDamaged" });
      expect(await follower.follow()).toBe("sealed");
      await follower.session.close();
    }));

  it("works through a symbolic link, which goes on leading to the ledger", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      const direct = await Follower.open(path);
      symlinkSync(path, join(folder, "link.db"));
      const linked = await Follower.open(join(folder, "link.db"));
      await direct.append("one");
      await linked.follow();
      await linked.vacuum();
      await direct.follow();
      await linked.follow();
      await linked.moveOn();
      await direct.moveOn();
      expect(readdirSync(folder).sort()).toEqual(["a.db", "link.db"]);
      for (const each of [direct, linked]) await each.session.close();
    }));

  it("is refused where the file could not be replaced, before anything is written", () =>
    inFolder(async (folder) => {
      const replacing: ReplacingCalls = {
        ...(nodeFileSystem.replacing as ReplacingCalls),
        obstacle: () => "no",
        modifiedAt: () => 0,
      };
      const follower = await Follower.open(join(folder, "a.db"), { ...nodeFileSystem, replacing });
      const stale = "a.db.1-00";
      writeFileSync(join(folder, stale), "");
      const { size } = statSync(join(folder, "a.db"));
      await expect(follower.vacuum()).rejects.toMatchObject({ code: "VacuumRefused" });
      expect(readdirSync(folder)).toEqual(["a.db", stale]);
      expect(statSync(join(folder, "a.db")).size).toBe(size);
      await follower.session.close();
    }));

  it("whose seal is in, though writing it has failed, keeps the sibling that the seal names", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      const failing = changingFiles((file) => ({
        append: (bytes) => {
          file.append(bytes);
          throw Object.assign(new Error("EIO: i/o error, write"), { code: "EIO" });
        },
      }));
      const other = await Follower.open(path);
      await other.append("one");
      const author = await Follower.open(path, failing);
      await author.follow();
      const attempt = await author.vacuum();
      expect(attempt?.error).toMatchObject({ code: "InputOutput" });
      expect(attempt?.wins()).toBe(false);
      await author.follow();
      expect(attempt?.wins()).toBe(true);
      await author.session.close();
      await other.follow();
      await other.moveOn();
      expect(other.session.identity?.generation).toBe(2);
      await other.session.close();
    }));

  it("removes what earlier ones of the same generation have left as soon as the next generation is in place", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      const follower = await Follower.open(path);
      writeFileSync(join(folder, "a.db.2-00"), "left by an author that was killed");
      await follower.vacuum();
      await follower.follow();
      await follower.moveOn();
      expect(readdirSync(folder)).toEqual(["a.db"]);
      await follower.session.close();
    }));

  it("removes the saved index of the last generation, and never what may be the next one's", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      const first = await Follower.open(path);
      const late = await Follower.open(path);
      await first.append("x");
      await first.follow();
      await late.follow();
      const saved = ["a.db.idx-01", "a.db.idx-02"];
      const kept = ["a.db.idx", "a.db.idx-kept", "b.db.idx-01"];
      for (const name of [...saved, ...kept]) writeFileSync(join(folder, name), "");
      const there = (): string[] => readdirSync(folder).filter((name) => name.includes(".idx"));
      await first.vacuum();
      await first.follow();
      expect(there()).toEqual([...saved, ...kept].toSorted());
      await first.moveOn();
      expect(there()).toEqual(kept);
      // Begun where the path does not lead any more.
      writeFileSync(join(folder, "a.db.idx-03"), "");
      await late.vacuum();
      await late.follow();
      await late.moveOn();
      expect(there()).toContain("a.db.idx-03");
      for (const each of [first, late]) await each.session.close();
    }));

  it("does not seal with a sibling that it has read to be dropped", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      let wake: (() => void) | undefined;
      const author = await Follower.open(path);
      await author.append("one");
      await author.follow();
      const asleep = author.vacuum({
        rest: () => (wake === undefined ? new Promise((resolve) => (wake = resolve)) : undefined),
        position: author.session.start,
      });
      await expect.poll(() => wake).toBeDefined();
      const later = { ...(nodeFileSystem.replacing as ReplacingCalls), modifiedAt: () => 0 };
      const other = await Follower.open(path, { ...nodeFileSystem, replacing: later });
      await other.follow();
      const stop = (): void => {
        throw new Error("only the garbage");
      };
      await expect(other.vacuum({ check: stop })).rejects.toThrow();
      await author.follow();
      const { size } = statSync(path);
      wake?.();
      await expect(asleep).rejects.toMatchObject({ code: "LedgerSealed" });
      expect(statSync(path).size).toBe(size);
      for (const each of [author, other]) await each.session.close();
    }));

  it("drops a sibling that was abandoned an hour ago, so that a seal naming it is void, and unlinks it at the next one", () =>
    inFolder(async (folder) => {
      const path = join(folder, "a.db");
      let sleeping: (() => void) | undefined;
      const author = await Follower.open(path);
      await author.append("one");
      await author.follow();
      const asleep = author.vacuum({
        rest: () => (sleeping === undefined ? new Promise((resolve) => (sleeping = resolve)) : undefined),
        // Something to copy, so that there is a rest.
        position: author.session.start,
      });
      await expect.poll(() => sleeping).toBeDefined();
      const abandoned = siblings(folder);
      expect(abandoned).toHaveLength(1);
      const later = { ...(nodeFileSystem.replacing as ReplacingCalls), modifiedAt: () => 0 };
      const other = await Follower.open(path, { ...nodeFileSystem, replacing: later });
      await other.follow();
      const stop = (): void => {
        throw new Error("only the garbage");
      };
      await expect(other.vacuum({ check: stop })).rejects.toThrow();
      await other.follow();
      sleeping?.();
      await asleep;
      expect(await other.follow()).toBe("end");
      expect(await author.follow()).toBe("end");
      await expect.poll(() => siblings(folder)).toEqual([]);
      await other.vacuum();
      await other.follow();
      await other.moveOn();
      expect(siblings(folder)).toEqual([]);
      for (const each of [author, other]) await each.session.close();
    }));
});
