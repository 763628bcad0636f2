import type { CallLine, Line, Observation, ReturnLine, TryLine } from "./history.ts";

/**
 * Histories that the checker has to reject, each made of one that it accepts by changing what one operation was told. `spoil` gives undefined where there is
 * nothing to spoil.
 */
export interface Control {
  readonly name: string;
  readonly spoil: (history: History) => Line[] | undefined;
}

export const controls: readonly Control[] = [
  {
    name: "a strong read finds what was overwritten before it was called",
    spoil: (history) => history.older(({ call }) => call.kind === "read" && call.consistency === "strong", 1),
  },
  {
    name: "a read that may be stale goes back behind what its instance has seen",
    spoil: (history) => history.wentBack(),
  },
  {
    name: "a read finds what its instance was told to write after it was asked to read",
    spoil: (history) => history.readAhead(),
  },
  {
    name: "a listing finds half of a commit",
    spoil: (history) => history.older(({ observations }) => sharesVersion(observations), 2),
  },
  {
    name: "a transaction is committed though what it has read was overwritten",
    spoil: (history) => history.older(({ call, attempt }) => call.kind === "transaction" && attempt !== undefined, 1),
  },
  {
    name: "an acknowledged write is not there",
    spoil: ({ lines }) => {
      const last = lines.findIndex((line) => "call" in line && line.instance === "end");
      const at = (lines[last] as CallLine).at - 2;
      const version = 1 + Math.max(...lines.map((line) => ("return" in line ? (line.version ?? 0) : 0)));
      const set: CallLine = {
        ...{ call: "lost", instance: "p1", at, kind: "set", keys: [0] },
        changes: [{ key: 0, kind: "set", value: 1 }],
      };
      return [
        ...lines.slice(0, last),
        set,
        { return: "lost", at: at + 1, outcome: "committed", version },
        ...lines.slice(last),
      ];
    },
  },
  {
    name: "what was said not to be committed was read",
    spoil: (history) => {
      const set = history.find(({ call, returned }) => call.kind === "set" && history.wasRead(returned?.version));
      if (set?.returned === undefined) return undefined;
      const { return: id, at } = set.returned;
      return history.with(set.returned, { return: id, at, outcome: "not committed" });
    },
  },
  {
    name: "a conflict is told of a commit that holds for everybody",
    spoil: (history) => {
      const conflict = history.find(({ returned }) => returned?.outcome === "conflict");
      return conflict && history.with(conflict.call, { ...conflict.call, checks: [] });
    },
  },
  {
    name: "a check is said to hold of another version",
    spoil: (history) => {
      const checked = history.find(
        ({ call, returned }) =>
          returned?.outcome === "committed" && (call.checks ?? []).some(({ version }) => version > 0),
      );
      const checks = checked?.call.checks?.map((check) => ({
        ...check,
        version: check.version === 0 ? 0 : check.version - 1,
      }));
      return checked && history.with(checked.call, { ...checked.call, checks: checks ?? [] });
    },
  },
  {
    name: "versions contradict the order of acknowledgements",
    spoil: (history) => {
      const isUnread = ({ call, returned }: Call): boolean =>
        call.kind === "delete" && returned?.outcome === "committed";
      const first = history.find(isUnread);
      const second = history.find(
        (each) => isUnread(each) && first?.returned !== undefined && each.call.at > first.returned.at,
      );
      if (first?.returned === undefined || second?.returned === undefined) return undefined;
      const versions = [first.returned.version, second.returned.version] as [number, number];
      const swapped = new Map<Line, Line>([
        [first.returned, { ...first.returned, version: versions[1] }],
        [second.returned, { ...second.returned, version: versions[0] }],
      ]);
      return history.lines.map((line) => swapped.get(line) ?? line);
    },
  },
  {
    name: "a sum is added twice",
    spoil: (history) => {
      const read = history.find(
        ({ call, observations }) => call.instance === "end" && observations.some(({ value }) => value !== null),
      );
      return read?.returned && history.with(read.returned, doubled(read.returned));
    },
  },
  {
    name: "the ledger does not hold what was acknowledged",
    spoil: (history) => {
      const atomic = history.find(({ call, returned }) => call.kind === "atomic" && returned?.outcome === "committed");
      return history.lines.map((line) => {
        if (!("witnesses" in line)) return line;
        const { [atomic?.call.call ?? ""]: _, ...witnesses } = line.witnesses;
        return { witnesses };
      });
    },
  },
];

/** Not to be decided in time: a read of what nobody has set, beside so many sets of unknown outcome that their orders are beyond counting. */
export function undecidable(): Line[] {
  const sets = Array.from({ length: 40 }, (_, i): CallLine => ({
    ...{ call: `set ${i}`, instance: `p${i}`, at: i, kind: "set", keys: [0] },
    changes: [{ key: 0, kind: "set", value: i }],
  }));
  const read: CallLine = { call: "read", instance: "end", at: 100, kind: "read", consistency: "strong", keys: [0] };
  const reads = [{ key: 0, value: -1, version: null }];
  return [...sets, read, { return: "read", at: 101, outcome: "read", reads }, { witnesses: {} }];
}

interface Call {
  readonly call: CallLine;
  readonly attempt?: TryLine;
  readonly returned?: ReturnLine;
  readonly observations: readonly Observation[];
}

/** A recorded history, and what in it can be spoilt. */
export class History {
  readonly lines: readonly Line[];
  readonly #calls: readonly Call[];

  constructor(lines: readonly Line[]) {
    this.lines = lines;
    const attempts = new Map<string, TryLine>();
    const returns = new Map<string, ReturnLine>();
    for (const line of lines) {
      if ("try" in line) attempts.set(line.try, line);
      if ("return" in line) returns.set(line.return, line);
    }
    this.#calls = lines
      .filter((line) => "call" in line)
      .map((call) => {
        const [attempt, returned] = [attempts.get(call.call), returns.get(call.call)];
        const observations = returned?.reads ?? attempt?.reads ?? [];
        return { call, observations, ...(attempt && { attempt }), ...(returned && { returned }) };
      });
  }

  find(condition: (call: Call) => boolean): Call | undefined {
    return this.#calls.find(condition);
  }

  wasRead(version: number | undefined): boolean {
    return (
      version !== undefined &&
      this.#calls.some(({ observations }) => observations.some((each) => each.version === version))
    );
  }

  with(line: Line, other: Line): Line[] {
    return this.lines.map((each) => (each === line ? other : each));
  }

  /** Shows to one of those that `wants` an older state of one key, which was overwritten, and acknowledged, before the call. */
  older(wants: (call: Call) => boolean, keysMin: number): Line[] | undefined {
    for (const each of this.#calls) {
      if (!wants(each) || each.returned?.outcome === "failed" || each.observations.length < keysMin) continue;
      for (const seen of each.observations) {
        const older = this.#olderThan(seen);
        const isOld = keysMin > 1 || this.#isAcknowledged(seen.version, each.call.at);
        if (older !== undefined && isOld) return this.#showing(each, seen, older);
      }
    }
    return undefined;
  }

  /** Shows to a read that may be stale an older state than its instance has seen before. */
  wentBack(): Line[] | undefined {
    for (const each of this.#calls) {
      if (each.call.kind !== "read" || each.call.consistency !== "eventual") continue;
      const before = this.#calls.filter(
        ({ call, returned }) => call.instance === each.call.instance && (returned?.at ?? Infinity) < each.call.at,
      );
      for (const seen of each.observations) {
        const older = this.#olderThan(seen);
        const wasSeen = before.some(({ observations }) => observations.some(({ version }) => version === seen.version));
        if (older !== undefined && wasSeen) return this.#showing(each, seen, older);
      }
    }
    return undefined;
  }

  /** Shows to a read of one key what its instance has set after the call and before the answer, and nobody since. */
  readAhead(): Line[] | undefined {
    for (const [at, each] of this.#calls.entries()) {
      const [seen] = each.observations;
      const until = each.returned?.at ?? 0;
      if (each.call.kind !== "read" || each.observations.length !== 1 || seen.version === null) continue;
      const later = this.#calls
        .slice(at + 1)
        .find(
          ({ call, returned }) =>
            call.instance === each.call.instance &&
            call.at < until &&
            call.kind === "set" &&
            call.keys[0] === seen.key &&
            returned?.outcome === "committed",
        );
      const [change] = later?.call.changes ?? [];
      const version = later?.returned?.version;
      if (change !== undefined && version !== undefined)
        return this.#showing(each, seen, { key: seen.key, value: change.value, version });
    }
    return undefined;
  }

  #olderThan({ key, version }: Observation): Observation | undefined {
    if (version === null || version === 0) return undefined;
    return this.#calls
      .flatMap(({ observations }) => observations)
      .find((each) => each.key === key && each.version !== null && each.version !== 0 && each.version < version);
  }

  #isAcknowledged(version: number | null, at: number): boolean {
    return this.#calls.some(
      ({ returned }) => returned?.version === version && returned !== undefined && returned.at < at,
    );
  }

  #showing({ attempt, returned }: Call, seen: Observation, older: Observation): Line[] {
    const replace = <L extends { readonly reads?: readonly Observation[] }>(line: L): L => ({
      ...line,
      reads: (line.reads ?? []).map((each) => (each === seen ? older : each)),
    });
    return this.lines.map((line) => {
      if (line === returned && returned.reads !== undefined) return replace(returned);
      return line === attempt && returned?.reads === undefined ? replace(attempt) : line;
    });
  }
}

/** Two keys that one commit has changed. */
function sharesVersion(observations: readonly Observation[]): boolean {
  const versions = observations.map(({ version }) => version).filter((version) => version !== null && version !== 0);
  return new Set(versions).size < versions.length;
}

function doubled(line: ReturnLine): ReturnLine {
  return {
    ...line,
    reads: (line.reads ?? []).map((each) => ({ ...each, value: each.value === null ? null : each.value + 1 })),
  };
}
