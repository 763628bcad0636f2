/** The answer as it came over the wire, as far as the clients of all runtimes agree. */
interface WireAnswer {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, string | undefined>>;
}

/** Thrown up through the client instead of what happened, so that it finds nothing in it that would be worth another try. */
class AttemptFailed extends Error {
  override readonly name = "AttemptFailed";
  /** From its date the client learns how wrong its own clock is. */
  readonly $response: unknown;

  constructor(response: unknown) {
    super("The only attempt of this request failed");
    this.$response = response;
  }
}

/**
 * Watches one command on its way to the wire and back. Lets one request through, whatever the settings and the strategy of the client are: a
 * repeated conditional write would be told that its own first try is in the way. And keeps status and headers of the answer, of which the outputs
 * of commands show only some.
 */
export class SingleAttempt {
  #answer: WireAnswer | undefined;
  #error: unknown;
  #failed = false;
  #hasBegun = false;

  /** False as long as nothing can have reached the store. */
  get hasBegun(): boolean {
    return this.#hasBegun;
  }

  /** What happened to the request, given what the client threw. */
  failure(thrown: unknown): unknown {
    return this.#failed ? this.#error : thrown;
  }

  get status(): number | undefined {
    return this.#answer?.statusCode;
  }

  /** By lower-case name. */
  header(name: string): string | undefined {
    const headers = this.#answer?.headers ?? {};
    const key = Object.keys(headers).find((each) => each.toLowerCase() === name);
    return key === undefined ? undefined : headers[key];
  }

  /** Makes the request, as the innermost of what the client may repeat. Adds headers behind the signature. */
  async run<A extends { readonly request: unknown }, R extends { readonly response: unknown }>(
    args: A,
    next: (args: A) => Promise<R>,
    headers: Readonly<Record<string, string>>,
  ): Promise<R> {
    if (this.#hasBegun) throw new AttemptFailed(this.#answer);
    this.#hasBegun = true;
    const sent = (args.request as { readonly headers: Record<string, string> }).headers;
    Object.assign(sent, headers);
    // With a server that does not answer it, "100-continue" costs large bodies the six seconds that the client waits for it.
    for (const name of Object.keys(sent)) if (name.toLowerCase() === "expect") delete sent[name];
    try {
      const result = await next(args);
      this.#keep(result.response);
      return result;
    } catch (error) {
      this.#failed = true;
      this.#error = error;
      const response = (error as { readonly $response?: unknown } | undefined)?.$response;
      this.#keep(response);
      throw new AttemptFailed(response);
    }
  }

  #keep(response: unknown): void {
    const answer = response as Partial<WireAnswer> | undefined;
    if (typeof answer?.statusCode === "number" && answer.headers !== undefined) this.#answer = answer as WireAnswer;
  }
}
