export * from "../adapters/object/index.ts";
export { probeStore } from "./probe-store.ts";
