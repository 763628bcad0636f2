/** What one writer was promised: the version of each of its commits, by the commit's number. */
export class Acknowledgements {
  readonly #versions = new Map<string, string>();

  get count(): number {
    return this.#versions.size;
  }

  add(number: string, version: string): void {
    if (this.#versions.has(number)) throw new Error(`number ${number} was acknowledged twice`);
    this.#versions.set(number, version);
  }

  /** Compares with what was found, version by number. */
  compare(found: ReadonlyMap<string, string>): Comparison {
    let present = 0;
    let sameVersion = 0;
    for (const [number, version] of this.#versions) {
      const other = found.get(number);
      if (other !== undefined) present++;
      if (other === version) sameVersion++;
    }
    return { acknowledged: this.count, present, sameVersion, beyond: found.size - present };
  }
}

export interface Comparison {
  readonly acknowledged: number;
  /** Of these, how many were found. */
  readonly present: number;
  /** Of these, how many with the version that was promised. */
  readonly sameVersion: number;
  /** Found although nobody was told: written, and killed before the acknowledgement was out. */
  readonly beyond: number;
}
