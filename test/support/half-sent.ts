import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { AwsV4Signer } from "aws4fetch";
import type { S3Server } from "./s3-server.ts";

const LENGTH = 100_000;
const SAYS_NOTHING_MS = 2000;

/**
 * Sends a create of an object up to the middle of its body, and stays. Resolves when the server reads the body, as it says by `100 Continue`, or has
 * answered something else; one that says nothing is given the body all the same.
 */
export async function sendHalf(server: S3Server, key: string): Promise<Socket> {
  const { endpoint, bucket, region, credentials } = server;
  const signer = new AwsV4Signer({
    method: "PUT",
    url: `${endpoint}/${bucket}/${key}`,
    headers: { "if-none-match": "*", "x-amz-content-sha256": "UNSIGNED-PAYLOAD" },
    ...credentials,
    service: "s3",
    region,
  });
  const { url, headers } = await signer.sign();
  const lines = [`PUT ${url.pathname} HTTP/1.1`, `host: ${url.host}`];
  headers.forEach((value, name) => lines.push(`${name}: ${value}`));
  lines.push(`content-length: ${LENGTH}`, "expect: 100-continue", "", "");
  const socket = connect(Number(url.port === "" ? 80 : url.port), url.hostname);
  // The server may end it at any time.
  socket.on("error", () => undefined);
  await once(socket, "connect");
  socket.write(lines.join("\r\n"));
  await once(socket, "data", { signal: AbortSignal.timeout(SAYS_NOTHING_MS) }).catch(() => undefined);
  socket.write(new Uint8Array(LENGTH / 2));
  return socket;
}
