/** A received value, for a message. */
export function show(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}...` : value);
  if (typeof value === "object" && value !== null) return showObject(value);
  return typeof value === "function" ? "a function" : String(value);
}

function showObject(value: object): string {
  if (Array.isArray(value)) return "an array";
  const name: unknown = (value as { constructor?: { name?: unknown } }).constructor?.name;
  return typeof name !== "string" || name === "" || name === "Object" ? "an object" : `an instance of ${name}`;
}
