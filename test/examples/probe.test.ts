import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { bundled } from "../support/bundled.ts";
import { s3Server } from "../support/s3-server.ts";
import { startS3rver } from "../support/s3rver.ts";

const program = fileURLToPath(new URL("../../examples/probe/probe.ts", import.meta.url));
const server = await s3Server();
afterAll(() => server[Symbol.asyncDispose]());

/** The program, with these settings and none of those that this process has. */
async function probe(
  settings: Readonly<Record<string, string>>,
): Promise<{ code: number; out: string; errors: string }> {
  const inherited = Object.entries(process.env).filter(([name]) => !/^(?:S3|AWS|PROBE)_/.test(name));
  const child = spawn(process.execPath, [bundled(program)], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...Object.fromEntries(inherited), PROBE_KEYS: "2", PROBE_RACERS: "10", ...settings },
  });
  const [out, errors, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "close")]);
  return { code: code as number, out, errors };
}

const settings = ({ endpoint, bucket, region, credentials }: typeof server): Record<string, string> => ({
  S3_ENDPOINT: endpoint,
  S3_BUCKET: bucket,
  S3_REGION: region,
  S3_ACCESS_KEY_ID: credentials.accessKeyId,
  S3_SECRET_ACCESS_KEY: credentials.secretAccessKey,
});

describe("the probe", () => {
  test("has a verdict for each property of a store that several writers may share", async () => {
    const { code, out } = await probe(settings(server));
    const verdicts = out.split("\n").filter((line) => line.startsWith("  "));
    expect(verdicts.map((line) => line.trim().split(/ +/))).toEqual(
      ["absent", "create", "replace", "read-after-write", "range", "list", "delete"].map((name) => [name, "holds"]),
    );
    expect(code).toBe(0);
  });

  test("tells what a store lacks", async () => {
    await using lying = await startS3rver();
    const { code, out } = await probe(settings(lying));
    expect(out).toMatch(/create +fails/);
    expect(code).toBe(1);
  });

  test.each([
    ["nothing is set", { S3_ENDPOINT: "", S3_BUCKET: "" }, "S3_ENDPOINT, S3_BUCKET"],
    ["there is no such bucket", { S3_BUCKET: "no-such-bucket" }, "no such bucket"],
    ["the secret is wrong", { S3_SECRET_ACCESS_KEY: "wrong" }, "the secret key is not the one of the access key"],
    ["nobody listens", { S3_ENDPOINT: "http://127.0.0.1:9" }, "http://127.0.0.1:9"],
    ["the address is none", { S3_ENDPOINT: "127.0.0.1:9" }, "endpoint must be"],
    ["the number is none", { PROBE_KEYS: "many" }, "keys must be"],
  ])("says what is wrong, and judges nothing, when %s", async (_, wrong, why) => {
    const { code, out, errors } = await probe({ ...settings(server), ...wrong });
    expect(errors).toContain(why);
    expect({ code, out }).toEqual({ code: 2, out: "" });
  });
});
