import { InvalidArgumentError, thrownByArgument } from "./errors.ts";
import { show } from "./show.ts";

/**
 * A copy of the options that a caller has given, without looking at what they are. Throws `InvalidOption` for what is no object, and for what a getter throws;
 * `context` is the call, for the message.
 */
export function givenOptions(given: unknown, known: readonly string[], context: string): Record<string, unknown> {
  if (given === undefined) return {};
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    const message = `${context}: options are an object with ${known.join(", ")}; received ${show(given)}`;
    throw new InvalidArgumentError("InvalidOption", message);
  }
  try {
    return { ...given };
  } catch (error) {
    throw thrownByArgument("InvalidOption", `${context}: an option`, error);
  }
}

/** The same, where each of them has to have one of the known names. */
export function knownOptions(given: unknown, known: readonly string[], context: string): Record<string, unknown> {
  const options = givenOptions(given, known, context);
  const unknown = Object.keys(options).find((name) => !known.includes(name));
  if (unknown === undefined) return options;
  const message = `${context}: there is no option ${unknown}; known are ${known.join(", ")}`;
  throw new InvalidArgumentError("InvalidOption", message);
}

/** For an option that cannot be used. */
export function wrongOption(context: string, name: string, says: string, received: unknown): InvalidArgumentError {
  const message = `${context}: ${name} must be ${says}; received ${show(received)}`;
  return new InvalidArgumentError("InvalidOption", message);
}
