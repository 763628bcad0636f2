import { ERROR_CLASSES } from "./value-forms.ts";

/** An error of the class with this number, without anything of its own; undefined if no class has it. */
export function makeError(number: unknown): Error | undefined {
  const Class = typeof number === "number" ? ERROR_CLASSES[number] : undefined;
  if (Class === undefined) return undefined;
  return Class === AggregateError ? new AggregateError([]) : new (Class as ErrorConstructor)();
}

/** Gives an error what it had when it was stored, as properties like those that the language makes. */
export function fillError(error: Error, [, name, message, stack, errors, ...cause]: readonly unknown[]): Error {
  const define = (property: string, value: unknown): unknown =>
    Object.defineProperty(error, property, { value, writable: true, configurable: true, enumerable: false });
  if (name !== null) define("name", name);
  if (message !== null) define("message", message);
  if (stack === null) delete error.stack;
  else define("stack", stack);
  if (errors !== null) define("errors", errors);
  if (cause.length > 0) define("cause", cause[0]);
  return error;
}
