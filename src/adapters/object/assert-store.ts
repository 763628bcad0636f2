import { InvalidArgumentError } from "../../core/errors.ts";
import { show } from "../../core/show.ts";
import type { ObjectStore, StoreCapabilities } from "./object-store.ts";

const CALLS = ["get", "create", "replace", "list", "delete"] as const satisfies readonly (keyof ObjectStore)[];
const FLAGS = ["create", "replace", "time"] as const satisfies readonly (keyof StoreCapabilities)[];
const COUNTS = ["parallel", "deleteKeysMax"] as const satisfies readonly (keyof StoreCapabilities)[];

/** Refuses what is no store, before anything is asked of it. Throws `InvalidArgument`, which says what is missing; `context` is the call, for the message. */
export function assertStore(given: unknown, context: string): asserts given is ObjectStore {
  const store = Object(given) as Record<string, unknown>;
  const capabilities = Object(store.capabilities) as Record<string, unknown>;
  const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && Number(value) >= 1;
  const wrong =
    CALLS.find((name) => typeof store[name] !== "function") ??
    (typeof store.name === "string" ? undefined : "name") ??
    FLAGS.map((name) => (typeof capabilities[name] === "boolean" ? undefined : `capabilities.${name}`)).find(Boolean) ??
    COUNTS.map((name) => (isCount(capabilities[name]) ? undefined : `capabilities.${name}`)).find(Boolean);
  if (wrong === undefined) return;
  const message = `${context}: an ObjectStore is needed; received ${show(given)}, of which ${wrong} is not as it should be`;
  throw new InvalidArgumentError("InvalidArgument", message);
}
