/** The tarball: what is in it, and what the linters of packages say. */
import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../node24.mjs";
import { assertEqual } from "./checks.mjs";
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
  "dist/index.node.js",
  "dist/index.node.d.ts",
];

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
    checks.check("publint", () => tool("publint", ["run", tarball, "--strict"])),
    checks.check("are the types wrong?", () =>
      tool("attw", [tarball, "--profile", "esm-only", "--no-emoji", "--no-color"]),
    ),
  ]);
}
