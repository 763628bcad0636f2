import type { Environment } from "../../src/core/environment.ts";
import { nodeEnvironment } from "../../src/platform/environment-node.ts";

/** The platform's environment, with a clock for intervals that can be put forward. */
export function fastClock(): { readonly environment: Environment; forward(ms: number): void } {
  let ahead = 0;
  return {
    environment: { ...nodeEnvironment, monotonic: () => nodeEnvironment.monotonic() + ahead },
    forward: (ms) => {
      ahead += ms;
    },
  };
}
