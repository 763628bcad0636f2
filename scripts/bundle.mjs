/**
 * Makes of the built modules what Node, Deno and Bun load, few files in the place of two hundred: docs/decisions/0056. What is exported to them is named in
 * package.json, and all entries share their parts, so that there is one of everything.
 */
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { rolldown } from "rolldown";
import { root } from "./node24.mjs";

const { exports, peerDependencies } = JSON.parse(readFileSync(`${root}package.json`, "utf8"));

const input = { cli: `${root}dist/cli/index.js` };
for (const { node } of Object.values(exports)) {
  if (node !== undefined) input[basename(node.default, ".js")] = root + node.types.replace(/\.d\.ts$/, ".js");
}

const bundle = await rolldown({
  input,
  platform: "node",
  external: [/^node:/, ...Object.keys(peerDependencies)],
  onLog: (level, log) => {
    if (level !== "warn") return;
    throw new Error(log.message);
  },
});
await bundle.write({ dir: `${root}dist/node`, format: "esm", comments: false, chunkFileNames: "part-[hash].js" });
await bundle.close();
