/** Both sides on this machine: the Worker and its R2 bucket in workerd, the function behind a server of Node's, on the same bucket through S3. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { type AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { Miniflare } from "miniflare";
import { openFunction } from "./function.ts";

export interface LocalOptions {
  /** Where they listen; 0, the default, is any free port. */
  readonly workerPort?: number;
  readonly functionPort?: number;
  /** What the bundler of the Worker takes for a package instead of the installed one. */
  readonly alias?: Readonly<Record<string, string>>;
}

/** The addresses of both sides. */
export interface Local extends AsyncDisposable {
  readonly worker: URL;
  readonly function: URL;
}

const BUCKET = "guests";
const CREDENTIALS = { accessKeyId: "example", secretAccessKey: "example-secret" };

export async function startLocally({
  workerPort = 0,
  functionPort = 0,
  alias = {},
}: LocalOptions = {}): Promise<Local> {
  await using started = new AsyncDisposableStack();
  const miniflare = new Miniflare({
    modules: true,
    script: await bundle("worker.ts", alias),
    compatibilityDate: "2026-01-01",
    compatibilityFlags: ["enable_request_signal"],
    port: workerPort,
    r2Buckets: { BUCKET: { id: BUCKET, s3Credentials: CREDENTIALS } },
  });
  started.defer(() => miniflare.dispose());
  const worker = await miniflare.ready;

  const endpoint = new URL("cdn-cgi/local/r2/s3", worker).href;
  const opened = started.use(await openFunction({ endpoint, bucket: BUCKET, credentials: CREDENTIALS }));
  const server = createServer((request, response) => void answer(opened.fetch, request, response));
  await once(server.listen(functionPort, "127.0.0.1"), "listening");
  started.defer(async () => {
    server.close();
    server.closeAllConnections();
  });

  const all = started.move();
  const { port } = server.address() as AddressInfo;
  return {
    worker,
    function: new URL(`http://127.0.0.1:${port}`),
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

/** One module, as `wrangler` makes it. */
async function bundle(entry: string, alias: Readonly<Record<string, string>>): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL(entry, import.meta.url))],
    bundle: true,
    write: false,
    format: "esm",
    target: "es2022",
    conditions: ["workerd"],
    external: ["cloudflare:workers"],
    loader: { ".html": "text" },
    alias,
    // Of this repository, where its paths would lead to the entry for Node.
    tsconfigRaw: {},
  });
  return outputFiles[0].text;
}

/** A request of Node's to one of the web's, and the answer back. Rejects for nothing that a client does. */
async function answer(
  fetch: (request: Request) => Promise<Response>,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
): Promise<void> {
  const { method = "GET", url = "/", headers } = incoming;
  const gone = new AbortController();
  outgoing.once("close", () => gone.abort());
  let request: Request;
  try {
    const body = method === "GET" || method === "HEAD" ? null : new Uint8Array(await buffer(incoming));
    request = new Request(`http://${headers.host}${url}`, { method, body, signal: gone.signal });
  } catch {
    // It broke off in the middle, or makes no sense.
    return void outgoing.writeHead(400).end();
  }
  const response = await fetch(request);
  outgoing.writeHead(response.status, Object.fromEntries(response.headers));
  if (response.body === null) outgoing.end();
  // Who goes away in the middle is nobody's failure.
  else await pipeline(Readable.fromWeb(response.body as never), outgoing).catch(() => undefined);
}
