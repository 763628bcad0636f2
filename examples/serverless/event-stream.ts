/** From one sign of life to the next: some runtimes learn only when they write that a client is gone. */
const ALIVE_MS = 15_000;

/**
 * What `events` yields, as server-sent events, until the client goes away; `signal` says so, and has to end the iteration. In a Worker the request
 * lives, with its timers, as long as its stream does.
 */
export function eventStream(request: Request, events: (signal: AbortSignal) => AsyncIterable<unknown>): Response {
  const gone = new AbortController();
  const encoder = new TextEncoder();
  // A runtime tells either by the one or by the other.
  request.signal.addEventListener("abort", () => gone.abort());
  const stream = new ReadableStream<Uint8Array>({
    start(controller) {
      // The headers go out with it, though there may be no event for long.
      controller.enqueue(encoder.encode(": connected\n\n"));
      void send(controller);
    },
    cancel: () => gone.abort(),
  });
  return new Response(stream, { headers: { "content-type": "text/event-stream", "cache-control": "no-store" } });

  async function send(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    const alive = setInterval(() => {
      if (!gone.signal.aborted) controller.enqueue(encoder.encode(": alive\n\n"));
    }, ALIVE_MS);
    try {
      for await (const event of events(gone.signal)) {
        if (gone.signal.aborted) return;
        controller.enqueue(encoder.encode(`data: ${JSON.stringify(event)}\n\n`));
      }
      if (!gone.signal.aborted) controller.close();
    } catch (error) {
      if (!gone.signal.aborted) controller.error(error);
    } finally {
      clearInterval(alive);
    }
  }
}
