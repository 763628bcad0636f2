/**
 * `npm run check:linearizable`: builds the checker of test/linearizable/checker, starts a server of S3 unless S3_ENDPOINT names one, and runs the campaign,
 * which has the options. Takes Go, which fetches porcupine at the pinned version, and builds the server too if it is not there.
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { root } from "./node24.mjs";
import { whileRunning } from "./s3/running.mjs";
import { findServer, hasGo, installServer, servers } from "./s3/servers.mjs";

const SERVER = "versitygw";
const folder = join(root, ".cache/linearizable");
const checker = join(folder, process.platform === "win32" ? "checker.exe" : "checker");

if (!hasGo()) {
  console.error(
    "Histories are checked by porcupine, a library for Go. Install Go 1.21 or newer (https://go.dev/dl), so that `go` is on the path.",
  );
  process.exit(1);
}
mkdirSync(folder, { recursive: true });
const source = join(root, "test/linearizable/checker");
if (spawnSync("go", ["build", "-o", checker, "."], { cwd: source, stdio: "inherit" }).status !== 0) process.exit(1);
process.exitCode = await withServer(runCampaign);

async function runCampaign(env) {
  const campaign = [join(root, "test/linearizable/campaign.ts"), ...process.argv.slice(2)];
  const child = spawn(process.execPath, campaign, {
    stdio: "inherit",
    env: { ...process.env, ...env, CHECKER: checker, VIOLATIONS: join(folder, "violations") },
  });
  const [code] = await once(child, "exit");
  return code ?? 1;
}

async function withServer(work) {
  if (process.env.S3_ENDPOINT !== undefined) return await work({});
  const server = servers.find(({ name }) => name === SERVER);
  await installServer(server);
  const found = findServer(server);
  if (found === undefined) return 1;
  console.log(`> ${SERVER} ${found.version}`);
  return await whileRunning({ ...server, ...found }, work);
}
