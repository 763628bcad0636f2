import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";

/** A request as it has arrived, whole. */
export interface Arrived {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** Answers one request, or does not. */
export type Script = (response: ServerResponse, request: Arrived) => void;

/** An HTTP server that does what a test tells it to, and remembers what it was asked. */
export class ScriptedServer implements AsyncDisposable {
  readonly requests: Arrived[] = [];
  script: Script = (response) => response.end();
  readonly #server = createServer((request, response) => {
    const pieces: Buffer[] = [];
    request.on("data", (piece: Buffer) => pieces.push(piece));
    // Who cuts the connection off itself gets an error of its own doing.
    request.on("error", () => undefined);
    request.on("end", () => {
      const { method = "", url = "", headers } = request;
      const arrived = { method, url, headers, body: Buffer.concat(pieces) };
      this.requests.push(arrived);
      this.script(response, arrived);
    });
  });

  async listen(): Promise<this> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    return this;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Answers every request like this. */
  answer(status: number, headers: Readonly<Record<string, string>> = {}, body: string | Uint8Array = ""): void {
    this.script = (response) => {
      // A test that gives no date wants none.
      response.sendDate = false;
      response.writeHead(status, { "content-length": String(body.length), ...headers });
      response.end(body);
    };
  }

  /** Answers every request with an error of S3. */
  fail(status: number, code: string, headers: Readonly<Record<string, string>> = {}): void {
    const document = `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>m</Message></Error>`;
    this.answer(status, { "content-type": "application/xml", ...headers }, code === "" ? "" : document);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }
}
