/** The programs of examples/, run beside the installed package, as their README says. */
import { cpSync, mkdirSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { startS3rver } from "../../test/support/s3rver.ts";
import { s3Server } from "../../test/support/s3-server.ts";
import { root } from "../node24.mjs";
import { assert, assertEqual } from "./checks.mjs";
import { Program } from "./program.mjs";

const TIMEOUT_MS = 60_000;

/** What a program ends with that Ctrl+C has ended. */
const INTERRUPTED = 130;

/** What the examples need besides the library: peers of it, and the tools that stand in for a platform. */
const BESIDES = ["@aws-sdk/client-s3", "aws4fetch", "esbuild", "miniflare"];

export async function checkExamples(checks, { consumer }) {
  for (const name of ["multi-process", "probe", "serverless"])
    cpSync(join(root, "examples", name), join(consumer, "examples", name), { recursive: true });
  for (const name of BESIDES) {
    const link = join(consumer, "node_modules", name);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(join(root, "node_modules", name), link, "junction");
  }
  await checks.check("examples: writer, reader and watcher on one file", () => onOneFile(consumer));
  await checks.check("examples: the probe accepts a store that keeps conditions, and refuses one that does not", () =>
    probes(consumer),
  );
  await checks.check("examples: a Worker and a function on one bucket", () => serverless(consumer));
}

async function onOneFile(consumer) {
  let look = () => undefined;
  const [watcher, reader, writer] = ["watcher", "reader", "writer"].map(
    (name) => new Program(consumer, `examples/multi-process/${name}.ts`, { printed: () => look() }),
  );
  const programs = [watcher, reader, writer];
  const wrote = () => writer.found(/^wrote (\S+) as version \d+$/);
  const saw = () => watcher.found(/^saw data\/timestamp = (\S+)$/);
  const read = () => reader.found(/^read (\S+Z)$/);
  const synced = () => reader.found(/^sync: (success), [1-9]\d* applied$/);
  // Two of each, the reader was told of a sync, and the writer has printed what the others have learnt by then.
  const done = () =>
    saw().length >= 2 &&
    read().length >= 2 &&
    synced().length >= 1 &&
    [...saw(), ...read()].every((timestamp) => wrote().includes(timestamp));
  try {
    await until(programs, (changed) => (look = changed), done);
    const expected = wrote().slice(wrote().indexOf(saw()[0]));
    assertEqual(saw(), expected.slice(0, saw().length), "what the watcher saw");
    return `${wrote().length} written, ${saw().length} seen, ${read().length} read`;
  } finally {
    for (const program of programs) program.kill();
  }
}

async function probes(consumer) {
  await using good = await s3Server();
  await using bad = await startS3rver();
  const [suitable, unsuitable] = await Promise.all([good, bad].map((server) => probe(consumer, server)));
  assertEqual([suitable.status, unsuitable.status], [0, 1], `${suitable.errors}${unsuitable.errors}: the codes`);
  assert(/^ {2}create +holds$/m.test(suitable.output), suitable.output);
  assert(/^ {2}create +fails$/m.test(unsuitable.output), unsuitable.output);
}

async function probe(consumer, { endpoint, bucket, region, credentials }) {
  const env = {
    ...process.env,
    S3_ENDPOINT: endpoint,
    S3_BUCKET: bucket,
    S3_REGION: region,
    S3_ACCESS_KEY_ID: credentials.accessKeyId,
    S3_SECRET_ACCESS_KEY: credentials.secretAccessKey,
    PROBE_KEYS: "1",
    PROBE_RACERS: "10",
  };
  return await new Program(consumer, "examples/probe/probe.ts", { env }).ended;
}

/** What both sides do for each other is tested in test/examples; here, that they start from the package, and that the program ends when it is told to. */
async function serverless(consumer) {
  let look = () => undefined;
  const env = { ...process.env, WORKER_PORT: "0", FUNCTION_PORT: "0" };
  const program = new Program(consumer, "examples/serverless/start.ts", { env, printed: () => look() });
  const addresses = () => program.found(/: +(http:\S+)$/);
  try {
    await until(
      [program],
      (changed) => (look = changed),
      () => addresses().length === 2,
    );
    for (const address of addresses()) assertEqual((await fetch(address)).status, 200);
    const visits = [];
    for (const address of [...addresses(), ...addresses()]) {
      const response = await fetch(new URL("/visits", address), { method: "POST" });
      visits.push((await response.json()).visits);
    }
    assertEqual(visits, [1, 2, 3, 4], "visits, counted on both sides");
    program.kill("SIGINT");
    assertEqual((await program.ended).status, INTERRUPTED, "the code that it ends with");
  } finally {
    program.kill();
  }
}

/** Resolves when `done`, which is asked whenever a program has printed something; rejects when one of them ends before, or it takes too long. */
function until(programs, onChange, done) {
  return new Promise((resolve, reject) => {
    const printed = () => programs.map((program) => program.printed).join("\n");
    const timer = setTimeout(() => reject(new Error(`not in time; printed:\n${printed()}`)), TIMEOUT_MS);
    for (const program of programs)
      void program.ended.then(({ status, signal, errors }) => {
        clearTimeout(timer);
        reject(new Error(`a program ended with ${signal ?? status}\n${errors}`));
      });
    onChange(() => done() && resolve(clearTimeout(timer)));
  });
}
