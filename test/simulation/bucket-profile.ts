import type { Random } from "./random.ts";

/** What may befall a request, as probabilities; see `StoreFault`. */
export interface NetworkFaults {
  readonly unsent: number;
  readonly answerLost: number;
  readonly late: number;
  readonly conflict: number;
  /** Something below the client sends a write a second time, and that is what is answered. */
  readonly twice: number;
  readonly truncated: number;
  /** That a storm of 503 begins, for everybody. */
  readonly storm: number;
  /** That a request, or its answer, is held up for seconds to hours. */
  readonly parked: number;
  /** The process dies as it sends a request, before the store has it or afterwards. */
  readonly crash: number;
  readonly delayMsMax: number;
}

/** What happens in one run over a bucket, and how often. */
export interface BucketProfile {
  readonly network: NetworkFaults;
  /** Whether the store tells its time. */
  readonly tellsTime: boolean;
  readonly processes: number;
  readonly processesMax: number;
  readonly actions: number;
  readonly kill: number;
  readonly close: number;
  /** A process is frozen while the others go on. */
  readonly freeze: number;
  /** Nobody does anything for a while, up to days. */
  readonly leap: number;
  readonly clock: number;
  readonly asynchronous: number;
  /** Somebody deletes the whole prefix; the next one to open creates another ledger. */
  readonly clear: number;
  readonly vacuum: number;
  readonly abort: number;
  readonly keepHistory: number;
  readonly compaction: number;
  readonly readOnly: number;
}

export type BucketLeaning = Partial<Omit<BucketProfile, "network">> & { readonly network?: Partial<NetworkFaults> };

/** Each fault is on in some runs and off in others: one that is always on hides what others would show. */
export function drawBucketProfile(random: Random, leaning: BucketLeaning = {}): BucketProfile {
  const drawn = draw(random);
  return { ...drawn, ...leaning, network: { ...drawn.network, ...leaning.network } };
}

function draw(random: Random): BucketProfile {
  const sometimes = (probability: number, value: number): number =>
    random.chance(probability) ? value * random.next() : 0;
  const isCalm = random.chance(0.15);
  const fault = (probability: number, value: number): number => (isCalm ? 0 : sometimes(probability, value));
  return {
    network: {
      unsent: fault(0.4, 0.1),
      answerLost: fault(0.5, 0.2),
      late: fault(0.4, 0.1),
      conflict: fault(0.4, 0.2),
      twice: fault(0.3, 0.2),
      truncated: fault(0.3, 0.1),
      storm: fault(0.2, 0.01),
      parked: fault(0.4, 0.03),
      crash: sometimes(0.3, 0.02),
      delayMsMax: random.pick([1, 20, 400, 3000]),
    },
    tellsTime: random.chance(0.75),
    processes: random.between(1, 4),
    processesMax: random.between(4, 7),
    actions: random.chance(0.05) ? 60 : random.between(4, 24),
    kill: sometimes(0.4, 0.003),
    close: sometimes(0.3, 0.003),
    freeze: sometimes(0.5, 0.006),
    leap: sometimes(0.7, 0.008),
    clock: sometimes(0.3, 0.01),
    asynchronous: sometimes(0.2, 0.3),
    clear: sometimes(0.08, 0.004),
    vacuum: sometimes(0.5, 0.1),
    abort: 0.15,
    keepHistory: 0,
    compaction: sometimes(0.3, 1),
    readOnly: 0.12,
  };
}
