/** The tarball: what is in it, and what the linters of packages say. */
import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { root } from "../node24.mjs";
import { assert, assertEqual } from "./checks.mjs";
import { npm, run } from "./process.mjs";

/**
 * Packs the library and installs it, as a user would, in a folder with the programs of test/package/consumer. `folder` holds nothing else,
 * and lies outside the repository, so that nothing is found by going up.
 */
export async function packAndInstall(folder) {
  const pack = ["pack", "--json", "--ignore-scripts", "--pack-destination", folder];
  const [{ filename, files, size, unpackedSize }] = JSON.parse(await npm(pack, root));
  const consumer = join(folder, "consumer");
  mkdirSync(consumer);
  cpSync(join(root, "test/package/consumer"), consumer, { recursive: true });
  const dependencies = { foliokv: `file:../${filename}` };
  writeFileSync(join(consumer, "package.json"), JSON.stringify({ private: true, type: "module", dependencies }));
  await npm(["install", "--no-audit", "--no-fund", "--prefer-offline", "--prefix", consumer], consumer);
  return {
    folder,
    consumer,
    tarball: join(folder, filename),
    files: files.map((file) => file.path),
    size,
    unpackedSize,
  };
}

const BELONGS = /^(dist\/.+\.(js|d\.ts)|docs\/.+|README\.md|CHANGELOG\.md|LICENSE|package\.json)$/;
const EXPECTED = [
  "LICENSE",
  "README.md",
  "CHANGELOG.md",
  "dist/index.js",
  "dist/index.node.d.ts",
  "dist/node/index.js",
];

/** Each takes a program some 0.4 ms when it starts. */
const FILES_LOADED_MAX = 16;

/** A module and what it imports, within the package. */
function filesLoaded(path, loaded = []) {
  if (loaded.includes(path)) return loaded;
  loaded.push(path);
  const imports = readFileSync(path, "utf8").matchAll(/^(?:import|export)\b[^;]*?"(\.[^"]+)";$/gm);
  for (const [, imported] of imports) filesLoaded(join(dirname(path), imported), loaded);
  return loaded;
}

export async function checkTarball(checks, { consumer, tarball, files, size, unpackedSize }) {
  const tool = async (name, args) => void (await run(join(root, "node_modules/.bin", name), args, { cwd: consumer }));
  await Promise.all([
    checks.check("the tarball holds the library, its documents, and nothing else", () => {
      assertEqual(
        {
          stray: files.filter((path) => !BELONGS.test(path)),
          missing: EXPECTED.filter((path) => !files.includes(path)),
        },
        { stray: [], missing: [] },
      );
      return `${files.length} files, ${Math.round(size / 1000)} kB packed, ${Math.round(unpackedSize / 1000)} kB unpacked`;
    }),
    checks.check(`what Node loads of it: at most ${FILES_LOADED_MAX} files`, () => {
      const loaded = filesLoaded(join(consumer, "node_modules/foliokv/dist/node/index.js"));
      assert(loaded.length <= FILES_LOADED_MAX, loaded.join("\n"));
      return `${loaded.length} files`;
    }),
    checks.check("publint", () => tool("publint", ["run", tarball, "--strict"])),
    checks.check("are the types wrong?", () =>
      tool("attw", [tarball, "--profile", "esm-only", "--no-emoji", "--no-color"]),
    ),
  ]);
}
