/**
 * `npm run test:s3`: the tests of everything that speaks S3, against real servers.
 *
 * With S3_ENDPOINT, S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY and S3_BUCKET (S3_REGION, if it matters; S3_QUOTED_ETAGS=false for Ceph RGW) against that
 * one. Without, against each known server (s3/servers.mjs) that is on the path or was installed here, started on a free port over a temporary folder.
 * `--install versitygw,gofakes3` installs those before, if need be; one that is not there at its pinned version then is a failure, and so it is if none
 * is found at all. Leaves its numbers in .cache/s3.json; the last line is the count.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Counts } from "./counts.mjs";
import { root } from "./node24.mjs";
import { whileRunning } from "./s3/running.mjs";
import { findServer, installCommand, installServer, servers } from "./s3/servers.mjs";

/** Stores and ledgers through both clients, several writers, and requests of clients that died half-way. */
const TESTS = [
  ...["conformance", "probe", "ledger", "writers", "half-sent"].map((name) => `test/adapters/s3/${name}.test.ts`),
  ...["conformance", "ledger"].map((name) => `test/adapters/s3-fetch/${name}.test.ts`),
];

const { values } = parseArgs({ options: { install: { type: "string", default: "" } } });
const wanted = values.install.split(",").filter((name) => name !== "");
const unknown = wanted.find((name) => !servers.some((server) => server.name === name));
if (unknown !== undefined) {
  console.error(`There is no ${unknown}; there are ${servers.map(({ name }) => name).join(", ")}.`);
  process.exit(1);
}

const counts = new Counts();
mkdirSync(join(root, ".cache"), { recursive: true });
for (const server of servers.filter(({ name }) => wanted.includes(name))) {
  await installServer(server);
  counts.add(`${server.name} ${server.version} is there`, findServer(server)?.version === server.version);
}
if (process.env.S3_ENDPOINT !== undefined) runTests(process.env.S3_ENDPOINT, {});
else await runAgainstAll();
counts.save(join(root, ".cache/s3.json"));
counts.end();

async function runAgainstAll() {
  const found = servers.flatMap((server) => ({ ...server, ...findServer(server), pinned: server.version }));
  const present = found.filter(({ program }) => program !== undefined);
  for (const server of present) await runAgainst(server);
  const missing = servers.filter(({ name }) => !present.some((server) => server.name === name));
  if (missing.length > 0) {
    console.log(
      `\nNot tried, for they are neither on the path nor installed here: ${missing.map(({ name }) => name).join(", ")}.`,
    );
    console.log(`To try them too: npm run test:s3 -- --install ${missing.map(({ name }) => name).join(",")}`);
    for (const server of missing) console.log(`which is, for all of this machine: ${installCommand(server)}`);
  }
  if (present.length === 0) counts.add("a server is there", false);
}

async function runAgainst(server) {
  const { name, program, version, pinned } = server;
  console.log(`\n> ${name} ${version ?? "of an unknown version"}: ${program}`);
  if (version !== pinned) console.log(`This is not the version that is known to do, ${pinned}.`);
  try {
    await whileRunning(server, (env) => runTests(name, env));
  } catch (error) {
    console.log(String(error));
    counts.add(`${name} starts`, false);
  }
}

function runTests(name, env) {
  const report = join(root, ".cache/s3-vitest.json");
  rmSync(report, { force: true });
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${report}`];
  const { status } = spawnSync("vitest", ["run", ...reporters, ...TESTS], {
    cwd: root,
    stdio: "inherit",
    env: { ...process.env, ...env },
  });
  counts.addReport(`tests against ${name}`, report, status === 0);
}
