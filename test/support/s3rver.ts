import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { temporaryFolder } from "./folder.ts";
import type { S3Server } from "./s3-server.ts";

const program = fileURLToPath(new URL("../../node_modules/s3rver/bin/s3rver.js", import.meta.url));

/** s3rver, a server that takes conditions of requests and ignores them, in a process of its own. */
export async function startS3rver(): Promise<S3Server> {
  const folder = temporaryFolder();
  const args = ["-d", folder.path, "-a", "127.0.0.1", "-p", "0", "--no-vhost-buckets", "--configure-bucket", "bucket"];
  const child = spawn(process.execPath, ["--no-deprecation", program, ...args], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  const port = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout }).on("line", (line) => {
      const found = /listening on [^ ]*?:(\d+)/.exec(line)?.[1];
      if (found !== undefined) resolve(found);
    });
    child.on("exit", (code) => reject(new Error(`s3rver has ended with code ${code}`)));
  });
  return {
    name: "s3rver",
    endpoint: `http://127.0.0.1:${port}`,
    region: "us-east-1",
    bucket: "bucket",
    tellsTime: true,
    quotedEtags: true,
    credentials: { accessKeyId: "S3RVER", secretAccessKey: "S3RVER" },
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode === null && child.kill("SIGKILL")) await once(child, "exit");
      folder[Symbol.dispose]();
    },
  };
}
